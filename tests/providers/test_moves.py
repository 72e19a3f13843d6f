"""What each manifest looks at around its writes, and how it undoes them, against servers made from the documents."""

import pytest

from tests.providers.exercise import running, settings_of, sign_in
from tests.providers.moves import Looking, check_all
from tests.providers.test_manifests import NAMES, manifest_of, shape_of


@pytest.mark.parametrize("name", NAMES)
def test_what_moves_is_noticed_and_what_was_done_is_undone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(manifest_of(name), shape_of(name)) as provider:
        for setting, value in settings_of(provider).items():
            monkeypatch.setenv(setting, value)
        check_all(Looking(provider, sign_in(provider)))
