"""A rule made of what went to nobody, or to a subject without a tier, reaches nobody else; and a tier is one tier."""

from api.gate.models import Outcome, Proposal, Rule
from tests.unit.amendments.test_narrowest import IBAN, asked_for, large, made, precedent, under
from tests.unit.gate import world

RUN = {"id": world.proposal().run_id, "instruction": f"Pay 200.00 EUR for INV-1, to {IBAN} if it is to anybody."}
TOOL = world.contract(input_schema=world.SCHEMA | {"required": []})


def paid(to: str | None) -> Proposal:
    args = {"amount": 20_000, "currency": "EUR"} | ({"to": to} if to else {})
    return world.proposal(args, confidence=0.53, subject={"tier": "gold"})


def outcome(rules: list[Rule], proposed: Proposal) -> Outcome:
    held = world.facts(tool=TOOL, run=RUN, rules=[rule.model_dump() for rule in rules])
    return world.decided(held, proposed).outcome


def test_what_went_to_nobody_says_nothing_of_what_goes_to_somebody() -> None:
    rule = made(precedent(paid(None), world.facts(tool=TOOL, run=RUN)))
    assert rule.bounds.counterparties == [""]
    assert outcome([rule], paid(None)) is Outcome.ALLOW
    assert outcome([], paid(IBAN)) is Outcome.ESCALATE
    assert outcome([rule], paid(IBAN)) is Outcome.ESCALATE


def test_what_went_to_ones_own_says_nothing_of_outsiders() -> None:
    """Who is pinned by a reviewer is no counterparty, so the precedent knows of none."""
    pinned, open_to_all = world.spec({"records": {"/to": [IBAN]}}), world.spec()
    rule = made(precedent(paid(IBAN), world.facts(pinned, TOOL, run=RUN)))
    rules = [rule.model_dump()]
    assert world.decided(world.facts(pinned, TOOL, run=RUN, rules=rules), paid(IBAN)).outcome is Outcome.ALLOW
    assert world.decided(world.facts(open_to_all, TOOL, run=RUN, rules=rules), paid(IBAN)).outcome is Outcome.ESCALATE


def test_a_tier_that_only_the_run_names_is_a_tier() -> None:
    proposed = large(subject=None)
    rule = made(precedent(proposed))
    assert under(rule, proposed) is Outcome.ALLOW
    run = asked_for(proposed).run
    assert run is not None
    assert under(rule, proposed, run=run.model_dump() | {"subject": {"tier": "sanctioned"}}) is Outcome.ESCALATE


def test_a_comma_makes_no_second_tier() -> None:
    """An agent names the tier: whoever approved `gold,silver` approved neither gold nor silver."""
    of = precedent(large(subject={"tier": "gold,silver"}))
    rule = made(of)
    assert rule.bounds.tiers == ["gold,silver"]
    assert under(rule, large(subject={"tier": "gold,silver"})) is Outcome.ALLOW
    for tier in ("gold", "silver"):
        assert under(rule, large(subject={"tier": tier})) is Outcome.ESCALATE
    proposed = large(subject={"tier": "silver"})
    run = asked_for(proposed).run
    assert run is not None
    both = precedent(proposed, asked_for(proposed, run=run.model_dump() | {"subject": {"tier": "gold"}}))
    assert both.found.tiers == ["gold", "silver"]
    assert both.found.key != of.found.key


def test_what_was_rejected_without_a_counterparty_is_denied_without_one() -> None:
    rule = made(precedent(paid(None), world.facts(tool=TOOL, run=RUN), verdict="rejected"))
    assert outcome([rule], paid(None)) is Outcome.DENY
    assert outcome([rule], paid(IBAN)) is Outcome.ESCALATE
