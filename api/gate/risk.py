"""The risk score: 0 to 100, the sum of named factors less named mitigations (docs/risk.md).

One table for what the gate scores of a proposal and for what a planner asks of an idea. Each factor only rises with
what speaks against an action, and no mitigation is earned by it, so that more adverse evidence never lowers a score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from api.gate.decisions import Risk, RiskFactor
from api.gate.payees import EFFECTS as TO_A_PAYEE
from api.gate.payees import NOBODY
from api.gate.pointer import covers
from api.gate.vocabulary import HARD_GATES
from api.gate.worth import amounts

if TYPE_CHECKING:
    from api.gate.case import Case

#: Of what a tool does. The effects that always wait for a person are those from 25 up.
EFFECT = {
    "read": 0, "write": 5, "outbound_message": 15, "pricing": 25, "bulk": 25, "mass_outbound": 28, "legal": 28,
    "employment": 28, "regulated": 28, "destructive": 30, "permission_change": 30, "money_movement": 30,
    "credential_change": 30,
}  # fmt: skip
UNKNOWN_EFFECT = 30
IRREVERSIBLE = 10
#: Of the most sensitive class that it carries. A class that is not listed here counts as confidential.
SENSITIVITY = {
    "public": 0, "internal": 0, "confidential": 8, "pii": 10, "personal": 10, "financial": 10, "regulated": 12,
    "secret": 40,
}  # fmt: skip
UNKNOWN_CLASS = 8
AUTONOMY = {"shadow": 0, "supervised": 4, "autonomous": 8}
#: By the part of its ceiling (in percent, at most) that it is worth; more than all of it, or nobody knows: VALUE_ABOVE.
VALUE = ((25, 2), (50, 4), (75, 6), (100, 8))
VALUE_ABOVE = 10
UNGROUNDED, UNGROUNDED_EACH_MORE, UNGROUNDED_MOST = 8, 2, 12
SIGNAL_KIND, SIGNAL_EACH_MORE, SIGNALS_MOST = 3, 1, 8
NEW_COUNTERPARTY = 6
#: By the confidence below which they count; without any, the last.
CONFIDENCE = ((0.9, 1), (0.8, 2), (0.5, 3))

Mitigation = Literal[
    "read_back",
    "idempotency",
    "compensation",
    "reviewed_templates",
    "known_counterparty",
    "records_pinned",
    "approvals",
]
MITIGATIONS: dict[Mitigation, tuple[int, str]] = {
    "read_back": (4, "what it did can be read back from the provider"),
    "idempotency": (3, "repeating it has no second effect"),
    "compensation": (5, "there is a tool that undoes it"),
    "reviewed_templates": (5, "a reviewer has read the recipients and the text"),
    "known_counterparty": (4, "the directory vouches for whom it goes to"),
    "records_pinned": (3, "the workflow may act on listed records only"),
    "approvals": (6, "people approve it, every time"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """What the score is made of. effects: none is an unknown one. classes: of the data that it carries.

    percent: of its ceiling that it is worth; None: no amount is involved; 101: more than all of it, or nobody knows.
    confidence: None is none; 1 where nobody claims any. signals: how many passages, by kind.
    """

    effects: frozenset[str]
    reversible: bool
    classes: frozenset[str]
    stage: str
    percent: int | None = None
    ungrounded: int = 0
    signals: dict[str, int] = field(default_factory=dict)
    new_counterparty: bool = False
    confidence: float | None = 1.0
    mitigations: frozenset[Mitigation] = frozenset()


def score(picture: Picture) -> Risk:
    """The score with everything that it is the sum of, held within 0 and 100."""
    factors = [factor for factor in _factors(picture) if factor.points]
    mitigations = [
        RiskFactor(name=name, points=-points, why=f"{why[0].upper()}{why[1:]}.")
        for name, (points, why) in MITIGATIONS.items()
        if name in picture.mitigations
    ]
    total = sum(factor.points for factor in [*factors, *mitigations])
    return Risk(score=max(0, min(100, total)), factors=factors, mitigations=mitigations)


def assess(case: Case) -> Risk:
    """The score of a proposal."""
    return score(picture_of(case))


def picture_of(case: Case) -> Picture:
    """What of a proposal counts for its score."""
    signals: dict[str, int] = {}
    for signal in case.signals:
        signals[signal.kind] = signals.get(signal.kind, 0) + 1
    return Picture(
        effects=case.effects,
        reversible=bool(case.contract and case.contract.reversible),
        classes=frozenset(one.data_class for one in case.carried),
        stage=case.spec.stage,
        percent=_percent(case),
        ungrounded=sum(ground.source == "none" for ground in case.grounds),
        signals=signals,
        new_counterparty=any(standing.state != "known" for standing in case.standings),
        confidence=case.proposal.confidence,
        mitigations=frozenset(_mitigations(case)),
    )


def _percent(case: Case) -> int | None:
    if case.contract is None or case.grant is None:
        return 101
    ceilings = case.spec.value_max | case.grant.value_max
    sums: dict[str, int] = {}
    for amount in amounts(case.contract, case.proposal.args):
        if amount.currency is None or amount.minor is None or amount.currency not in ceilings:
            return 101
        sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
    return max((percent_of(worth, ceilings[currency]) for currency, worth in sums.items()), default=None)


def percent_of(worth: int, ceiling: int) -> int:
    """The part of a ceiling, rounded up, so that a cent above is above: 101 at most. Only nothing is within none."""
    if ceiling <= 0:
        return 101 if worth > 0 else 0
    return min(101, -(-100 * worth // ceiling))


def _mitigations(case: Case) -> list[Mitigation]:
    contract, grant, found = case.contract, case.grant, list[Mitigation]()
    if contract is None or grant is None:
        return found
    if contract.read_back is not None:
        found.append("read_back")
    if contract.idempotency != "none":
        found.append("idempotency")
    if case.effects & {"outbound_message", "mass_outbound"} and not case.review.gaps:
        found.append("reviewed_templates")
    if case.effects & TO_A_PAYEE and _goes_to(case) and all(one.state == "known" for one in case.standings):
        found.append("known_counterparty")
    if grant.records:
        found.append("records_pinned")
    # What else waits for a person does so because of this very score, or of what it is made of.
    if case.effects & HARD_GATES:
        found.append("approvals")
    return found


def _goes_to(case: Case) -> bool:
    """Whether the action names somebody it goes to; an insider is no less known than who is in the directory."""
    pinned = case.grant.records if case.grant else {}
    return any(
        one.argument.role in ("account", "recipient")
        and one.value not in NOBODY
        and not any(covers(pattern, one.pointer) for pattern in pinned)
        for one in case.roled
    )


def _factors(picture: Picture) -> list[RiskFactor]:
    return [
        _effect(picture.effects),
        RiskFactor(name="irreversible", points=0 if picture.reversible else IRREVERSIBLE, why="It cannot be undone."),
        _sensitivity(picture.classes),
        RiskFactor(
            name="autonomy",
            points=AUTONOMY.get(picture.stage, AUTONOMY["autonomous"]),
            why=f"The workflow's stage is {picture.stage}.",
        ),
        _value(picture.percent),
        _ungrounded(picture.ungrounded),
        _signals(picture.signals),
        RiskFactor(
            name="new_counterparty",
            points=NEW_COUNTERPARTY if picture.new_counterparty else 0,
            why="The directory does not vouch for whom it goes to.",
        ),
        _confidence(picture.confidence),
    ]


def _effect(effects: frozenset[str]) -> RiskFactor:
    points = max((EFFECT.get(effect, UNKNOWN_EFFECT) for effect in effects), default=UNKNOWN_EFFECT)
    named = " and ".join(sorted(effects)).replace("_", " ")
    return RiskFactor(name="effect", points=points, why=f"The effect is {named or 'not known'}.")


def _sensitivity(classes: frozenset[str]) -> RiskFactor:
    # Of two that weigh the same, the first by name is told.
    points, worst = max(
        ((SENSITIVITY.get(c, UNKNOWN_CLASS), c) for c in sorted(classes, reverse=True)), default=(0, "")
    )
    return RiskFactor(name="data_sensitivity", points=points, why=f"It carries {worst} data.")


def _value(percent: int | None) -> RiskFactor:
    if percent is None or percent <= 0:
        return RiskFactor(name="value", points=0, why="")
    points = next((points for most, points in VALUE if percent <= most), VALUE_ABOVE)
    told = f"{percent} percent of its ceiling" if percent <= 100 else "more than its ceiling, or nobody knows what"
    return RiskFactor(name="value", points=points, why=f"It is worth {told}.")


def _ungrounded(count: int) -> RiskFactor:
    points = min(UNGROUNDED_MOST, UNGROUNDED + UNGROUNDED_EACH_MORE * (count - 1)) if count else 0
    return RiskFactor(name="ungrounded", points=points, why=f"{count} of its values are found in no trusted source.")


def _signals(signals: dict[str, int]) -> RiskFactor:
    count = sum(signals.values())
    points = min(SIGNALS_MOST, SIGNAL_KIND * len(signals) + SIGNAL_EACH_MORE * (count - len(signals)))
    kinds = ", ".join(sorted(signals)).replace("_", " ")
    return RiskFactor(name="injection_signals", points=points, why=f"{count} passages read like instructions: {kinds}.")


def _confidence(confidence: float | None) -> RiskFactor:
    claimed = -1.0 if confidence is None or confidence != confidence else confidence
    points = max((points for below, points in CONFIDENCE if claimed < below), default=0)
    told = "The agent claims no confidence." if claimed < 0 else f"The agent's confidence is {claimed}."
    return RiskFactor(name="low_confidence", points=points, why=told)
