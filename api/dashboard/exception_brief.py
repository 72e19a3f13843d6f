"""One exception in a few lines: who wants what, to whom, why it stopped, what is unproven, and what a yes does."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from api.dashboard import format as formats
from api.dashboard import words
from api.dashboard.exceptions_inbox import stopped
from api.gate.models import Contract
from api.gate.pointer import resolve
from api.gate.worth import amounts, totals

#: Of each row, how many values are named; the payload below has them all.
NAMED = 4
#: What a grounding says of values that people pinned in the access spec: they are no news to whoever decides. Which of
#: the recipients that are listed there gets it is news.
_PINNED = re.compile(r"listed in the workflow(?!.*\.outbound\.recipients$)")
_OBSERVATION = re.compile(r"observation ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class Part(NamedTuple):
    """One value of the payload, and the label of the field that it is in."""

    field: str
    value: Any


class Brief(NamedTuple):
    """What is said of an exception before anything else.

    amounts: as money; of many their sums, and how many cannot be read. parties: recipients, and accounts that no person
    pinned in the workflow. records: what it is about. texts: what would be written or sent. left: how many more of
    these three there are than are named. unproven:
    fields whose value is in no source that counts; proven: there are values that had to be in one. passages: suspicious
    passages of what was read. after: what happens once it is approved, in sentences.
    """

    amounts: list[str]
    parties: list[Part]
    records: list[Part]
    texts: list[Part]
    left: int
    stopped: str
    unproven: list[str]
    proven: bool
    passages: int
    after: list[str]


def brief(shown: dict[str, Any], contract: Contract | None, target: dict[str, Any] | None) -> Brief:
    """The few lines of an exception as `exceptions.service.get` answers it, and of its target where that is known."""
    grounds = shown["decision"]["grounds"]
    pinned = {_within(each["pointer"]) for each in grounds if _PINNED.match(str(each["where"]))}
    found = {
        "parties": [part for at, part in _parts(contract, shown["args"], "account", "recipient") if at not in pinned],
        "records": [part for at, part in _parts(contract, shown["args"], "object_id") if at not in pinned],
        "texts": [part for _, part in _parts(contract, shown["args"], "free_text")],
    }
    unproven = [words.field(each["pointer"]) for each in grounds if each["source"] == "none"]
    return Brief(
        amounts=list(_worth(contract, shown["args"])),
        left=sum(max(0, len(parts) - NAMED) for parts in found.values()),
        stopped=stopped(shown),
        unproven=list(dict.fromkeys(unproven)),
        proven=bool(grounds),
        passages=len(shown["decision"]["signals"]),
        after=_after(shown, contract, bool(target and target["moved"])),
        **{name: parts[:NAMED] for name, parts in found.items()},
    )


def place(where: str) -> list[tuple[str, str]]:
    """Where a value was found, in pieces: what is said, and the id of the observation that follows it, or ''."""
    said = _OBSERVATION.split(where)
    return list(zip(said[::2], [*said[1::2], ""], strict=True))


def money(contract: Contract | None, args: Any) -> dict[str, str]:
    """Every amount of the payload as people write it, by its pointer."""
    if contract is None or not isinstance(args, dict):
        return {}
    found = [each for each in amounts(contract, args) if each.minor is not None]
    return {each.pointer: _signed(each.pointer, args) + formats.money(each.minor, each.currency) for each in found}


def _worth(contract: Contract | None, args: Any) -> Iterator[str]:
    """The amounts one by one, or the sum of each currency where they are many: the largest may come last."""
    if contract is None or not isinstance(args, dict):
        return
    told = money(contract, args)
    if len(told) <= NAMED:
        yield from told.values()
    else:
        sums = [formats.money(minor, currency) for currency, minor in totals(contract, args).items()]
        yield f"{len(told)} amounts, together {words.sentence(sums[:NAMED])}"
        if len(sums) > NAMED:
            yield f"and in {words.count(len(sums) - NAMED, 'more currency', 'more currencies')}"
    unread = sum(each.minor is None and any(resolve(args, each.pointer)) for each in amounts(contract, args))
    if unread:
        yield f"{words.count(unread, 'amount')} that cannot be read as one"


def _signed(pointer: str, args: dict[str, Any]) -> str:
    """The sign of an amount, which the gate counts without one."""
    return "-" if any(type(value) in (int, float) and value < 0 for _, value in resolve(args, pointer)) else ""


def _parts(contract: Contract | None, args: dict[str, Any], *roles: str) -> Iterator[tuple[str, Part]]:
    """The single values of these roles, each with its pointer, in the order of the contract."""
    for pattern, argument in contract.arguments.items() if contract else ():
        if argument.role in roles:
            for pointer, value in resolve(args, pattern):
                for at, one in _leaves(pointer, value):
                    yield at, Part(words.field(at), one)


def _leaves(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a list one by one; anything deeper is read in the payload."""
    several = enumerate(value) if isinstance(value, list) else [(None, value)]
    for n, one in several:
        if one not in (None, "") and not isinstance(one, dict | list):
            yield pointer if n is None else f"{pointer}/{n}", one


def _within(pointer: str) -> str:
    """A pointer into the arguments, as a contract names it."""
    return pointer.removeprefix("/args")


def _after(shown: dict[str, Any], contract: Contract | None, moved: bool) -> list[str]:
    """What approving it does, in the order in which it matters."""
    if shown["kind"] == "manual":
        return ["A kill switch stopped it: nothing is executed from here."]
    asked = shown["decision"]["required_approvals"]
    given = sum(each["verdict"] == "approve" for each in shown["approvals"])
    lacking = max(0, (asked["count"] if asked else 1) - given)
    if moved:
        return ["Nothing is sent: something has moved, so it is proposed again and waits once more."]
    external = contract is not None and contract.execution.mode == "external"
    done = "your own client gets a permit to do it, once" if external else "exactly this is done, at once"
    told = [f"{done[:1].upper()}{done[1:]}."]
    if lacking > 1:
        told = [f"Nothing yet: it needs {words.count(lacking - 1, 'more approval')} after yours. Then {done}."]
    if contract is None:
        return told
    if contract.compensate is not None:
        return [*told, "A tool can undo it."]
    return [*told, "It can be changed back." if contract.reversible else "It cannot be undone."]
