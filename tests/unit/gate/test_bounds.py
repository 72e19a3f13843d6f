"""Where rules end: an allow surely within, anything else possibly."""

from typing import Any

import pytest

from api.gate.models import Outcome
from tests.unit.gate.world import ARGS, contract, decided, facts, proposal, spec

IBAN, OTHER = "DE89370400440532013000", "NL91ABNA0417164300"
PAY = contract(
    input_schema={"type": "object"},
    arguments={
        "/to": {"role": "recipient"},
        "/items/*/to": {"role": "recipient"},
        "/amount": {"role": "amount", "currency": "/currency"},
        "/items/*/amount": {"role": "amount", "currency": "/items/*/currency"},
        "/fee": {"role": "amount", "fixed_currency": "USD"},
    },
)


def _reaches(effect: str, bounds: dict[str, Any], args: dict[str, Any], **changes: Any) -> bool:
    """Whether a rule that always holds reaches an action."""
    proposed = proposal(args, **changes)
    held = facts(spec(), PAY, [{"when": "true", "effect": effect, "bounds": bounds, "lifts": []}])
    decision = decided(held, proposed)
    assert decision.rules_evaluated == ["a-rule"]
    return decision.rules_matched == ["a-rule"]


def _both(bounds: dict[str, Any], args: dict[str, Any], **changes: Any) -> tuple[bool, bool]:
    """Whether an allow reaches it, and whether a deny does; what a deny reaches, a question reaches, too."""
    denies = _reaches("deny", bounds, args, **changes)
    assert _reaches("require_approval", bounds, args, **changes) is denies
    return _reaches("allow", bounds, args, **changes), denies


@pytest.mark.parametrize(
    ("args", "reached"),
    [
        ({"amount": 100, "currency": "EUR"}, (True, True)),
        ({"amount": 500, "currency": "EUR"}, (True, True)),
        ({"amount": 99, "currency": "EUR"}, (False, False)),
        ({"amount": 501, "currency": "EUR"}, (False, False)),
        ({"amount": -100, "currency": "EUR"}, (True, True)),
        ({"amount": 100, "currency": "USD"}, (False, False)),
        ({"amount": 100, "currency": "EUR", "fee": 1}, (False, True)),
        ({"amount": 100, "currency": "EUR", "fee": "much"}, (False, True)),
        ({"amount": "100", "currency": "EUR"}, (False, True)),
        ({"amount": 100}, (False, True)),
        ({"amount": 100.5, "currency": "EUR"}, (False, True)),
    ],
)
def test_amounts(args: dict[str, Any], reached: tuple[bool, bool]) -> None:
    one = {"/amount": {"role": "amount", "currency": "/currency"}, "/fee": {"role": "amount", "fixed_currency": "USD"}}
    tool = contract(input_schema={"type": "object"}, arguments={k: v for k, v in one.items() if k[1:] in args})
    for effect, reaches in zip(("allow", "deny"), reached, strict=True):
        rule = {"when": "true", "effect": effect, "bounds": {"amounts": {"EUR": (100, 500)}}}
        assert (decided(facts(spec(), tool, [rule]), proposal(args)).rules_matched == ["a-rule"]) is reaches


def test_no_amount_at_all_is_out_of_bounds() -> None:
    tool = contract(input_schema={"type": "object"}, arguments={})
    for effect in ("allow", "deny", "require_approval"):
        rule = {"when": "true", "effect": effect, "bounds": {"amounts": {"EUR": (0, 500)}}}
        assert decided(facts(spec(), tool, [rule])).rules_matched == []


@pytest.mark.parametrize(
    ("args", "reached"),
    [
        ({"to": IBAN}, (True, True)),
        ({"to": "de89 3704 0044 0532 0130 00"}, (True, True)),
        ({"to": OTHER}, (False, False)),
        ({"to": IBAN, "items": [{"to": OTHER}]}, (False, True)),
        ({"to": IBAN, "items": [{"to": IBAN}]}, (True, True)),
        ({"to": OTHER, "items": [{"to": OTHER}]}, (False, False)),
        ({"to": 5}, (False, False)),
        ({}, (False, False)),
    ],
)
def test_counterparties(args: dict[str, Any], reached: tuple[bool, bool]) -> None:
    assert _both({"counterparties": [f"account:iban:{IBAN}", "domain:kestrel.example"]}, args) == reached


def test_a_counterparty_is_known_by_each_of_its_keys() -> None:
    bounds = {"counterparties": ["domain:kestrel.example"]}
    assert _both(bounds, {"to": "billing@kestrel.example"}) == (True, True)
    assert _both(bounds, {"to": "billing@kestrel.example.com"}) == (False, False)
    assert _both({"counterparties": ["name:kestrel ltd"]}, {"to": "Kestrel  LTD"}) == (True, True)


@pytest.mark.parametrize(
    ("subject", "started_with", "reached"),
    [
        ({"tier": "gold"}, None, (True, True)),
        ({"tier": "iron"}, None, (False, False)),
        ({"tier": 5}, None, (False, False)),
        (None, None, (False, False)),
        (None, {"type": "bill", "id": "1", "tier": "gold"}, (True, True)),
        ({"tier": "gold"}, {"type": "bill", "id": "1", "tier": "iron"}, (False, True)),
        ({"tier": "gold"}, {"type": "bill", "id": "1", "tier": "gold"}, (True, True)),
    ],
)
def test_tiers(subject: Any, started_with: Any, reached: tuple[bool, bool]) -> None:
    """An agent cannot give its subject a better tier than the run began with."""
    run = {"id": "00000000-0000-0000-0000-000000000005", "instruction": "x", "subject": started_with}
    found = []
    for effect in ("allow", "deny"):
        rule = {"when": "true", "effect": effect, "bounds": {"tiers": ["gold", "silver"]}}
        held = facts(rules=[rule], run=run)
        found.append(decided(held, proposal(subject=subject)).rules_matched == ["a-rule"])
    assert tuple(found) == reached


def test_workflows() -> None:
    assert _both({"workflows": ["pay-bills"]}, ARGS) == (True, True)
    assert _both({"workflows": ["other"]}, ARGS) == (False, False)


def test_out_of_bounds_an_error_says_nothing_and_within_it_fails_closed() -> None:
    for workflow, outcome in (("other", Outcome.ALLOW), ("pay-bills", Outcome.DENY)):
        rule = {"when": "args.missing == 1", "effect": "deny", "bounds": {"workflows": [workflow]}}
        decision = decided(facts(rules=[rule]))
        assert decision.rules_evaluated == ["a-rule"]
        found = [finding.outcome for finding in decision.findings if finding.check == "constitution"]
        assert found == ([Outcome.DENY] if outcome is Outcome.DENY else [])


def test_an_allow_lifts_within_its_bounds_only() -> None:
    rules = [{"when": "true", "effect": "allow", "lifts": ["confidence"], "bounds": {"amounts": {"EUR": (0, 5000)}}}]
    for amount, outcome in ((5000, Outcome.ALLOW), (5001, Outcome.ESCALATE)):
        decision = decided(facts(rules=rules), proposal(ARGS | {"amount": amount}, confidence=0.1))
        [found] = [f for f in decision.findings if f.check == "confidence"]
        assert found.outcome is outcome
