"""Differences of what an access spec says of messages, of a client's word, and of its safeguards; see diff.py."""

from collections.abc import Iterator
from typing import Any

from api.gate.models import AccessSpec, Limit, Outbound, ToolGrant
from api.gate.money import format_amount
from api.workflows.changes import Change, by, members, number


def messages(name: str, at: str, old: ToolGrant, new: ToolGrant) -> Iterator[Change]:
    """What a tool may send without a draft, and whether a client's word is taken for what it read."""
    yield from _outbound(name, f"{at}/outbound", old.outbound, new.outbound)
    if old.asserted != new.asserted:
        wider = new.asserted == "contract"
        how = "is now taken for as trusted as its contract says" if wider else "proves nothing any more"
        text = f"what a client says that it read with {name} {how}"
        yield by(wider, f"{at}/asserted", old.asserted, new.asserted, text)


def _outbound(name: str, at: str, old: Outbound | None, new: Outbound | None) -> Iterator[Change]:
    if old is None and new is not None:
        text = f"may now send messages to outsiders with {name} of which nobody sees a draft"
        yield by(True, at, None, new.model_dump(mode="json"), text)
    elif old is not None and new is None:
        text = f"every message to outsiders with {name} is a draft that a person looks at"
        yield by(False, at, old.model_dump(mode="json"), None, text)
    elif old is not None and new is not None:
        yield from members(f"{at}/recipients", old.recipients, new.recipients, f"send messages with {name} to {{}}")
        words = f"send messages with {name} that read: {{}}"
        yield from members(f"{at}/templates", old.templates, new.templates, words)
        if old.any_text != new.any_text:
            text = "any text" if new.any_text else "only the texts that a reviewer has read"
            yield by(new.any_text, f"{at}/any_text", old.any_text, new.any_text, f"may now send {text} with {name}")


def safeguards(before: AccessSpec, after: AccessSpec) -> Iterator[Change]:
    """Limits over windows of time, thresholds of the risk score, new payees, and who is no outsider."""
    old, new = ({limit.name: limit for limit in spec.limits} for spec in (before, after))
    for name in {**old, **new}:
        yield from _limit(old.get(name), new.get(name))
    for threshold, what in (("escalate_at", "waits for a person"), ("deny_at", "is refused")):
        ends = getattr(before.risk, threshold), getattr(after.risk, threshold)
        yield from number(f"/risk/{threshold}", f"{what} at a risk score of {{}}", *ends)
    yield from number(
        "/counterparty_approvals",
        "asks for the approval of {} people for a new payee or new bank details",
        before.counterparty_approvals,
        after.counterparty_approvals,
        up=False,
    )
    yield from members("/insiders", before.insiders, after.insiders, "write to {} as to one of our own")


def _limit(old: Limit | None, new: Limit | None) -> Iterator[Change]:
    if old is None and new is not None:
        yield by(False, "/limits", None, new.model_dump(mode="json"), f"limit {new.name} set: {told(new)}")
    elif new is None and old is not None:
        yield by(True, "/limits", old.model_dump(mode="json"), None, f"limit {old.name} removed: {told(old)}")
    elif old is not None and new is not None:
        for member, wider in _moved(old, new):
            was, now = ({"name": limit.name, member: limit.model_dump(mode="json")[member]} for limit in (old, new))
            yield by(wider, "/limits", was, now, f"limit {new.name} is now: {told(new)}; it was: {told(old)}")


def _moved(old: Limit, new: Limit) -> Iterator[tuple[str, bool]]:
    """The members in which a limit has moved, and whether it stops less for it."""
    if old.currency != new.currency:
        yield "currency", old.currency is not None  # amounts of two currencies cannot be compared
    elif old.max_amount != new.max_amount:
        yield "max_amount", _above(old.max_amount, new.max_amount)
    if old.max_count != new.max_count:
        yield "max_count", _above(old.max_count, new.max_count)
    if old.window_hours != new.window_hours:
        yield "window_hours", new.window_hours < old.window_hours  # what is older counts no more
    if set(old.per) != set(new.per):
        yield "per", not set(new.per) < set(old.per)  # counted apart, each may come to all of it
    if set(old.tools) != set(new.tools):
        yield "tools", bool(new.tools) and not (old.tools and set(new.tools) > set(old.tools))
    if old.exceeded != new.exceeded:
        yield "exceeded", new.exceeded == "escalate"


def _above(old: int | None, new: int | None) -> bool:
    return new is None or (old is not None and new > old)


def told(limit: Limit) -> str:
    """A limit in a few words."""
    most: list[str] = []
    if limit.max_amount is not None and limit.currency is not None:
        most.append(format_amount(limit.max_amount, limit.currency))
    if limit.max_count is not None:
        most.append(f"{limit.max_count} {'action' if limit.max_count == 1 else 'actions'}")
    hours = "hour" if limit.window_hours == 1 else f"{limit.window_hours} hours"
    apart = f" for each {' and '.join(sorted(limit.per))}" if limit.per else ""
    what = f" with {', '.join(limit.tools)}" if limit.tools else ""
    then = "nobody can approve more" if limit.exceeded == "deny" else "a person decides on more"
    return f"{' and '.join(most)} in every {hours}{apart}{what}; {then}"


def described(limit: Limit) -> dict[str, Any]:
    """A limit as a reviewer's document shows it."""
    return limit.model_dump(mode="json") | {"text": told(limit)}
