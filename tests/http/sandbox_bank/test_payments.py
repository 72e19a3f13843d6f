"""Payments and refunds: once per key, all or nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sandbox.bank.iban import is_valid, with_check_digits
from sandbox.bank.seed import IBANS
from tests.http.sandbox_bank.orders import EVERYTHING, balance, order, pay, payments
from tests.http.sandbox_oauth.flows import Sandbox

OPENING = 5_000_000
BILL: dict[str, Any] = {
    "to_iban": IBANS["northwind"],
    "to_name": "Northwind Paper GmbH",
    "amount": 129_900,
    "reference": "INV-1042",
}


def test_paying_a_bill_moves_money_books_it_and_settles_the_bill(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        answer = pay(api, "k-1", **BILL)
        assert answer.status_code == 201
        made = answer.json()
        assert (made["status"], made["bill_id"], made["idempotency_key"]) == ("completed", "bill_1042", "k-1")
        assert api.get(f"/v1/payments/{made['id']}").json() == made
        assert balance(api) == OPENING - 129_900
        booked = api.get("/v1/transactions", params={"direction": "out", "limit": 1}).json()["transactions"]
        assert (booked[0]["transfer_id"], booked[0]["amount"]) == (made["id"], -129_900)
        bill = api.get("/v1/bills/bill_1042").json()
        assert (bill["status"], bill["paid_by"]) == ("paid", made["id"])


@pytest.mark.parametrize("changes", [{"amount": 129_901}, {"reference": "INV-1043"}, {"to_iban": IBANS["harbour"]}])
def test_a_payment_that_does_not_match_leaves_the_bill_open(bank: Sandbox, changes: dict[str, Any]) -> None:
    with bank.api(EVERYTHING) as api:
        assert pay(api, "k-1", **(BILL | changes)).json()["bill_id"] is None
        assert api.get("/v1/bills/bill_1042").json()["status"] == "open"


def test_a_key_is_one_payment_for_ever(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        first, again = pay(api, "k-1"), pay(api, "k-1")
        assert again.json() == first.json()
        assert again.status_code == first.status_code == 201
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        other = pay(api, "k-1", amount=101)
        assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
        assert balance(api) == OPENING - 100
        assert payments(api, "k-1") == [first.json()]
        assert payments(api, "k-2") == []


def test_a_key_is_required(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        answer = api.post("/v1/payments", json=order())
        assert (answer.status_code, answer.json()["error"]) == (400, "idempotency_key_required")
        assert payments(api) == []


def test_twenty_at_once_with_one_key_are_one_payment(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: pay(api, "k-1"), range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
        assert len(payments(api)) == 1
        assert balance(api) == OPENING - 100


def test_payments_at_once_cannot_overdraw(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: pay(api, f"k-{n}", amount=1_000_000).status_code, range(12)))
        assert sorted(answers) == [201] * 5 + [402] * 7
        assert balance(api) == 0
        assert len(payments(api)) == 5


def test_a_refused_payment_does_not_use_up_its_key(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        refused = pay(api, "k-1", amount=OPENING + 1)
        assert (refused.status_code, refused.json()["error"]) == (402, "insufficient_funds")
        own = order(from_account="acc_reserve", to_iban=IBANS["operating"], amount=1, reference="Top up")
        assert api.post("/v1/payments", json=own, headers={"Idempotency-Key": "k-2"}).status_code == 201
        assert balance(api) == OPENING + 1, "between our own accounts the money arrives"
        assert balance(api, "acc_reserve") == 12_000_000 - 1
        assert pay(api, "k-1", amount=OPENING + 1).status_code == 201
        assert balance(api) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"to_iban": "GB86SAND60161331926818"},
        {"to_iban": "GB86SAND6016133192681"},
        {"to_iban": IBANS["kestrel"].lower()},
        {"to_iban": "XX" + IBANS["kestrel"][2:]},
        {"to_iban": IBANS["operating"]},
        {"amount": 0},
        {"amount": -100},
        {"amount": 1.5},
        {"amount": "100"},
        {"amount": True},
        {"currency": "USD"},
        {"currency": "eur"},
        {"from_account": "acc_nobody"},
        {"to_name": ""},
        {"reference": "x" * 141},
        {"surprise": 1},
    ],
)
def test_a_wrong_order_is_refused_and_moves_nothing(untouched: httpx.Client, changes: dict[str, Any]) -> None:
    answer = pay(untouched, "k-1", **changes)
    assert answer.status_code == 400
    assert set(answer.json()) >= {"error", "message"}
    assert payments(untouched) == []
    assert balance(untouched) == OPENING


def test_a_refund_cannot_exceed_what_was_paid(bank: Sandbox) -> None:
    def refund(api: httpx.Client, key: str, **changes: Any) -> httpx.Response:
        body = order(to_iban=IBANS["juniper"], to_name="Juniper Interiors", transaction_id="txn_0004") | changes
        return api.post("/v1/refunds", json=body, headers={"Idempotency-Key": key})

    with bank.api(EVERYTHING) as api:
        made = refund(api, "r-1", amount=20_000)
        assert made.status_code == 201
        assert refund(api, "r-1", amount=20_000).headers["idempotent-replayed"] == "true"
        assert refund(api, "r-2", amount=4_001).json()["error"] == "refund_exceeds_payment"
        assert refund(api, "r-3", amount=4_000).status_code == 201
        assert refund(api, "r-4", transaction_id="txn_0002").status_code == 400, "that was money we paid"
        assert balance(api) == OPENING - 24_000
        found = api.get("/v1/refunds", params={"idempotency_key": "r-1"}).json()["refunds"]
        assert found == [made.json()]
        assert payments(api) == [], "a refund is no payment"


def test_every_endpoint_needs_its_scope(bank: Sandbox) -> None:
    made = order()
    bank.check_scope(
        EVERYTHING.split(),
        [
            ("GET", "/v1/accounts", "accounts:read", None),
            ("GET", "/v1/accounts/acc_operating/balance", "accounts:read", None),
            ("GET", "/v1/transactions", "transactions:read", None),
            ("GET", "/v1/bills", "bills:read", None),
            ("GET", "/v1/bills/bill_1042", "bills:read", None),
            ("POST", "/v1/payments", "payments:write", made),
            ("GET", "/v1/payments", "payments:read", None),
            ("POST", "/v1/refunds", "refunds:write", made),
            ("GET", "/v1/refunds", "payments:read", None),
        ],
    )


def test_the_seed_is_what_the_readme_says(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        assert balance(api) == OPENING
        bills = api.get("/v1/bills", params={"status": "open"}).json()["bills"]
        assert len(bills) == 5
        assert api.get("/v1/bills", params={"reference": "INV-1042"}).json()["bills"][0]["amount"] == 129_900
        assert all(is_valid(bill["iban"]) for bill in bills)
        assert api.get("/v1/bills/bill_none").status_code == 404


def test_iban_check_digits() -> None:
    # The example of the IBAN registry for Germany.
    assert is_valid("DE89370400440532013000")
    assert with_check_digits("DE", "370400440532013000") == "DE89370400440532013000"
    assert not is_valid("DE89 3704 0044 0532 0130 00")
    assert not is_valid("DE88370400440532013000")
