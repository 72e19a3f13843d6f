"""What one question may cost."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from api.directory.matching import Asked, match_of
from api.gate import normalise
from api.ids import new_id


def test_a_name_is_read_once_however_many_look_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long name in letters that have to be looked up, against a directory full of its likes."""
    name = "авекмнорст" * 30
    asked, skeleton, real, read = (
        Asked.of("production", name=name),
        normalise.looks(name),
        normalise.looks,
        Counter[str](),
    )
    now = datetime.now(UTC)
    row = {"how": "near", "type": "name", "skeleton": f"{skeleton[:-1]}q", "kind": "vendor", "trusted_from": now}
    rows = [row | {"key": f"other {n}", "name": f"Other {n}", "id": new_id()} for n in range(2000)]
    monkeypatch.setattr(normalise, "looks", lambda text: (read.update([text]), real(text))[1])
    found = match_of(asked, rows, now)
    assert (found.state, len(found.warnings), read.total()) == ("unknown", 2000, 1)
