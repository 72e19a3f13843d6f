"""A run as one line of events, from what triggered it to its last effect. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

#: Where things have one time, what comes first.
_ORDER = ("started", "step", "read", "model", "proposed", "exception", "verdict", "attempt", "ended")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. kind: one of _ORDER; of: what it is told of; action: the action that it belongs to."""

    at: datetime
    kind: str
    of: dict[str, Any]
    action: dict[str, Any] | None = None
    step: dict[str, Any] | None = None


def events(trace: dict[str, Any]) -> list[Event]:
    """The events of a trace, in order of time. A step of a loop that read or proposed stands with what it did."""
    steps = {str(s["observation_id"] or s["action_id"]): s for s in trace["steps"] if _stands_with(s)}
    found = [Event(_moment(trace["created_at"]), "started", trace)]
    found += [Event(_moment(each["started_at"]), "step", each) for each in trace["steps"] if not _stands_with(each)]
    actions = {each["id"]: each for each in trace["actions"]}
    found += [
        Event(_moment(each["created_at"]), "read", each, actions.get(each.get("action_id")), steps.get(each["id"]))
        for each in trace["observations"]
    ]
    found += [Event(_moment(each["at"]), "model", each) for each in trace["model_calls"]]
    for action in trace["actions"]:
        found += _of_action(action, steps.get(action["id"]))
    if trace["finished_at"]:
        found.append(Event(_moment(trace["finished_at"]), "ended", trace))
    return sorted(found, key=lambda event: (event.at, _ORDER.index(event.kind)))


def _of_action(action: dict[str, Any], step: dict[str, Any] | None) -> list[Event]:
    found = [Event(_moment(action["created_at"]), "proposed", action, action, step)]
    if action.get("exception"):
        found.append(Event(_moment(action["exception"]["created_at"]), "exception", action["exception"], action))
    found += [Event(_moment(each["at"]), "verdict", each, action) for each in action.get("approvals", [])]
    found += [Event(_moment(each["started_at"]), "attempt", each, action) for each in action.get("attempts", [])]
    return found


def totals(trace: dict[str, Any]) -> dict[str, Any]:
    """{calls, input, output, costs}: what the models of a run took, with the cost by currency."""
    costs: dict[str, Decimal] = {}
    for call in trace["model_calls"]:
        if call["cost"] is not None:
            costs[call["currency"]] = costs.get(call["currency"], Decimal(0)) + cost(call)
    tokens = {name: sum(call[f"{name}_tokens"] or 0 for call in trace["model_calls"]) for name in ("input", "output")}
    return {"calls": len(trace["model_calls"]), "costs": costs} | tokens


def cost(call: dict[str, Any]) -> Decimal:
    """What a call of a model cost, of the millionths that are kept."""
    return Decimal(call["cost"] or 0).scaleb(-6)


def changes(reads: dict[str, dict[str, Any]], trace: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By action what was there (before, after) its write, as far as both reads are in `reads`, by id."""
    around: dict[str, dict[str, Any]] = {}
    for each in trace["observations"]:
        if each.get("purpose") in ("before", "after") and each["id"] in reads:
            around.setdefault(each["action_id"], {})[each["purpose"]] = reads[each["id"]]["result"]
    return {action: (both["before"], both["after"]) for action, both in around.items() if len(both) == 2}


def _stands_with(step: dict[str, Any]) -> bool:
    return bool(step["observation_id"] or step["action_id"])


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
