"""The demo's people: they go by what the bank vouches for, not by what a mail or an agent says."""

from typing import Any

import pytest

from sandbox.demo.matching import DELETE, PAY, REFUND
from sandbox.demo.policy import compare, decide, record_of, subject_of

BILL = {"id": "b1", "vendor_name": "Oak GmbH", "iban": "DE94000123450532013000", "amount": 500, "currency": "EUR",
        "reference": "INV-1"}  # fmt: skip
PAID = {"id": "t1", "amount": 24000, "currency": "EUR", "counterparty_name": "Juniper", "reference": "SO-7",
        "counterparty_iban": "NL92SAND0730011255"}  # fmt: skip
PAYMENT = {"from_account": "acc", "to_iban": BILL["iban"], "to_name": "Oak GmbH", "amount": 500, "currency": "EUR",
           "reference": "INV-1"}  # fmt: skip
BACK = {"from_account": "acc", "to_iban": PAID["counterparty_iban"], "to_name": "Juniper", "amount": 24000,
        "currency": "EUR", "reference": "Refund SO-7", "transaction_id": "t1"}  # fmt: skip


def _exception(tool: str, args: dict[str, Any], rows: dict[str, list[dict[str, Any]]], untrusted: str = "") -> Any:
    observations = [
        {
            "result": {name: found},
            "labels": {
                f"/{name}/*/{key}": {"trust": "untrusted" if key == untrusted else "trusted"} for key in found[0]
            },
        }
        for name, found in rows.items()
    ]
    return {"tool": tool, "args": args, "observations": observations}


def _payment(changed: dict[str, Any] | None = None, **given: Any) -> Any:
    return _exception(PAY, PAYMENT | (changed or {}), {"bills": [BILL]}, **given)


def _refund(changed: dict[str, Any] | None = None, times: int = 2) -> Any:
    paid = [{**PAID, "id": f"t{number + 1}"} for number in range(times)]
    return _exception(REFUND, BACK | (changed or {}), {"transactions": paid})


def test_what_equals_the_banks_bill_is_approved() -> None:
    assert decide(_payment(), frozenset()).verdict == "approve"
    assert decide(_refund(), frozenset()).verdict == "approve"


@pytest.mark.parametrize(
    "changed", [{"to_iban": "GB04SAND00999900000666"}, {"to_name": "Elm GmbH"}, {"reference": "INV-9"}]
)
def test_another_account_payee_or_bill_is_rejected(changed: dict[str, Any]) -> None:
    assert decide(_payment(changed), frozenset()).verdict == "reject"


@pytest.mark.parametrize("changed", [{"amount": 501}, {"currency": "USD"}, {"amount": 1, "currency": "USD"}])
def test_a_wrong_amount_is_corrected_and_nothing_else_touched(changed: dict[str, Any]) -> None:
    verdict = decide(_payment(changed), frozenset())
    assert (verdict.verdict, verdict.args) == ("edit", PAYMENT)


def test_a_wrong_amount_to_a_wrong_account_is_rejected_and_not_corrected() -> None:
    both = {"amount": 501, "to_iban": "GB04SAND00999900000666"}
    assert decide(_payment(both), frozenset()).verdict == "reject"


def test_a_field_that_the_contract_does_not_vouch_for_proves_nothing() -> None:
    rows = compare(_payment(untrusted="iban"), record_of(_payment(untrusted="iban")))
    assert {row.name: row.fits for row in rows}["to_iban"] is None
    assert decide(_payment(untrusted="iban"), frozenset()).verdict == "reject"


def test_the_same_thing_is_approved_once() -> None:
    assert decide(_payment(), frozenset({subject_of(_payment())})).verdict == "reject"


def test_a_refund_needs_two_payments_of_one_order() -> None:
    assert decide(_refund(times=1), frozenset()).verdict == "reject"
    assert decide(_refund({"transaction_id": "t9"}), frozenset()).verdict == "reject"
    assert decide(_refund({"amount": 25000}), frozenset()).args == BACK
    assert decide(_refund({"to_iban": "GB04SAND00999900000666"}), frozenset()).verdict == "reject"


def test_what_is_neither_payment_nor_refund_is_rejected() -> None:
    assert decide(_exception(DELETE, {"contact_id": "c"}, {}), frozenset()).verdict == "reject"
