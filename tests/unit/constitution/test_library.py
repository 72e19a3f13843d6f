"""Every ready rule holds for what it is meant for, and for nothing else, and fits the providers' tools."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.constitution.library import library
from api.constitution.validation import broken, unknown_names, warnings
from api.gate.decide import decide
from api.gate.models import LimitState, Rule
from api.providers.manifest import contracts
from tests.unit.gate.world import contract, facts, proposal, spec

READY = {ready.rule.id: ready.rule for ready in library()}
FRIDAY, SUNDAY = datetime(2026, 11, 27, 12, tzinfo=UTC), datetime(2026, 11, 29, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 27, 3, tzinfo=UTC)
PAYS: dict[str, Any] = {
    "tool": "acme.payments.create",
    "effect": "money_movement",
    "evidence": [{"observation_id": "x"}],
}
SENDS: dict[str, Any] = {"tool": "acme.messages.send", "effect": "outbound_message", "citations": ["a-rule"]}
REPLY: dict[str, Any] = SENDS | {"tool": "acme.tickets.reply"}
CONTACT: dict[str, Any] = {"tool": "acme.contacts.update"}


def _amount(amount: int, currency: str = "EUR") -> dict[str, Any]:
    return {"args": {"to": "x", "amount": amount, "currency": currency, "reference": "INV-1"}}


#: By rule: one that it is meant for, and one that it is not.
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "finance-look-before-paying": (PAYS | {"evidence": []}, PAYS),
    "finance-two-above-10000": (PAYS | _amount(1_000_000), PAYS | _amount(999_999)),
    "finance-nothing-above-100000": (PAYS | _amount(10_000_000, "GBP"), PAYS | _amount(9_999_999, "GBP")),
    "finance-office-hours": (PAYS | {"now": NIGHT}, PAYS),
    "finance-no-weekends": (PAYS | {"now": SUNDAY}, PAYS),
    "finance-usual-currencies": (PAYS | _amount(1, "VND"), PAYS | _amount(1, "USD")),
    "finance-with-a-reference": (PAYS | {"args": {"reference": ""}}, PAYS | {"args": {"reference": "INV-1"}}),
    "finance-refund-of-a-charge": (
        PAYS | {"tool": "acme.refunds.create", "args": {}},
        PAYS | {"tool": "acme.refunds.create", "args": {"payment_intent": "pi_1"}},
    ),
    "finance-large-refunds": (
        PAYS | {"tool": "acme.refunds.create"} | _amount(100_000),
        PAYS | {"tool": "acme.refunds.create"} | _amount(99_999),
    ),
    "finance-new-accounts-by-two": ({"tool": "acme.recipients.create_iban"}, {"tool": "acme.recipients.list"}),
    "finance-prices-by-people": ({"effect": "pricing"}, {"effect": "write"}),
    "finance-voids-by-two": ({"tool": "acme.invoices.void"}, {"tool": "acme.invoices.send"}),
    "finance-budget-nearly-used": (PAYS | _amount(1) | {"used": 99_950}, PAYS | _amount(1) | {"used": 0}),
    "crm-people-delete-people": (
        {"tool": "acme.contacts.delete", "effect": "destructive"},
        {"tool": "acme.contacts.delete", "effect": "destructive", "by": "user"},
    ),
    "crm-email-changes": (CONTACT | {"args": {"email": "a@b.example"}}, CONTACT | {"args": {"title": "Dr"}}),
    "crm-phone-changes": (CONTACT | {"args": {"phone": "+49301"}}, CONTACT | {"args": {"title": "Dr"}}),
    "crm-won-by-people": (
        {"tool": "acme.deals.update", "args": {"status": "won"}},
        {"tool": "acme.deals.update", "args": {"status": "open"}},
    ),
    "crm-lost-with-a-reason": (
        {"tool": "acme.deals.update", "args": {"status": "lost"}},
        {"tool": "acme.deals.update", "args": {"status": "lost", "lost_reason": "price"}},
    ),
    "crm-key-accounts": (CONTACT | {"subject": {"tier": "key"}}, CONTACT | {"subject": {"type": "contact", "id": "1"}}),
    "crm-no-bank-details-in-notes": (
        {"tool": "acme.notes.create", "args": {"content": "New bank details: ..."}},
        {"tool": "acme.notes.create", "args": {"body": "Called, all well."}},
    ),
    "crm-notes-need-no-confidence": ({"tool": "acme.notes.create"}, {"tool": "acme.notes.delete"}),
    "support-no-promises": (REPLY | {"args": {"body": "You get a refund."}}, REPLY | {"args": {"body": "Thank you."}}),
    "support-law-to-people": (REPLY | {"args": {"body": "My lawyer says"}}, REPLY | {"args": {"body": "Thank you."}}),
    "support-solved-by-what-was-read": (
        {"tool": "acme.tickets.set_status", "args": {"status": "solved"}},
        {"tool": "acme.tickets.set_status", "args": {"status": "solved"}, "evidence": [{"observation_id": "x"}]},
    ),
    "support-urgent-is-urgent": (
        {"tool": "acme.tickets.create", "args": {"priority": "urgent"}},
        {"tool": "acme.tickets.create", "args": {"priority": "low"}},
    ),
    "support-best-customers": (REPLY | {"subject": {"tier": "gold"}}, REPLY | {"subject": {"tier": "basic"}}),
    "support-comments-need-no-confidence": (
        {"tool": "acme.tickets.comment"}, {"tool": "acme.tickets.comment", "effect": "outbound_message"},
    ),
    "outbound-no-passwords": (
        SENDS | {"args": {"text": "Your password is"}}, SENDS | {"args": {"text": "Your invoice is"}},
    ),
    "outbound-only-safe-links": (
        SENDS | {"args": {"body": "See http://x.example"}}, SENDS | {"args": {"body": "See https://x.example"}},
    ),
    "outbound-quiet-hours": (SENDS | {"now": NIGHT}, SENDS),
    "outbound-quiet-weekends": (SENDS | {"now": SUNDAY}, SENDS),
    "outbound-many-by-two": ({"effect": "mass_outbound"}, SENDS),
    "outbound-copies": (SENDS | {"args": {"cc": "c@d.example"}}, SENDS | {"args": {"to": "c@d.example"}}),
    "outbound-long-messages": (SENDS | {"args": {"text": "x" * 4001}}, SENDS | {"args": {"text": "x" * 4000}}),
    "outbound-unsure": (SENDS | {"confidence": 0.89}, SENDS | {"confidence": 0.9}),
    "outbound-say-why": (SENDS | {"citations": []}, SENDS),
}  # fmt: skip


def _matched(
    rule: Rule, tool: str = "acme.things.do", effect: str = "write", now: datetime = FRIDAY, by: str = "service",
    used: int | None = None, **proposed: Any,
) -> bool:  # fmt: skip
    named = {"/amount": {"role": "amount", "currency": "/currency"}} if "amount" in proposed.get("args", {}) else {}
    known = contract(name=tool, effect=effect, input_schema={"type": "object"}, arguments=named)
    limits = [{"name": "monthly", "window_hours": 720, "currency": "EUR", "max_amount": 100_000}]
    held = facts(spec(tools={tool: {"access": "write"}}, limits=limits), known)
    held = held.model_copy(update={"constitution": held.constitution.model_copy(update={"rules": [rule]})})
    made = proposal({}, tool=tool).model_copy(update=proposed)
    made = made.model_copy(update={"principal": made.principal.model_copy(update={"kind": by})})
    if used is not None:
        [claim] = decide(made, held, now).limits
        held = held.model_copy(update={"limits": {claim.key: LimitState(amount=used)}})
    decision = decide(made, held, now)
    assert not any("could not be evaluated" in finding.message for finding in decision.findings)
    return decision.rules_matched == [rule.id]


def test_there_are_many_of_every_area() -> None:
    areas = [ready.area for ready in library()]
    assert len(READY) == len(areas) >= 25
    assert {area for area in areas if areas.count(area) >= 5} == {"finance", "crm", "support", "outbound"}
    assert EXAMPLES.keys() == READY.keys()


@pytest.mark.parametrize("identity", EXAMPLES)
def test_it_holds_for_what_it_is_meant_for_and_for_nothing_else(identity: str) -> None:
    meant, other = EXAMPLES[identity]
    assert _matched(READY[identity], **meant)
    assert not _matched(READY[identity], **other)


def test_it_can_be_published_by_who_has_the_providers_tools() -> None:
    schemas = {name: known.input_schema for name, known in contracts().items()}
    rules = list(READY.values())
    assert list(broken(rules)) == []
    assert list(unknown_names(rules, schemas)) == []
    odd = {(fault.rule_id, fault.kind) for fault in warnings(rules, schemas, FRIDAY)}
    assert {kind for _, kind in odd} <= {"unbounded"}
    assert {identity for identity, _ in odd} == {rule.id for rule in rules if rule.effect == "allow"}


@pytest.mark.parametrize("identity", EXAMPLES)
def test_it_errs_on_no_tool_that_takes_other_arguments(identity: str) -> None:
    """`_matched` asserts that nothing failed."""
    for tool in contracts():
        _matched(READY[identity], tool=tool, effect="outbound_message", args={"unheard_of": 1})
