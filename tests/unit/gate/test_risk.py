"""The risk score: what it is the sum of, factor by factor, and where it begins to matter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args
from uuid import UUID

import pytest

from api.gate.case import Case
from api.gate.models import HARD_GATES, Decision, Effect, Outcome, RiskFactor
from api.gate.risk import (
    AUTONOMY,
    EFFECT,
    IRREVERSIBLE,
    MITIGATIONS,
    NEW_COUNTERPARTY,
    SENSITIVITY,
    SIGNALS_MOST,
    UNGROUNDED_MOST,
    VALUE_ABOVE,
    Picture,
    percent_of,
    picture_of,
    score,
)
from tests.unit.gate.world import ARGS, NOW, contract, decided, facts, of, proposal, spec

HARMLESS = Picture(frozenset({"read"}), reversible=True, classes=frozenset(), stage="shadow")
WORST = Picture(
    frozenset({"money_movement"}),
    reversible=False,
    classes=frozenset({"regulated", "financial"}),
    stage="autonomous",
    percent=101,
    ungrounded=50,
    signals={"hidden": 50, "role": 2, "blob": 1},
    new_counterparty=True,
    confidence=None,
)


def points(picture: Picture, name: str) -> int:
    risk = score(picture)
    return sum(factor.points for factor in [*risk.factors, *risk.mitigations] if factor.name == name)


def test_nothing_is_nothing() -> None:
    risk = score(HARMLESS)
    assert (risk.score, risk.factors, risk.mitigations) == (0, [], [])


def test_the_worst_that_is_not_secret_stays_below_a_hundred() -> None:
    """So that nothing is denied by its score alone unless a reviewer asked for it (`risk.deny_at`)."""
    assert 90 <= score(WORST).score < 100
    assert score(replace(WORST, classes=frozenset({"secret"}))).score == 100


def test_it_is_held_within_its_bounds() -> None:
    assert score(replace(HARMLESS, mitigations=frozenset(MITIGATIONS))).score == 0


def test_every_effect_has_its_points_and_what_is_hard_gated_most() -> None:
    assert set(EFFECT) == set(get_args(Effect))
    assert min(EFFECT[effect] for effect in HARD_GATES) > max(EFFECT[e] for e in EFFECT if e not in HARD_GATES)
    for effect, expected in EFFECT.items():
        assert points(replace(HARMLESS, effects=frozenset({effect})), "effect") == expected
    assert points(replace(HARMLESS, effects=frozenset()), "effect") == max(EFFECT.values())
    assert points(replace(HARMLESS, effects=frozenset({"strange"})), "effect") == max(EFFECT.values())
    assert points(replace(HARMLESS, effects=frozenset({"write", "bulk"})), "effect") == EFFECT["bulk"]


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"reversible": False}, "irreversible", IRREVERSIBLE),
        ({"stage": "supervised"}, "autonomy", AUTONOMY["supervised"]),
        ({"stage": "autonomous"}, "autonomy", AUTONOMY["autonomous"]),
        ({"stage": "strange"}, "autonomy", AUTONOMY["autonomous"]),
        ({"classes": frozenset({"public", "internal"})}, "data_sensitivity", 0),
        ({"classes": frozenset({"personal", "internal"})}, "data_sensitivity", SENSITIVITY["personal"]),
        ({"classes": frozenset({"strange"})}, "data_sensitivity", 8),
        ({"classes": frozenset({"strange", "regulated"})}, "data_sensitivity", SENSITIVITY["regulated"]),
        ({"percent": 0}, "value", 0),
        ({"percent": 1}, "value", 2),
        ({"percent": 25}, "value", 2),
        ({"percent": 26}, "value", 4),
        ({"percent": 50}, "value", 4),
        ({"percent": 75}, "value", 6),
        ({"percent": 100}, "value", 8),
        ({"percent": 101}, "value", VALUE_ABOVE),
        ({"ungrounded": 1}, "ungrounded", 8),
        ({"ungrounded": 2}, "ungrounded", 10),
        ({"ungrounded": 3}, "ungrounded", UNGROUNDED_MOST),
        ({"ungrounded": 9999}, "ungrounded", UNGROUNDED_MOST),
        ({"signals": {"hidden": 1}}, "injection_signals", 3),
        ({"signals": {"hidden": 2}}, "injection_signals", 4),
        ({"signals": {"hidden": 1, "role": 1}}, "injection_signals", 6),
        ({"signals": {"hidden": 9999}}, "injection_signals", SIGNALS_MOST),
        ({"new_counterparty": True}, "new_counterparty", NEW_COUNTERPARTY),
        ({"confidence": 1}, "low_confidence", 0),
        ({"confidence": 0.9}, "low_confidence", 0),
        ({"confidence": 0.8999}, "low_confidence", 1),
        ({"confidence": 0.8}, "low_confidence", 1),
        ({"confidence": 0.79}, "low_confidence", 2),
        ({"confidence": 0.5}, "low_confidence", 2),
        ({"confidence": 0.49}, "low_confidence", 3),
        ({"confidence": 0}, "low_confidence", 3),
        ({"confidence": None}, "low_confidence", 3),
        ({"confidence": float("nan")}, "low_confidence", 3),
    ],
)
def test_factors(changes: dict[str, Any], name: str, expected: int) -> None:
    changed = replace(HARMLESS, **changes)
    assert points(changed, name) == expected
    assert score(changed).score == expected
    assert all(factor.why.endswith(".") for factor in score(changed).factors)


@pytest.mark.parametrize("name", sorted(MITIGATIONS))
def test_mitigations(name: Any) -> None:
    mitigated = score(replace(WORST, mitigations=frozenset({name})))
    assert mitigated.score == score(WORST).score - MITIGATIONS[name][0]
    assert [(m.name, m.points) for m in mitigated.mitigations] == [(name, -MITIGATIONS[name][0])]


@pytest.mark.parametrize(
    ("worth", "ceiling", "percent"),
    [(0, 0, 0), (1, 0, 101), (0, 5, 0), (1, 10_000, 1), (2500, 10_000, 25), (2501, 10_000, 26), (10_000, 10_000, 100),
     (10_001, 10_000, 101), (2**60, 1, 101), (5, -1, 101)],
)  # fmt: skip
def test_percent(worth: int, ceiling: int, percent: int) -> None:
    assert percent_of(worth, ceiling) == percent


def picture(held: Any = None, **changes: Any) -> Picture:
    return picture_of(Case(proposal(**changes), held or facts(), NOW))


def test_what_of_a_proposal_counts() -> None:
    found = picture()
    assert (found.effects, found.reversible, found.stage) == (frozenset({"write"}), False, "autonomous")
    assert (found.percent, found.ungrounded, found.confidence) == (50, 0, 0.95)
    assert found.mitigations == {"idempotency"}
    assert picture(facts(tool=contract(reversible=True))).reversible
    assert picture(args=ARGS | {"to": "NL91ABNA0417164300"}).ungrounded == 1


@pytest.mark.parametrize(
    ("args", "percent"),
    [
        (ARGS | {"amount": 10_000}, 100),
        (ARGS | {"amount": 10_001}, 101),
        (ARGS | {"amount": -10_001}, 101),
        (ARGS | {"currency": "USD"}, 101),
        ({"to": "x"}, 101),  # the amount is left out
        (ARGS | {"amount": "5000"}, 101),
    ],
)
def test_what_it_is_worth(args: dict[str, Any], percent: int) -> None:
    assert picture(args=args).percent == percent


def test_without_an_amount_there_is_no_value() -> None:
    assert picture(facts(tool=contract(arguments={})), args={"to": "x"}).percent is None


def test_what_is_known_of_a_tool_that_is_not() -> None:
    found = picture(tool="no.such.tool")
    assert (found.effects, found.percent, found.mitigations) == (frozenset(), 101, frozenset())


ENTRY = {"id": UUID(int=1), "name": "A", "kind": "vendor", "trusted_from": NOW}
KNOWN = {f"account:iban:{ARGS['to']}": {"entries": [ENTRY]}}
READ_BACK = {"tool": "acme.payments.find", "found": "/id"}
SENDS = contract(effect="outbound_message", arguments={"/to": {"role": "recipient"}})


@pytest.mark.parametrize(
    ("held", "name", "there"),
    [
        (facts(tool=contract(read_back=READ_BACK)), "read_back", True),
        (facts(), "read_back", False),
        (facts(tool=contract(idempotency="natural")), "idempotency", True),
        (facts(tool=contract(idempotency="none")), "idempotency", False),
        (facts(spec({"records": {"/to": [ARGS["to"]]}})), "records_pinned", True),
        (facts(tool=contract(effect="pricing")), "approvals", True),
        (facts(spec(stage="supervised")), "approvals", False),
        (facts(tool=contract(effect="money_movement"), directory=KNOWN), "known_counterparty", True),
        (facts(tool=contract(effect="money_movement")), "known_counterparty", False),
        (facts(tool=contract(effect="write"), directory=KNOWN), "known_counterparty", False),
        (facts(spec(insiders=[ARGS["to"]]), SENDS), "reviewed_templates", True),
        (facts(spec(), SENDS), "reviewed_templates", False),
        (facts(), "reviewed_templates", False),
    ],
)
def test_what_mitigates(held: Any, name: Any, there: bool) -> None:
    assert (name in picture(held).mitigations) is there


def test_a_payee_that_is_new_is_a_factor() -> None:
    pays = contract(effect="money_movement")
    assert picture(facts(tool=pays)).new_counterparty
    assert not picture(facts(tool=pays, directory=KNOWN)).new_counterparty
    assert not picture().new_counterparty


def test_the_decision_tells_the_score() -> None:
    decision = decided()
    assert decision.risk is not None
    assert decision.risk.score == sum(f.points for f in [*decision.risk.factors, *decision.risk.mitigations])
    assert {f.name for f in decision.risk.factors} == {"effect", "irreversible", "autonomy", "value"}
    [found] = of(decision, "risk")
    assert (found.control, found.outcome, found.setting) == (5, Outcome.ALLOW, "risk.escalate_at")
    assert f"{decision.risk.score} of 100, below the 50" in found.message
    assert "irreversible 10" in found.message


def _scored(points: int, escalate_at: int, deny_at: int) -> Decision:
    """A decision of exactly this score: the world's is 24."""
    assert points == 24
    return decided(facts(spec(risk={"escalate_at": escalate_at, "deny_at": deny_at})))


@pytest.mark.parametrize(
    ("escalate_at", "deny_at", "outcome"),
    [
        (25, 26, Outcome.ALLOW),
        (24, 25, Outcome.ESCALATE),
        (23, 24, Outcome.DENY),
        (1, 101, Outcome.ESCALATE),
        (1, 2, Outcome.DENY),
        (100, 101, Outcome.ALLOW),
    ],
)
def test_thresholds(escalate_at: int, deny_at: int, outcome: Outcome) -> None:
    decision = _scored(24, escalate_at, deny_at)
    [found] = of(decision, "risk")
    assert (found.outcome, decision.outcome) == (outcome, outcome)
    assert found.setting == ("risk.deny_at" if outcome is Outcome.DENY else "risk.escalate_at")


@pytest.mark.parametrize(("deny_at", "outcome"), [(101, Outcome.ALLOW), (24, Outcome.DENY)])
def test_a_rule_lifts_what_waits_and_not_what_is_denied(deny_at: int, outcome: Outcome) -> None:
    held = facts(
        spec(risk={"escalate_at": 20, "deny_at": deny_at}), rules=[{"id": "lift", "effect": "allow", "lifts": ["risk"]}]
    )
    decision = decided(held)
    [found] = of(decision, "risk")
    assert (found.outcome, decision.outcome) == (outcome, outcome)
    assert found.rule_id == ("lift" if outcome is Outcome.ALLOW else None)


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [
        # An ordinary write with a read-back.
        ({"tool": contract(read_back=READ_BACK, arguments={"/to": {"role": "recipient"}})}, 10, 30),
        # A message that a reviewer has read.
        ({"tool": SENDS, "access": spec(insiders=[ARGS["to"]])}, 20, 40),
        # A grounded payment to somebody known, half of its ceiling: people look at it anyway.
        ({"tool": contract(effect="money_movement", read_back=READ_BACK), "directory": KNOWN}, 35, 60),
        # And one to somebody new.
        ({"tool": contract(effect="money_movement", read_back=READ_BACK)}, 40, 65),
    ],
)
def test_where_ordinary_actions_lie(changes: dict[str, Any], least: int, most: int) -> None:
    risk = decided(facts(**changes)).risk
    assert risk is not None
    assert least <= risk.score <= most


_WORSE: list[tuple[str, Callable[[Picture], Picture]]] = [
    ("irreversible", lambda p: replace(p, reversible=False)),
    ("classes", lambda p: replace(p, classes=p.classes | {"regulated"})),
    ("percent", lambda p: replace(p, percent=(p.percent or 0) + 26)),
    ("ungrounded", lambda p: replace(p, ungrounded=p.ungrounded + 1)),
    ("signals", lambda p: replace(p, signals=p.signals | {"new": 1})),
    ("counterparty", lambda p: replace(p, new_counterparty=True)),
    ("confidence", lambda p: replace(p, confidence=None)),
    ("effects", lambda p: replace(p, effects=p.effects | {"destructive"})),
]


@pytest.mark.parametrize(("name", "worse"), _WORSE, ids=[name for name, _ in _WORSE])
@pytest.mark.parametrize("start", [HARMLESS, WORST, replace(WORST, mitigations=frozenset(MITIGATIONS))])
def test_worse_is_never_less(name: str, worse: Callable[[Picture], Picture], start: Picture) -> None:
    assert score(worse(start)).score >= score(start).score, name


def test_factors_are_told_in_a_fixed_order() -> None:
    def names(factors: list[RiskFactor]) -> list[str]:
        return [factor.name for factor in factors]

    shuffled = replace(WORST, signals=dict(reversed(WORST.signals.items())))
    assert score(shuffled).model_dump_json() == score(WORST).model_dump_json()
    assert names(score(WORST).factors)[:2] == ["effect", "irreversible"]
