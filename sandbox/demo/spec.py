"""The workflow that the demo puts live: what its agent may see, do and spend."""

from typing import Any

from sandbox.demo.matching import NOTE, OUR_ACCOUNT, PAY, REFUND

SLUG, TITLE = "pay-vendor-bills", "Pay vendor bills"
INSTRUCTION = (
    "Go through the inbox. Pay vendor bills that are due, refund what customers paid twice, keep the CRM current."
)
CEILING = 500_000


def access_spec(owner: str, connections: dict[str, Any]) -> dict[str, Any]:
    """The access spec (api/gate/models.py). What it does not list, the workflow cannot see or do."""
    from_our_account = {"/from_account": [OUR_ACCOUNT]}
    bill = ("id", "vendor_name", "iban", "amount", "currency", "reference", "status", "due_on")
    receipt = ("id", "booked_at", "amount", "currency", "counterparty_name", "counterparty_iban", "reference")
    known = ["financial", "personal", "internal"]
    return {
        "purpose": "Pay vendor bills that the bank holds for us, and refund what was paid twice.",
        "owner": owner,
        "escalation_contact": owner,
        # Autonomous: what no check objects to happens at once. Money never does; see the hard gate.
        "stage": "autonomous",
        "connections": connections,
        "tools": {
            "sandbox_bank.bills.list": {"access": "read", "read_fields": [f"/bills/*/{f}" for f in bill]},
            "sandbox_bank.transactions.list": {
                "access": "read",
                "read_fields": [f"/transactions/*/{f}" for f in receipt],
            },
            "sandbox_bank.payments.find": {"access": "read", "read_fields": ["/payments/*/id"]},
            "sandbox_bank.refunds.find": {"access": "read", "read_fields": ["/refunds/*/id"]},
            "sandbox_crm.contacts.list": {
                "access": "read",
                "read_fields": ["/contacts/*/id", "/contacts/*/name", "/contacts/*/email"],
            },
            "sandbox_crm.notes.find": {"access": "read", "read_fields": ["/notes/*/id"]},
            PAY: {"access": "write", "records": from_our_account, "data_classes": known},
            REFUND: {
                "access": "write",
                "records": from_our_account,
                "value_max": {"EUR": 50_000},
                "data_classes": known,
            },
            # A note cannot be unwritten, and harms nobody: the reviewer reads that it happens all the same.
            NOTE: {"access": "write", "data_classes": known, "irreversible_alone": True},
        },
        "confidence_min": 0.8,
        "value_max": {"EUR": CEILING},
        "data_classes": known,
        # What mails and contacts say of people is kept for a quarter; what belongs to the books for a year.
        "retention_days": 365,
        "retention": {"personal": 90},
        # Each payment waits for a person anyway; two look at it where a rule says so.
        "counterparty_approvals": 1,
        "limits": [{"name": "a-day", "window_hours": 24, "currency": "EUR", "max_amount": 2_500_000}],
    }
