"""Billing providers and banks: what an agent cannot say through them, and what each tool counts as."""

from typing import Any

import jsonschema_rs
import pytest

from api.gate.models import HARD_GATES, Contract
from api.providers.manifest import manifests

NAMES = ("mercury", "quickbooks", "stripe", "truelayer", "wise", "xero")
CONTRACTS = {contract.name: contract for name in NAMES for contract in manifests()[name].contracts()}
UUID = "0b2e8d1c-5f0a-4c1e-9a57-3d2f1c9e8b7a"
#: Members of answers that a payer, vendor or customer writes, wherever they stand.
WRITTEN = {"name", "email", "description", "memo", "note", "externalMemo", "reference", "Reference", "counterpartyName"}
WRITTEN |= {"DisplayName", "PrivateNote", "Description", "Name", "EmailAddress", "merchant_name", "bankDescription"}


def _accepts(contract: Contract, args: dict[str, Any]) -> bool:
    return jsonschema_rs.validator_for(contract.input_schema).is_valid(args)


#: What an agent would say; each test changes one part of it.
GIVEN: dict[str, dict[str, Any]] = {
    "quickbooks.vendors.search": {"name": "Acme"},
    "quickbooks.bills.find": {"vendor_id": "56", "bill_number": "A-17"},
    "quickbooks.bills.list": {"from": "2026-01-01", "to": "2026-01-31", "start": 1, "limit": 50},
    "quickbooks.bills.get": {"bill_id": "145"},
    "quickbooks.invoices.send": {"invoice_id": "130", "to": "ada@buyer.example"},
    "stripe.customers.search": {"name": "Jenny Rosen"},
    "stripe.refunds.create": {"payment_intent": "pi_3MtwBwLkdIwHu7ix28a3tqPa", "amount": 500, "currency": "EUR"},
    "xero.payments.find": {"reference": "INV-7"},
    "xero.credit_notes.find": {"number": "CN-0001"},
    "xero.invoices.get": {"invoice_id": UUID},
    "mercury.payments.request": {
        "account_id": UUID, "recipient_id": UUID, "amount": 500, "currency": "USD", "method": "ach",
    },
    "wise.recipients.create_iban": {
        "name": "Acme GmbH", "legal_type": "BUSINESS", "currency": "EUR", "iban": "DE89370400440532013000",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "named", "harmless", "harmful"),
    [
        # A search is a value, and no query language.
        ("quickbooks.vendors.search", "name", "Smith & Sons, Ltd.", "x' or Active = false or DisplayName like '"),
        ("quickbooks.vendors.search", "name", "Smith-Jones", "%"),
        ("quickbooks.vendors.search", "name", "Smith", "Smith\\"),
        ("quickbooks.bills.find", "bill_number", "2026/17 #3", "A' or DocNumber like 'B"),
        ("quickbooks.bills.list", "from", "2026-01-02", "2026-01-02' or '1' = '1"),
        ("quickbooks.bills.list", "limit", 100, 100_000),
        ("stripe.customers.search", "name", "Jenny", "x' OR email~'a"),
        ("xero.payments.find", "reference", "INV 7/2026", 'x" OR Amount>0 OR Reference=="'),
        ("xero.credit_notes.find", "number", "CN-0002", 'x" OR Total>0 OR CreditNoteNumber=="'),
        # An id is one record of its kind.
        ("quickbooks.bills.get", "bill_id", "7", "7/../../vendor/1"),
        ("xero.invoices.get", "invoice_id", UUID, f"{UUID}/Email"),
        ("stripe.refunds.create", "payment_intent", "pi_1", "ch_1"),
        # A message goes to the one address that was approved.
        ("quickbooks.invoices.send", "to", "o.k+x@buyer.example", "a@b.example,c@d.example"),
        # An amount is positive, whole, and of a currency whose digits are the provider's.
        ("stripe.refunds.create", "amount", 1, 0),
        ("stripe.refunds.create", "amount", 1, -5),
        ("stripe.refunds.create", "currency", "JPY", "ISK"),
        ("stripe.refunds.create", "currency", "JPY", "eur"),
        ("mercury.payments.request", "amount", 1, 0.5),
        ("mercury.payments.request", "currency", "USD", "EUR"),
        ("wise.recipients.create_iban", "iban", "GB33BUKB20201555555555", "DE89 3704 0044"),
    ],
)
def test_what_would_mean_something_else_is_refused(tool: str, named: str, harmless: Any, harmful: Any) -> None:
    assert _accepts(CONTRACTS[tool], GIVEN[tool] | {named: harmless})
    assert not _accepts(CONTRACTS[tool], GIVEN[tool] | {named: harmful})


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_tool_takes_what_it_does_not_name(name: str) -> None:
    schema = CONTRACTS[name].input_schema
    assert schema["additionalProperties"] is False
    for argument, part in schema["properties"].items():
        texts = part["items"] if part.get("type") == "array" else part
        assert "enum" in texts or "pattern" in texts or texts["type"] != "string" or "maxLength" in texts, argument
        assert texts.get("type") != "integer" or {"minimum", "maximum"} <= texts.keys(), argument
        assert f"/{argument}" in CONTRACTS[name].arguments, argument


def test_what_people_must_see_is_told_apart() -> None:
    """Amounts enter our books, and payees a bank, only past a person: they are trusted when they are read later."""
    told = {name: contract.effect for name, contract in CONTRACTS.items() if contract.effect not in ("read", "write")}
    assert told == {
        "mercury.payments.request": "money_movement",
        "quickbooks.bill_payments.create": "money_movement",
        "quickbooks.bill_payments.void": "destructive",
        "quickbooks.bills.create": "money_movement",
        "quickbooks.bills.delete": "destructive",
        "quickbooks.invoices.create": "pricing",
        "quickbooks.invoices.send": "outbound_message",
        "quickbooks.invoices.void": "destructive",
        "quickbooks.payments.create": "money_movement",
        "quickbooks.payments.void": "destructive",
        "stripe.invoice_items.create": "pricing",
        "stripe.invoice_items.delete": "destructive",
        "stripe.invoices.delete": "destructive",
        "stripe.invoices.finalize": "outbound_message",
        "stripe.invoices.send": "outbound_message",
        "stripe.invoices.void": "destructive",
        "stripe.refunds.create": "money_movement",
        "wise.recipients.create_iban": "permission_change",
        "wise.recipients.create_sort_code": "permission_change",
        "wise.recipients.deactivate": "destructive",
        "wise.transfers.cancel": "destructive",
        "wise.transfers.create": "money_movement",
        "wise.transfers.fund": "money_movement",
        "xero.bills.create": "pricing",
        "xero.credit_notes.create": "pricing",
        "xero.credit_notes.delete": "destructive",
        "xero.invoices.approve": "money_movement",
        "xero.invoices.create": "pricing",
        "xero.invoices.delete": "destructive",
        "xero.invoices.send": "outbound_message",
        "xero.invoices.void": "destructive",
        "xero.payments.create": "money_movement",
        "xero.payments.delete": "destructive",
    }


def test_moving_money_always_waits_for_a_person() -> None:
    moving = {contract.effect for contract in CONTRACTS.values() if contract.effect == "money_movement"}
    assert moving <= HARD_GATES


def test_banks_only_read_or_stop_at_a_second_gate() -> None:
    """TrueLayer has no tool that writes; at Mercury the only one asks the bank for its own approval."""
    writing = {name for name, contract in CONTRACTS.items() if contract.access == "write"}
    assert {name for name in writing if name.startswith("truelayer.")} == set()
    assert {name for name in writing if name.startswith("mercury.")} == {"mercury.payments.request"}
    assert CONTRACTS["mercury.payments.request"].execution.path.endswith("/request-send-money")


@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if c.effect == "money_movement"])
def test_a_payment_is_not_made_twice(name: str) -> None:
    """It is repeated under a key that the provider remembers, changes nothing more, or is left to a person."""
    contract = CONTRACTS[name]
    assert contract.idempotency in ("key", "natural") or contract.read_back is not None
    if contract.idempotency == "key" and not name.startswith("wise."):
        assert contract.idempotency_seconds is not None


#: What comes from our own accounts, or from the provider alone.
OURS = {
    "mercury.accounts.get", "mercury.accounts.list", "quickbooks.company.get", "stripe.balance.get",
    "stripe.payouts.list",
    "truelayer.accounts.balance", "truelayer.accounts.get", "truelayer.accounts.list", "truelayer.consent.get",
    "wise.balances.get", "wise.balances.list", "wise.profiles.list", "wise.quotes.get", "wise.transfers.fund",
    "wise.transfers.payments", "xero.bank_accounts.list", "xero.organisation.get",
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRACTS)
def test_nothing_that_an_outsider_writes_is_trusted(name: str) -> None:
    """Whole answers are trusted where nobody else has a word in them."""
    trusted = {pointer for pointer, trust in CONTRACTS[name].output.trust.items() if trust == "trusted"}
    assert {pointer for pointer in trusted if set(pointer.split("/")) & WRITTEN} == set()
    assert ("" in trusted) == (name in OURS)


def test_what_cannot_be_repeated_can_be_found_again() -> None:
    """A person is asked about the rest: a mail, a recipient or a quote is no proof of who made it."""
    unfindable = {
        n for n, c in CONTRACTS.items() if c.access == "write" and c.idempotency == "none" and not c.read_back
    }
    assert unfindable == {
        "quickbooks.invoices.send", "wise.quotes.create", "wise.recipients.create_iban",
        "wise.recipients.create_sort_code", "xero.invoices.send",
    }  # fmt: skip
