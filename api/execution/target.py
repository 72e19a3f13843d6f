"""What an action would change, beside what was read of it: which reads show it, and what they say. Pure."""

import re
from dataclasses import dataclass, field
from typing import Any

from api.execution.premises import differences
from api.execution.undo_args import Known, UnmadeError, names_of, places, read_args
from api.gate.models import Contract
from api.gate.pointer import resolve
from api.providers.client import premise_args

_ITEM = re.compile(r"/[0-9]+(?=/|$)")


@dataclass(frozen=True, slots=True)
class Way:
    """A read that shows something of the target. serves: `state`, `premise`, or both."""

    tool: str
    args: dict[str, Any]
    serves: list[str] = field(default_factory=list)

    def matches(self, read: dict[str, Any]) -> bool:
        return (read["tool"], read["args"]) == (self.tool, self.args)


def ways(contract: Contract, args: dict[str, Any]) -> list[Way]:
    """The reads by which a contract says that its target can be looked at, each once; what it changes comes first."""
    found: list[Way] = []
    if contract.state is not None:
        try:
            made = read_args(contract.state.args, Known(args, names_of(contract)))
            found.append(Way(contract.state.tool, made, ["state"]))
        except UnmadeError:
            pass  # what is created is not there before
    for premise in contract.rests_on:
        way = Way(premise.tool, premise_args(contract, premise, args))
        known = next((one for one in found if (one.tool, one.args) == (way.tool, way.args)), None)
        if known is None:
            found.append(known := way)
        if "premise" not in known.serves:
            known.serves.append("premise")
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read in one way: the newest read that succeeded, the one that the decision had, and the last failure.

    newest: of the gateway's reads. What a client says that it read counts only where the gateway never read: whoever
    acts for the agent could otherwise say that all is as it was, after a person has looked.
    """

    way: Way
    newest: dict[str, Any] | None
    based_on: dict[str, Any] | None
    failed: dict[str, Any] | None


def seen(way: Way, reads: list[dict[str, Any]], observed: int | None) -> Seen:
    """reads: of the run, the newest first. observed: how many reads had succeeded when the action was decided."""
    mine = [read for read in reads if way.matches(read)]
    succeeded = [read for read in mine if read["status"] == "succeeded"]
    ours = [read for read in succeeded if read["source"] == "gateway"]
    newest = next(iter(ours or succeeded), None)
    # As before the write itself (premises.py): the newest of those that the decision had.
    had = [read for read in succeeded if observed is not None and (read["number"] or 0) <= observed]
    based_on = max(had, key=lambda read: read["number"] or 0) if had else None
    failed = mine[0] if mine and mine[0]["status"] == "failed" else None
    return Seen(way, newest, based_on if based_on and not based_on["overtaken"] else None, failed)


def change(contract: Contract, args: dict[str, Any], now: Any) -> dict[str, Any] | None:
    """{now, then}: by argument what the state shows of it, as it is and would be; None where that is not known."""
    if contract.state is None or not isinstance(now, dict):
        return None
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    known = places(contract)
    for name, pointer in known.items():
        for _, value in resolve(now, pointer):
            before[name] = after[name] = value
        if name in args:
            after[name] = args[name]
    if not known:
        return None
    return {"now": before, "then": after}


def _is_whole(read: dict[str, Any]) -> bool:
    """Whether everything that was kept of an answer is here: nothing of it erased, and not too large for a page."""
    return not read["too_large"] and not read["erased_classes"]


def _trust(labels: dict[str, Any] | None, pointer: str) -> str:
    """How far a part of an answer is trusted, as it was labelled when it was read: items of lists have one label."""
    label = (labels or {}).get(_ITEM.sub("/*", pointer)) or {}
    return str(label.get("trust", "untrusted"))


def moved(contract: Contract, args: dict[str, Any], all_seen: list[Seen]) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the gateway has read anything again that the decision rests on since, and what of it has moved."""
    compared, found = False, []
    for premise in contract.rests_on:
        wanted = premise_args(contract, premise, args)
        for one in all_seen:
            if (one.way.tool, one.way.args) != (premise.tool, wanted) or one.newest is None or one.based_on is None:
                continue
            since = (one.newest["number"] or 0) > (one.based_on["number"] or 0)
            if one.newest["source"] != "gateway" or not since:
                continue
            if not (_is_whole(one.newest) and _is_whole(one.based_on)):
                continue  # it is compared before the write
            compared = True
            parts = differences(contract, premise, args, one.based_on["result"], one.newest["result"])
            found += [part | {"trust": _trust(one.newest["labels"], part["pointer"])} for part in parts]
    names = ("tool", "pointer", "was", "message", "trust")
    told = [{name: part[name] for name in names} | {"now": part["is"]} for part in found]
    return compared, told[:20]
