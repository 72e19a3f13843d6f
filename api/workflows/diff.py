"""What one version of an access spec permits beyond another, in words that a reviewer reads.

Pure. `narrowed` is said only of what provably permits less than before; whatever has no such proof is `widened`.
`changed` is what permits neither more nor less: words, names, and a setting that repeats what held already.
Settings of a tool are compared by what holds for it, its own or the workflow's, so that removing a strict setting of
its own is widening. No permission can grow without a `widened` change.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.gate.models import HARD_GATES, AccessSpec, Approvals, Contract, ToolGrant
from api.gate.money import format_amount
from api.gate.pointer import covers, escape
from api.workflows.changes import Change, by, members, number, same
from api.workflows.diff_loop import loop_changes
from api.workflows.diff_safeguards import messages, safeguards

_STAGES = ("shadow", "supervised", "autonomous")
_WORDS = {"purpose": "purpose", "owner": "owner", "escalation_contact": "escalation contact"}


def diff(before: AccessSpec | None, after: AccessSpec, contracts: Mapping[str, Contract] | None = None) -> list[Change]:
    """Every difference from `before` to `after`; without `before` everything that `after` reaches is new.

    contracts: those of the tools, to say which of them wait for a person whatever the spec says.
    """
    if before is None:
        nothing: dict[str, Any] = {"tools": {}, "connections": {}, "data_classes": [], "value_max": {}, "insiders": []}
        nothing |= {"loop": None}
        before = after.model_copy(update=nothing)
    return [
        *_stage(before, after, contracts or {}),
        *_tools(before, after),
        *_connections(before, after),
        *_limits(before, after),
        *safeguards(before, after),
        *_data(before, after),
        *loop_changes(before, after),
        *(
            Change(kind="changed", pointer=f"/{name}", before=old, after=new, text=f"The {word} is now: {new}")
            for name, word in _WORDS.items()
            if (old := getattr(before, name)) != (new := getattr(after, name))
        ),
    ]


def _stage(before: AccessSpec, after: AccessSpec, contracts: Mapping[str, Contract]) -> Iterator[Change]:
    if before.stage == after.stage:
        return
    writes = [name for name, grant in after.tools.items() if grant.access == "write"]
    alone = [name for name in writes if name not in contracts or contracts[name].effect not in HARD_GATES]
    text = {
        "shadow": "only records proposals; nothing is done",
        "supervised": "waits for a person before every side effect",
        "autonomous": f"no longer waits for a person: {', '.join(alone)}"
        if alone
        else "may act where no check objects",
    }[after.stage]
    wider = _STAGES.index(after.stage) > _STAGES.index(before.stage)
    yield by(wider, "/stage", before.stage, after.stage, text)


def _tools(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    for name in (*before.tools, *(name for name in after.tools if name not in before.tools)):
        old, new, at = before.tools.get(name), after.tools.get(name), f"/tools/{escape(name)}"
        if old is None and new is not None:
            yield by(True, at, None, new.model_dump(mode="json"), _gained(name, new))
        elif old is not None and new is None:
            yield by(False, at, old.model_dump(mode="json"), None, f"may no longer use {name}")
        elif old is not None and new is not None:
            yield from _grant(name, at, old, new)
            yield from _thresholds(name, at, (before, old), (after, new))


def _gained(name: str, grant: ToolGrant) -> str:
    if grant.access == "write":
        return f"may now also use {name}, which writes"
    return f"may now also read {', '.join(grant.read_fields) or 'nothing that is kept'} with {name}"


def _grant(name: str, at: str, old: ToolGrant, new: ToolGrant) -> Iterator[Change]:
    if old.access != new.access:
        yield by(True, f"{at}/access", old.access, new.access, f"{name} is now used to {new.access}")
    yield from _pointers(f"{at}/read_fields", old.read_fields, new.read_fields, f"read {{}} with {name}")
    if old.arguments is None or new.arguments is None:
        if old.arguments != new.arguments:
            given = "any argument" if new.arguments is None else f"only {', '.join(new.arguments) or 'no argument'}"
            wider = new.arguments is None
            yield by(wider, f"{at}/arguments", old.arguments, new.arguments, f"may now give {name} {given}")
    else:
        yield from _pointers(f"{at}/arguments", old.arguments, new.arguments, f"set {{}} of {name}")
    yield from _records(name, at, old.records, new.records)
    yield from members(f"{at}/data_classes", old.data_classes, new.data_classes, f"send {{}} data to {name}")
    if old.irreversible_alone != new.irreversible_alone:
        more = "now" if new.irreversible_alone else "no longer"
        ends = old.irreversible_alone, new.irreversible_alone
        text = f"may {more} use {name}, which cannot be undone, without a person"
        yield by(new.irreversible_alone, f"{at}/irreversible_alone", *ends, text)
    yield from messages(name, at, old, new)


def _pointers(at: str, old: list[str], new: list[str], what: str) -> Iterator[Change]:
    for pointer in dict.fromkeys(new):
        if pointer not in old:
            if any(covers(held, pointer) for held in old):
                yield same(at, None, pointer, f"names {pointer}, which it had already")
            else:
                yield by(True, at, None, pointer, f"may now also {what.format(pointer)}")
    for pointer in dict.fromkeys(old):
        if pointer not in new:
            if any(covers(held, pointer) for held in new):
                yield same(at, pointer, None, f"no longer names {pointer}, and has it all the same")
            else:
                yield by(False, at, pointer, None, f"may no longer {what.format(pointer)}")


_Records = Mapping[str, list[str | int]]


def _records(name: str, at: str, old: _Records, new: _Records) -> Iterator[Change]:
    for argument in (*old, *(argument for argument in new if argument not in old)):
        place = f"{at}/records/{escape(argument)}"
        if argument not in new:
            text = f"may now use {name} with any {argument}; it was confined to {_listed(old[argument])}"
            yield by(True, place, old[argument], None, text)
        elif argument not in old:
            text = f"may now use {name} only with {argument} {_listed(new[argument])}"
            yield by(False, place, None, new[argument], text)
        else:
            gained, lost = _without(new[argument], old[argument]), _without(old[argument], new[argument])
            if gained:
                text = f"may now also use {name} with {argument} {_listed(gained)}"
                yield by(True, place, old[argument], new[argument], text)
            if lost:
                text = f"may no longer use {name} with {argument} {_listed(lost)}"
                yield by(False, place, old[argument], new[argument], text)


def _without(values: list[str | int], others: list[str | int]) -> list[str | int]:
    """The values that the others lack; 1 and "1" are two records."""
    known = {(type(value), value) for value in others}
    return [value for value in values if (type(value), value) not in known]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values) or "none"


def _connections(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    for provider in dict.fromkeys((*before.connections, *after.connections)):
        for access in ("read", "write"):
            old = getattr(before.connections.get(provider), access, None)
            new = getattr(after.connections.get(provider), access, None)
            if old == new:
                continue
            at, ends = f"/connections/{escape(provider)}/{access}", (old and str(old), new and str(new))
            if new is None:
                yield by(False, at, *ends, f"no longer has a {access} connection to {provider}")
            else:
                how = "now has" if old is None else "now uses another connection:"
                yield by(True, at, *ends, f"{how} a {access} connection to {provider}")


def _limits(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    yield from _ceilings("/value_max", "", (before, before.value_max), (after, after.value_max))
    yield from number(
        "/confidence_min", "asks for a confidence of {}", before.confidence_min, after.confidence_min, up=False
    )
    yield from number("/approval_hours", "an approval may take {} hours", before.approval_hours, after.approval_hours)
    yield from _approvals("/approvals", "", before.approvals, after.approvals)


_Side = tuple[AccessSpec, ToolGrant]


def _thresholds(name: str, at: str, old: _Side, new: _Side) -> Iterator[Change]:
    (before, was), (after, now) = old, new
    held, holds = before.value_max | was.value_max, after.value_max | now.value_max
    yield from _ceilings(f"{at}/value_max", f" of {name}", (was, held), (now, holds))
    if was.confidence_min != now.confidence_min:
        ends = [s.confidence_min if g.confidence_min is None else g.confidence_min for s, g in (old, new)]
        yield from number(
            f"{at}/confidence_min", f"asks for a confidence of {{}} for {name}", *ends, up=False, always=True
        )
    if was.approvals != now.approvals:
        asked = was.approvals or before.approvals, now.approvals or after.approvals
        found = list(_approvals(f"{at}/approvals", f" for {name}", *asked))
        yield from found or [same(f"{at}/approvals", _dump(was), _dump(now), f"asks for the same approvals for {name}")]


def _dump(grant: ToolGrant) -> Any:
    return grant.approvals.model_dump(mode="json") if grant.approvals else None


_Ceilings = tuple[AccessSpec | ToolGrant, Mapping[str, int]]


def _ceilings(at: str, whose: str, before: _Ceilings, after: _Ceilings) -> Iterator[Change]:
    """Differences of the ceilings that each side writes down, judged by those that hold there."""
    (was, held), (now, holds) = before, after
    for currency in dict.fromkeys((*was.value_max, *now.value_max)):
        ends = was.value_max.get(currency), now.value_max.get(currency)
        if ends[0] != ends[1]:
            yield _ceiling(f"{at}/{currency}", f"limit{whose} for {currency}", currency, ends, (held, holds))


def _ceiling(
    at: str,
    limit: str,
    currency: str,
    ends: tuple[int | None, int | None],
    sides: tuple[Mapping[str, int], Mapping[str, int]],
) -> Change:
    old, new = (side.get(currency) for side in sides)
    if old == new:
        return same(at, *ends, f"{limit} stays as it is")
    if new is None:
        return by(False, at, *ends, f"{limit} removed: every amount in {currency} waits for a person")
    if old is None:
        return by(True, at, *ends, f"{limit} set: up to {format_amount(new, currency)} is within it now")
    moved = "raised" if new > old else "lowered"
    text = f"{limit} {moved} from {format_amount(old, currency)} to {format_amount(new, currency)}"
    return by(new > old, at, *ends, text)


def _approvals(at: str, whose: str, old: Approvals, new: Approvals) -> Iterator[Change]:
    yield from number(f"{at}/count", f"asks for the approval of {{}} people{whose}", old.count, new.count, up=False)
    for role in dict.fromkeys((*new.roles, *old.roles)):
        if role not in old.roles:
            yield by(True, f"{at}/roles", None, role, f"may now also be approved by a person of the role {role}{whose}")
        elif role not in new.roles:
            yield by(False, f"{at}/roles", role, None, f"may no longer be approved by the role {role}{whose}")
    if old.aal != new.aal:
        wider = new.aal == "aal1"
        text = f"approving{whose} {'no longer needs' if wider else 'now needs'} a second factor"
        yield by(wider, f"{at}/aal", old.aal, new.aal, text)


def _data(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    yield from members("/data_classes", before.data_classes, after.data_classes, "hold {} data")
    yield from number(
        "/retention_days", "what was read is kept for {} days", before.retention_days, after.retention_days
    )
    for data_class in dict.fromkeys((*before.retention, *after.retention)):
        if before.retention.get(data_class) != after.retention.get(data_class):
            ends = [spec.retention.get(data_class, spec.retention_days) for spec in (before, after)]
            what = f"{data_class} data is kept for {{}} days"
            yield from number(f"/retention/{data_class}", what, *ends, always=True)
    yield from _pseudonyms(before, after)


def _pseudonyms(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    """Whoever is shown less as a token sees more."""
    at, was, now = "/pseudonyms", before.pseudonyms, after.pseudonyms
    for kind in sorted(before.hidden ^ after.hidden):
        bare = kind in before.hidden
        how = "now see" if bare else "no longer see"
        yield by(bare, at, was, now, f"an agent may {how} values of the kind {kind} as they are")
    if was != now and before.hidden == after.hidden:
        yield same(at, was, now, "hides the same kinds of values as before")
