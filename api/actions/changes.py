"""What an action changed, by what was read right before its call and right after it."""

from collections.abc import Mapping
from typing import Any

from api.gate.pointer import leaves
from api.privacy.sealing import opened

_ABSENT = object()


def changes_of(around: Mapping[str, Any], *, values: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """[{pointer, before, after}] of what differs, and which of the two reads failed; both empty where none was made.

    around: {keys, reads}, as get_action.sql tells it. values: whether they are shown, or only where something changed.
    What is not there is null. Of a read that was made several times, the last one counts.
    """
    reads = {read["purpose"]: opened(around["keys"], read) for read in around["reads"] or []}
    failed = sorted(purpose for purpose, read in reads.items() if read["status"] != "succeeded")
    if failed or len(reads) < 2:
        return [], failed
    before, after = (dict(leaves(reads[purpose]["result"])) for purpose in ("before", "after"))
    found = []
    for pointer in sorted(before.keys() | after.keys()):
        was, now = before.get(pointer, _ABSENT), after.get(pointer, _ABSENT)
        if was != now or type(was) is not type(now):
            shown = {"before": None if was is _ABSENT else was, "after": None if now is _ABSENT else now}
            found.append({"pointer": pointer} | (shown if values else {}))
    return found, failed
