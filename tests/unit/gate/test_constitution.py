"""Control 5: the tenant's own rules."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.constitution.starter import STARTER_RULES
from api.gate.arguments import MAX_SIZE
from api.gate.checks import constitution
from api.gate.models import Outcome
from tests.unit.gate.world import NOW, TOOL, contract, decided, facts, of, outcome_of, proposal, rule, spec


def _deciding(*rules: dict[str, Any], **proposed: Any) -> Outcome:
    held = facts(rules=[{"id": f"r-{n}"} | r for n, r in enumerate(rules)])
    return decided(held, proposal(**proposed)).outcome


@pytest.mark.parametrize(
    ("effect", "when", "outcome"),
    [
        ("deny", "true", Outcome.DENY),
        ("deny", "false", Outcome.ALLOW),
        ("deny", "args.missing == 1", Outcome.DENY),
        ("deny", "args.amount", Outcome.DENY),
        ("deny", "args.(", Outcome.DENY),
        ("require_approval", "true", Outcome.ESCALATE),
        ("require_approval", "false", Outcome.ALLOW),
        ("require_approval", "args.missing == 1", Outcome.ESCALATE),
        ("allow", "true", Outcome.ALLOW),
        ("allow", "false", Outcome.ALLOW),
        ("allow", "args.missing == 1", Outcome.ESCALATE),
        ("allow", "1 / 0 == 1", Outcome.ESCALATE),
    ],
)
def test_a_rules_effect_and_its_failure(effect: str, when: str, outcome: Outcome) -> None:
    assert _deciding({"when": when, "effect": effect}) is outcome


def test_the_most_severe_rule_wins_in_any_order() -> None:
    rules = [{"effect": "allow"}, {"effect": "deny"}, {"effect": "require_approval"}]
    assert _deciding(*rules) is _deciding(*reversed(rules)) is Outcome.DENY


@pytest.mark.parametrize(
    ("expires_at", "applies"),
    [
        (None, True),
        (NOW + timedelta(microseconds=1), True),
        (NOW, False),
        (NOW - timedelta(seconds=1), False),
        ("2026-11-20T14:00:00+02:00", False),
        ("2026-11-20T14:00:01+02:00", True),
        (datetime.max.replace(tzinfo=UTC), True),
    ],
)
def test_expiry(expires_at: Any, applies: bool) -> None:
    assert _deciding({"effect": "deny", "expires_at": expires_at}) is (Outcome.DENY if applies else Outcome.ALLOW)


def test_an_expiry_names_its_time_zone() -> None:
    with pytest.raises(ValueError, match="expires_at"):
        rule(expires_at="2026-11-20T14:00:00")


@pytest.mark.parametrize(
    ("pattern", "applies"),
    [
        ("*", True),
        (TOOL, True),
        ("acme.*", True),
        ("*.create", True),
        ("acme.payments.creat?", True),
        ("*a*c*m*e*.*", True),
        ("acme", False),
        ("acme.payments", False),
        ("acme.payments.create?", False),
        ("acme.payments.create.*", False),
        ("?", False),
        ("acme?payments?create", True),
        ("***", True),
    ],
)
def test_which_tools_a_rule_applies_to(pattern: str, applies: bool) -> None:
    assert _deciding({"effect": "deny", "applies_to": ["no.such", pattern]}) is (
        Outcome.DENY if applies else Outcome.ALLOW
    )


@pytest.mark.parametrize(
    "pattern",
    ["", "Acme.*", "acme.[a-z]*", "acme.[!p]*", "acme *", "*\n", "[", "\N{CYRILLIC SMALL LETTER A}cme.*", "a" * 121],
)
def test_a_pattern_that_cannot_name_a_tool_is_refused(pattern: str) -> None:
    """A rule that applies to nothing because of a typing error would protect nobody."""
    with pytest.raises(ValueError, match="applies_to"):
        rule(applies_to=[pattern])


@pytest.mark.parametrize(
    "when",
    [
        f"action.tool == '{TOOL}' && action.effect == 'write'",
        "action.confidence > 0.94 && action.confidence < 0.96",
        "size(action.citations) == 2 && 'a' in action.citations && action.evidence == 1",
        "args.amount == 5000 && args.currency == 'EUR'",
        "subject.type == 'bill' && subject.tier == 'gold'",
        "workflow.slug == 'pay-bills' && workflow.environment == 'sandbox' && workflow.stage == 'autonomous'",
        f"principal.kind == 'service' && principal.id == '{UUID(int=3)}'",
        "now == timestamp('2026-11-20T12:00:00Z')",
    ],
)
def test_what_a_rule_can_name(when: str) -> None:
    known = {
        "citations": ["a", "b"],
        "evidence": [{"observation_id": "x"}],
        "subject": {"type": "bill", "tier": "gold"},
    }
    assert _deciding({"when": when, "effect": "deny"}, **known) is Outcome.DENY


def test_what_is_not_claimed_counts_as_nothing() -> None:
    when = "action.confidence == 0.0 && size(subject) == 0 && size(action.citations) == 0"
    assert _deciding({"when": when, "effect": "deny"}, confidence=None) is Outcome.DENY


def test_the_effect_of_a_tool_outside_of_the_workflow_is_known() -> None:
    held = facts(
        known_tools={"acme.wire": {"version": 1, "effect": "money_movement"}},
        rules=[{"when": "action.effect == 'money_movement'", "effect": "require_approval"}],
    )
    assert decided(held, proposal(tool="acme.wire")).rules_matched == ["a-rule"]
    assert decided(held, proposal(tool="no.such.tool")).rules_matched == []


@pytest.mark.parametrize(
    ("args", "subject", "evaluated"),
    [
        ({"note": "n" * (MAX_SIZE - 100)}, None, True),
        ({"note": "n" * MAX_SIZE}, None, False),
        ({"note": "n"}, {"note": "n" * MAX_SIZE}, False),
        ({"n" * MAX_SIZE: 1}, None, False),
    ],
)
def test_rules_are_not_evaluated_on_too_much(
    args: dict[str, Any], subject: dict[str, Any] | None, evaluated: bool
) -> None:
    held = facts(
        spec(), contract(input_schema={"type": "object"}, arguments={}), [{"when": "false", "effect": "allow"}]
    )
    found = of(decided(held, proposal(args, subject=subject)), "constitution")
    assert [f.outcome for f in found] == ([] if evaluated else [Outcome.ESCALATE])


def test_the_work_of_one_decision_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules beyond the bound are not passed over: they count as failed."""
    monkeypatch.setattr(constitution, "MAX_WORK", 2_000)
    rules = [{"id": f"r-{n}", "when": "false", "effect": "deny" if n == 9 else "allow"} for n in range(10)]
    decision = decided(facts(rules=rules))
    failed = of(decision, "constitution")
    assert 0 < len(failed) < 10
    assert [f.rule_id for f in failed] == [f"r-{n}" for n in range(10 - len(failed), 10)]
    assert decision.outcome is Outcome.DENY
    assert decision.rules_evaluated == [f"r-{n}" for n in range(10)]


def test_a_failure_is_told_briefly() -> None:
    held = facts(tool=contract(input_schema={"type": "object"}), rules=[{"when": "args[args.k]", "effect": "deny"}])
    [found] = of(decided(held, proposal({"k": "k" * 60_000})), "constitution")
    assert found.message.startswith("The rule could not be evaluated")
    assert len(found.message) < 400


def test_the_starter_rules_can_be_evaluated() -> None:
    held = facts(tool=contract(effect="money_movement"))
    held = held.model_copy(update={"constitution": held.constitution.model_copy(update={"rules": list(STARTER_RULES)})})
    args = {"to": "x", "amount": 1_000_000, "currency": "EUR"}
    blind = decided(held, proposal(args, citations=["say-why"]))
    assert (blind.outcome, blind.rules_matched) == (Outcome.DENY, ["look-before-paying", "two-for-large-payments"])
    seen = decided(held, proposal(args, citations=["say-why"], evidence=[{"observation_id": "x"}]))
    assert (seen.outcome, seen.required_approvals.count) == (Outcome.ESCALATE, 2)
    small = decided(held, proposal(args | {"amount": 999_999}, evidence=[{"observation_id": "x"}]))
    assert small.rules_matched == ["say-why"]
    assert outcome_of(small, "constitution") is Outcome.ESCALATE
