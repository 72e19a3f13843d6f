"""The narrowest rule that a decision speaks for: what it covers, what it does not, and when there is none."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.amendments.models import WantedBounds
from api.amendments.narrowest import MAX_DAYS, Precedent, RefusedError, rule_for
from api.constitution.models import NewConstitution
from api.gate.case import Case
from api.gate.classes import class_of, findings_of
from api.gate.models import Facts, Outcome, Proposal, Rule
from tests.unit.gate import world

AMENDMENT, EXCEPTION = UUID(int=21), UUID(int=22)
IBAN, OTHER = "DE89370400440532013000", "NL91ABNA0417164300"


def large(amount: int = 20_000, confidence: float | None = 0.53, **changes: Any) -> Proposal:
    """What waits in the world because it is worth too much and the agent is unsure."""
    said: dict[str, Any] = {"confidence": confidence, "subject": {"tier": "gold"}}
    return world.proposal(world.ARGS | {"amount": amount}, **said | changes)


def asked_for(proposed: Proposal, **changes: Any) -> Facts:
    """The world, in a run whose instruction asks for what is proposed."""
    args = proposed.args
    minor = args.get("amount") or 0
    sum_of = f"{minor // 100}.{minor % 100:02} {args.get('currency')}"
    words = f"Pay {sum_of} for INV-1 to {args['to']} {args.get('account', '')}"
    return world.facts(**{"run": {"id": proposed.run_id, "instruction": words}} | changes)


def precedent(proposed: Proposal | None = None, held: Facts | None = None, **changes: Any) -> Precedent:
    proposed = proposed or large()
    held = held or asked_for(proposed)
    decision = world.decided(held, proposed)
    members: dict[str, Any] = {
        "amendment_id": AMENDMENT, "exception_id": EXCEPTION, "verdict": "approved",
        "found": class_of(Case(proposed, held, world.NOW), decision), "environment": held.workflow.environment,
        "decision": decision, "confidence": proposed.confidence, "most_approved": {}, "least_approved": None,
    }  # fmt: skip
    return Precedent(**members | changes)


def made(of: Precedent | None = None, **bounds: Any) -> Rule:
    wanted = WantedBounds(**bounds) if bounds else None
    return rule_for(of or precedent(), "They are a partner.", world.NOW, wanted, None)


def under(rule: Rule, proposed: Proposal, **facts: Any) -> Outcome:
    """What is decided when this is the only rule."""
    held = asked_for(proposed, rules=[rule.model_dump()], **facts)
    return world.decided(held, proposed).outcome


def test_what_was_approved_passes_and_the_rule_can_be_published() -> None:
    rule = made()
    assert under(rule, large()) is Outcome.ALLOW
    assert NewConstitution(rules=[rule], reason="so", expected_version=1).rules == [rule]
    assert (rule.effect, rule.lifts) == ("allow", ["confidence", "value"])
    assert rule.bounds.amounts == {"EUR": (0, 20_000)}
    assert rule.expires_at == world.NOW + timedelta(days=90)
    assert (rule.origin.kind, rule.origin.ref) == ("amendment", str(AMENDMENT))
    assert "They are a partner." in rule.principle


@pytest.mark.parametrize(
    "other",
    [
        large(20_001),
        large(confidence=0.52),
        large(confidence=None),
        large(subject={"tier": "silver"}),
        large(subject=None),
        world.proposal(world.ARGS | {"to": OTHER, "amount": 20_000}, confidence=0.53, subject={"tier": "gold"}),
        world.proposal(world.ARGS | {"currency": "USD", "amount": 20_000}, confidence=0.53, subject={"tier": "gold"}),
    ],
)
def test_what_was_not_approved_still_waits(other: Proposal) -> None:
    assert under(made(), other) is Outcome.ESCALATE


def test_another_workflow_environment_or_effect_still_waits() -> None:
    rule, elsewhere = made(), world.facts().workflow.model_dump()
    assert under(rule, large(), workflow=elsewhere | {"slug": "another"}) is Outcome.ESCALATE
    assert under(rule, large(), workflow=elsewhere | {"environment": "production"}) is not Outcome.ALLOW
    assert under(rule, large(), tool=world.contract(effect="money_movement")) is Outcome.ESCALATE


def test_a_hard_gate_waits_under_every_rule() -> None:
    held = asked_for(large(), tool=world.contract(effect="money_movement"))
    with pytest.raises(RefusedError) as refused:
        made(precedent(held=held))
    assert refused.value.code == "nothing_to_lift"
    assert "hard_gate" in {blocker.finding for blocker in refused.value.blockers}
    assert all(blocker.helps and blocker.message for blocker in refused.value.blockers)


@pytest.mark.parametrize(
    ("held", "proposed", "finding", "helps"),
    [
        (asked_for(large(), rules=[{"id": "ask"}]), large(), "constitution:ask", "Edit the rule ask"),
        (asked_for(large(), access=world.spec(stage="supervised")), large(), "stage", "autonomous"),
        (asked_for(large()), large(edited_by=world.AGENT), "edit", "proposes this payload itself"),
        (world.facts(), world.proposal({"to": IBAN, "amount": 5000}), "value", "Correct the amounts"),
    ],
)
def test_what_no_rule_lifts_is_named(held: Facts, proposed: Proposal, finding: str, helps: str) -> None:
    of = precedent(proposed, held)
    assert of.decision.outcome is Outcome.ESCALATE
    with pytest.raises(RefusedError) as refused:
        made(of)
    assert helps in {blocker.finding: blocker.helps for blocker in refused.value.blockers}[finding]


def test_what_a_soft_check_itself_keeps_from_being_lifted_is_a_blocker() -> None:
    """Bank details that changed wait for people, whatever a rule lifts; and they are a class of their own."""
    usual = precedent()
    findings = [
        one.model_copy(update={"liftable": False}) if one.check == "value" else one for one in usual.decision.findings
    ]
    firm = usual.decision.model_copy(update={"findings": findings})
    with pytest.raises(RefusedError) as refused:
        made(precedent(decision=firm))
    assert [blocker.finding for blocker in refused.value.blockers] == ["value"]
    assert findings_of(usual.decision) == ["confidence", "value"]
    assert findings_of(firm) == ["confidence", "value:unliftable"]


def test_what_was_rejected_is_denied_and_less_is_not() -> None:
    rule = made(precedent(large(30_000), verdict="rejected"))
    assert (rule.effect, rule.lifts, rule.expires_at) == ("deny", [], None)
    assert rule.bounds.amounts["EUR"][0] == 20_000
    assert under(rule, large(30_000)) is Outcome.DENY
    assert under(rule, large(90_000, confidence=0.2)) is Outcome.DENY
    assert under(rule, large(19_999)) is Outcome.ESCALATE
    assert under(rule, large(30_000, confidence=0.9)) is Outcome.ESCALATE


def test_what_was_rejected_for_what_no_rule_lifts_is_denied_all_the_same() -> None:
    held = asked_for(large(), rules=[{"id": "ask"}])
    assert under(made(precedent(large(), held, verdict="rejected")), large()) is Outcome.DENY


def test_several_counterparties_have_no_rule() -> None:
    tool = world.contract(arguments={"/to": {"role": "recipient"}, "/account": {"role": "account"}})
    held = world.facts(tool=tool)
    proposed = world.proposal(world.ARGS | {"account": OTHER}, confidence=0.5)
    with pytest.raises(RefusedError, match="more than one"):
        made(precedent(proposed, held, verdict="rejected"))
    with pytest.raises(RefusedError) as refused:
        made(precedent(proposed, held))
    assert "counterparty" in {blocker.finding for blocker in refused.value.blockers}


def test_a_band_is_round_and_never_above_what_a_person_approved() -> None:
    assert made(precedent(large(23_000), most_approved={"EUR": 80_000})).bounds.amounts == {"EUR": (0, 50_000)}
    assert made(precedent(large(23_000), most_approved={"EUR": 30_000})).bounds.amounts == {"EUR": (0, 30_000)}
    assert made(precedent(large(23_000), most_approved={"EUR": 12_000})).bounds.amounts == {"EUR": (0, 23_000)}


def test_confidence_is_round_and_never_below_what_a_person_approved() -> None:
    assert "action.confidence >= 0.5" in made(precedent(least_approved=0.1)).when
    assert "action.confidence >= 0.51" in made(precedent(least_approved=0.51)).when
    assert "action.confidence >= 0.53" in made(precedent(least_approved=0.7)).when


@pytest.mark.parametrize(
    "wider",
    [
        {"amounts": {"EUR": (0, 50_001)}},
        {"amounts": {"EUR": (5, 4)}},
        {"amounts": {"EUR": (-1, 4)}},
        {"amounts": {"USD": (0, 1)}},
        {"counterparties": []},
        {"counterparties": [f"account:iban:{OTHER}"]},
        {"tiers": ["gold", "silver"]},
        {"tiers": []},
        {"workflows": ["pay-bills", "another"]},
    ],
)
def test_bounds_are_no_wider_than_what_people_decided(wider: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refused:
        made(precedent(most_approved={"EUR": 50_000}), **wider)
    assert refused.value.code == "bounds_too_wide"


def test_bounds_are_tighter_or_as_wide_as_people_decided() -> None:
    of = precedent(most_approved={"EUR": 50_000})
    assert made(of, amounts={"EUR": (100, 50_000)}).bounds.amounts == {"EUR": (100, 50_000)}
    tighter = made(of, amounts={"EUR": (0, 100)}, workflows=["pay-bills"], tiers=["gold"])
    assert under(tighter, large()) is Outcome.ESCALATE


@pytest.mark.parametrize("days", [0, -1, MAX_DAYS + 1])
def test_a_rule_ends_within_a_year(days: int) -> None:
    with pytest.raises(RefusedError) as refused:
        rule_for(precedent(), "so", world.NOW, None, world.NOW + timedelta(days=days))
    assert refused.value.code == "expiry_out_of_range"
    kept = rule_for(precedent(), "so", world.NOW, None, world.NOW + timedelta(days=MAX_DAYS))
    assert kept.expires_at == world.NOW + timedelta(days=MAX_DAYS)


@given(
    amount=st.integers(0, 2**53 - 1),
    confidence=st.floats(0, 0.79),
    most=st.integers(0, 2**53 - 1),
    least=st.none() | st.floats(0, 0.79),
    tier=st.none() | st.sampled_from(["gold", 'a"b', "ü"]),
)
def test_the_rule_covers_its_exception_and_nothing_beyond_what_was_approved(
    amount: int, confidence: float, most: int, least: float | None, tier: str | None
) -> None:
    proposed = large(amount, confidence, subject={"tier": tier, "id": "x"})
    rule = made(precedent(proposed, most_approved={"EUR": most}, least_approved=least))
    assert under(rule, proposed) is Outcome.ALLOW
    above = max(amount, most) + 1
    if above < 2**53 and above > 10_000:
        assert under(rule, large(above, confidence, subject={"tier": tier})) is Outcome.ESCALATE
