"""The narrowest rule that a person's decision on one exception speaks for. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from uuid import UUID

from api.amendments.models import WantedBounds
from api.gate.classes import SEVERAL, ExceptionClass
from api.gate.models import Bounds, Decision, Finding, Liftable, Origin, Outcome, Rule
from api.gate.money import format_amount
from api.gate.rules import NONE

#: How long a rule that allows is in force unless told otherwise, and at most.
DEFAULT_DAYS, MAX_DAYS = 90, 366
#: Amounts beyond it are in no proposal (arguments.MAX_INTEGER).
_MOST = 2**53 - 1

#: What else helps against a finding that no rule lifts; by check.
_HELP = {
    "hard_gate": "Nothing does: this effect waits for a person, every time.",
    "edit": "When the agent proposes this payload itself, decide that exception, and amend from it.",
    "stage": "Move the workflow to the stage `autonomous` in a new version.",
    "outbound": "Have the template and the recipients reviewed, and name them in a new version of the workflow.",
    "data_class": "Allow this class of data for the tool in a new version of the workflow.",
    "grounding": "Have the instruction ask for it and name it, read it from a trusted record, or use the directory.",
    "limits": "Raise the limit, or shorten its window, in a new version of the workflow.",
    "connection": "Renew the connection's consent.",
    "risk": "Lower what the score counts, or raise its threshold in a new version of the workflow.",
    "value": "Correct the amounts, so that what this is worth is known.",
    "counterparty": "Propose one action for each of them.",
}
_OTHERWISE = "Change what the finding names: the workflow's access spec, the tool, or the connection."


@dataclass(frozen=True, slots=True)
class Blocker:
    """A finding that a rule cannot lift, why, and what else helps."""

    finding: str
    message: str
    helps: str


class RefusedError(ValueError):
    """No rule can be made of this decision. code: stable, for the API."""

    def __init__(self, code: str, message: str, blockers: list[Blocker] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.blockers = blockers or []


@dataclass(frozen=True, slots=True)
class Precedent:
    """One exception that a person decided.

    most_approved: minor units by currency, the most that people approved in the class. least_approved: the lowest
    confidence that they did.
    """

    amendment_id: UUID
    exception_id: UUID
    verdict: Literal["approved", "rejected"]
    found: ExceptionClass
    environment: str
    decision: Decision
    confidence: float | None
    most_approved: dict[str, int]
    least_approved: float | None

    @property
    def allows(self) -> bool:
        return self.verdict == "approved"


def rule_for(
    precedent: Precedent, reason: str, now: datetime, wanted: WantedBounds | None, expires_at: datetime | None
) -> Rule:
    """The rule: an `allow` of what was approved, a `deny` of what was rejected; for this tool, workflow and class only.

    wanted: bounds that are tighter, or looser as far as people's decisions carry. Raises RefusedError:
    `nothing_to_lift` when something else than a soft check waits for people, with every such finding;
    `several_counterparties`, `bounds_too_wide`, `expiry_out_of_range`.
    """
    blockers = list(blockers_of(precedent)) if precedent.allows else []
    lifts = sorted({one.check for one in _escalated(precedent.decision) if one.check in get_args(Liftable)})
    if blockers or (precedent.allows and not lifts):
        raise RefusedError("nothing_to_lift", "No rule can let this pass without a person.", blockers)
    if precedent.found.attributes.counterparty == SEVERAL:
        raise RefusedError("several_counterparties", "It goes to more than one; a rule would be for anybody.")
    bounds = _bounds(precedent, wanted)
    return Rule(
        id=f"amendment-{precedent.amendment_id.hex}",
        title=_title(precedent, bounds)[:200],
        principle=f"{reason[:1900]} (A person {precedent.verdict} the exception {precedent.exception_id}.)",
        applies_to=[precedent.found.tool],
        when=" && ".join(_conditions(precedent, lifts)),
        effect="allow" if precedent.allows else "deny",
        lifts=lifts if precedent.allows else [],
        bounds=bounds,
        expires_at=_expiry(precedent, now, expires_at),
        origin=Origin(kind="amendment", ref=str(precedent.amendment_id)),
    )


def blockers_of(precedent: Precedent) -> Iterator[Blocker]:
    """Every finding for which this would still wait for people under any rule."""
    found = precedent.found
    for finding in _escalated(precedent.decision):
        if finding.check not in get_args(Liftable) or not finding.liftable:
            yield Blocker(_name(finding), finding.message, _help(finding))
        elif not finding.liftable:
            yield Blocker(_name(finding), finding.message, "Correct the directory, once you know what is true.")
        elif finding.check == "value" and found.unknown_worth:
            yield Blocker("value", "What this is worth is not known, so no rule can bound it.", _HELP["value"])
        elif finding.check == "value" and not found.worth:
            yield Blocker("value", finding.message, _HELP["value"])
    if found.attributes.counterparty == SEVERAL:
        yield Blocker("counterparty", "It goes to more than one, and a rule is for one.", _HELP["counterparty"])


def _escalated(decision: Decision) -> list[Finding]:
    return [finding for finding in decision.findings if finding.outcome is Outcome.ESCALATE]


def _name(finding: Finding) -> str:
    return f"{finding.check}:{finding.rule_id}" if finding.rule_id else finding.check


def _help(finding: Finding) -> str:
    if finding.check == "constitution":
        return f"Edit the rule {finding.rule_id} in a draft of the constitution."
    return _HELP.get(finding.check, _OTHERWISE)


def _conditions(precedent: Precedent, soft: list[str]) -> Iterator[str]:
    """What of the class no bounds can say."""
    if precedent.found.attributes.effect:
        yield f'action.effect == "{precedent.found.attributes.effect}"'
    yield f'workflow.environment == "{precedent.environment}"'
    if precedent.found.attributes.tier is None:
        yield '(!("tier" in subject) || subject.tier == null)'
    if "confidence" in soft and precedent.confidence is not None:
        twentieths = precedent.confidence * 20
        if precedent.allows:
            # Rounded down to a twentieth, but never below what a person approved in this class.
            least = min(precedent.confidence, precedent.least_approved or precedent.confidence)
            yield f"action.confidence >= {max(int(twentieths) / 20, least)!r}"
        else:
            yield f"action.confidence <= {min(int(twentieths + 1) / 20, 1.0)!r}"


def _bounds(precedent: Precedent, wanted: WantedBounds | None) -> Bounds:
    found = precedent.found
    narrowest = Bounds(
        # A decision on what goes to nobody says nothing of what goes to somebody; nor does one without a tier.
        counterparties=found.counterparties or [NONE],
        amounts={currency: _band(precedent, currency) for currency in sorted(found.worth)},
        tiers=found.tiers or [NONE],
        workflows=[found.workflow],
    )
    if wanted is None:
        return narrowest
    asked: dict[str, Any] = {}
    for name in ("counterparties", "tiers", "workflows"):
        values = getattr(wanted, name)
        if values is None:
            continue
        if not values or not set(values) <= set(getattr(narrowest, name)):
            allowed = ", ".join(getattr(narrowest, name)) or "nothing"
            raise RefusedError("bounds_too_wide", f"The decision speaks for these {name} only: {allowed}.")
        asked[name] = sorted(set(values))
    if wanted.amounts is not None:
        asked["amounts"] = narrowest.amounts | dict(_amounts(precedent, wanted.amounts))
    return narrowest.model_copy(update=asked)


def _amounts(precedent: Precedent, wanted: dict[str, tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    for currency, (least, most) in wanted.items():
        if currency not in precedent.found.worth:
            raise RefusedError("bounds_too_wide", f"There was no amount in {currency}.")
        ceiling = _most(precedent, currency) if precedent.allows else _MOST
        if not 0 <= least <= most:
            raise RefusedError("bounds_too_wide", f"The amounts in {currency} are no range.")
        if most > ceiling:
            largest = format_amount(ceiling, currency)
            raise RefusedError("bounds_too_wide", f"The most that a person approved in this class is {largest}.")
        yield currency, (least, most)


def most_of(precedent: Precedent) -> dict[str, int]:
    """What each amount of the rule may be raised to, in minor units by currency."""
    return {c: _most(precedent, c) if precedent.allows else _MOST for c in sorted(precedent.found.worth)}


def _most(precedent: Precedent, currency: str) -> int:
    """The most that a person approved in this class, this exception included."""
    return max(precedent.most_approved.get(currency, 0), precedent.found.worth[currency])


def _band(precedent: Precedent, currency: str) -> tuple[int, int]:
    """What is approved covers what is worth less, up to a round sum; what is rejected covers what is worth more."""
    worth = precedent.found.worth[currency]
    if precedent.allows:
        return 0, min(_round_up(worth), _most(precedent, currency))
    return _round_down(worth), _MOST


def _round_up(amount: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ... that is no less."""
    return next(step for step in _steps() if step >= amount)


def _round_down(amount: int) -> int:
    """The last of 0, 1, 2, 5, 10, 20, 50, ... that is no more."""
    last = 0
    for step in _steps():
        if step > amount:
            return last
        last = step
    raise AssertionError("the steps do not end")


def _steps() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _expiry(precedent: Precedent, now: datetime, wanted: datetime | None) -> datetime | None:
    if wanted is None:
        # What is denied stays so until somebody changes it; that it ends by itself would let more happen.
        return (now + timedelta(days=DEFAULT_DAYS)).replace(microsecond=0) if precedent.allows else None
    if not now < wanted <= now + timedelta(days=MAX_DAYS):
        raise RefusedError("expiry_out_of_range", f"A rule ends within {MAX_DAYS} days from now.")
    return wanted


def _title(precedent: Precedent, bounds: Bounds) -> str:
    parts = ["Allow" if precedent.allows else "Deny", precedent.found.tool]
    if precedent.found.attributes.counterparty:
        parts.append(f"to {precedent.found.attributes.counterparty[:80]}")
    for currency, (least, most) in bounds.amounts.items():
        parts.append(f"up to {format_amount(most, currency)}" if precedent.allows else
                     f"from {format_amount(least, currency)}")  # fmt: skip
    return " ".join([*parts, f"in {precedent.found.workflow}"])
