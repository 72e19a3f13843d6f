"""Which exceptions are of one class, and what sets them apart."""

from typing import Any

import pytest

from api.gate.case import Case
from api.gate.classes import SEVERAL, ExceptionClass, class_of
from api.gate.models import Facts, Proposal
from tests.unit.gate import world

#: A payment that waits for two reasons: it is worth too much, and the agent is unsure.
LARGE = world.ARGS | {"amount": 20_000}


def classed(proposed: Proposal, held: Facts | None = None) -> ExceptionClass:
    held = held or world.facts()
    return class_of(Case(proposed, held, world.NOW), world.decided(held, proposed))


def large(**changes: Any) -> Proposal:
    return world.proposal(LARGE, **{"confidence": 0.5, "subject": {"tier": "gold"}} | changes)


def test_a_class_says_why_it_waits_and_for_whom() -> None:
    found = classed(large())
    assert (found.tool, found.workflow) == (world.TOOL, "pay-bills")
    assert {"confidence", "value"} <= set(found.findings)
    assert found.findings == sorted(found.findings)
    assert found.attributes.model_dump() == {
        "currency": "EUR",
        "tier": "gold",
        "counterparty": "account:iban:DE89370400440532013000",
        "effect": "write",
    }
    assert found.worth == {"EUR": 20_000}


@pytest.mark.parametrize(
    "changes",
    [
        {"args": LARGE | {"amount": 90_000, "note": "another"}},
        {"confidence": 0.1},
        {"rationale": "because", "evidence": [{"observation_id": "x"}]},
        {"subject": {"tier": "gold", "id": "another"}},
    ],
)
def test_what_does_not_set_a_class_apart(changes: dict[str, Any]) -> None:
    """How much it is worth, how unsure the agent is, what it says, and which record of the tier it is about."""
    args = changes.pop("args", LARGE)
    assert (
        classed(world.proposal(args, **{"confidence": 0.5, "subject": {"tier": "gold"}} | changes)).key
        == classed(large()).key
    )


@pytest.mark.parametrize(
    "other",
    [
        large(confidence=0.99),
        large(subject=None),
        large(subject={"tier": "silver"}),
        world.proposal(LARGE | {"to": "NL91ABNA0417164300"}, confidence=0.5, subject={"tier": "gold"}),
        world.proposal(LARGE | {"currency": "USD"}, confidence=0.5, subject={"tier": "gold"}),
        large(tool="acme.payments.other"),
    ],
)
def test_what_sets_a_class_apart(other: Proposal) -> None:
    assert classed(other).key != classed(large()).key


def test_rules_are_told_apart_by_their_ids() -> None:
    held = world.facts(rules=[{"id": "first"}, {"id": "second", "effect": "allow", "lifts": ["value"]}])
    found = classed(large(), held)
    assert "constitution:first" in found.findings
    assert "constitution:second" not in found.findings
    assert "value" not in found.findings


@pytest.mark.parametrize("to", ["?!", "x" * 400])
def test_who_cannot_be_named_is_nobody_in_particular(to: str) -> None:
    """A counterparty that no key can be made of must not be taken for none at all."""
    assert classed(world.proposal(LARGE | {"to": to})).attributes.counterparty == SEVERAL


def test_several_counterparties_are_not_one() -> None:
    tool = world.contract(arguments={"/to": {"role": "recipient"}, "/account": {"role": "account"}})
    held = world.facts(tool=tool)
    twice = world.proposal(LARGE | {"account": LARGE["to"]})
    assert classed(twice, held).attributes.counterparty == "account:iban:DE89370400440532013000"
    assert classed(world.proposal(LARGE | {"account": "NL91ABNA0417164300"}), held).attributes.counterparty == SEVERAL


def test_who_is_not_named_is_none() -> None:
    assert classed(large(), world.facts(tool=world.contract(arguments={}))).attributes.counterparty is None
    assert classed(large(tool="no.such.tool")).attributes.effect is None
