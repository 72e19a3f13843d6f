"""Moving money: payments to vendors and refunds to customers. Each is one transaction, once per key."""

import sqlite3
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from sandbox.bank.iban import is_valid
from sandbox.oauth import idempotency
from sandbox.oauth.guard import Bearer, Db, require
from sandbox.oauth.refusals import RefusedError

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=100)]
FindKey = Annotated[str | None, Query(max_length=255)]


class Payment(BaseModel):
    """`amount` is in minor units of `currency` (ISO 4217)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    from_account: str = Field(min_length=1, max_length=40)
    to_iban: str = Field(min_length=15, max_length=34)
    to_name: str = Field(min_length=1, max_length=70)
    amount: int = Field(gt=0, le=100_000_000_000)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    reference: str = Field(min_length=1, max_length=140)


class Refund(Payment):
    """With `transaction_id` the bank checks that the refund does not exceed what that customer paid."""

    transaction_id: str | None = Field(default=None, min_length=1, max_length=40)


@router.post("/v1/payments", operation_id="payments.create", dependencies=[require("payments:write")])
def create_payment(payment: Payment, key: idempotency.Key, database: Db, token: Bearer) -> JSONResponse:
    """Pay: the balance falls, a transaction appears and a matching open bill is paid, all or nothing.

    201; the same key and body again give the same answer with `Idempotent-Replayed: true`, another body
    422. 402 `insufficient_funds`, 400 for a wrong account, IBAN or currency; none of these uses up the key.
    """
    body = payment.model_dump()
    with database.write() as connection:
        known = idempotency.recall(connection, "payments.create", token.username, key, body)
        if known is not None:
            return known
        bill = connection.execute(
            "select id from bills where status = 'open' and reference = ? and iban = ? and amount = ? and currency = ?",
            (payment.reference, payment.to_iban, payment.amount, payment.currency),
        ).fetchone()
        bill_id = None if bill is None else bill["id"]
        made = _transfer(connection, "payment", payment, token.username, key, bill_id=bill_id)
        connection.execute("update bills set status = 'paid', paid_by = ? where id = ?", (made["id"], bill_id))
        return idempotency.remember(connection, "payments.create", token.username, key, body, made)


@router.get("/v1/payments", operation_id="payments.list", dependencies=[require("payments:read")])
def list_payments(database: Db, idempotency_key: FindKey = None, limit: Limit = 50) -> dict[str, Any]:
    """Payments, the newest first; with `idempotency_key` at most the one made under it."""
    return {"payments": _find(database, "payment", idempotency_key, limit)}


@router.get("/v1/payments/{payment_id}", operation_id="payments.get", dependencies=[require("payments:read")])
def show_payment(payment_id: str, database: Db) -> dict[str, Any]:
    """One payment."""
    with database.read() as connection:
        row = connection.execute("select * from transfers where kind = 'payment' and id = ?", (payment_id,)).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such payment.")
    return _shown(row)


@router.post("/v1/refunds", operation_id="refunds.create", dependencies=[require("refunds:write")])
def create_refund(refund: Refund, key: idempotency.Key, database: Db, token: Bearer) -> JSONResponse:
    """Pay money back to a customer; answers as for a payment, and 409 `refund_exceeds_payment`."""
    body = refund.model_dump()
    with database.write() as connection:
        known = idempotency.recall(connection, "refunds.create", token.username, key, body)
        if known is not None:
            return known
        if refund.transaction_id is not None:
            _check_refund(connection, refund, refund.transaction_id)
        made = _transfer(connection, "refund", refund, token.username, key, refunded_transaction=refund.transaction_id)
        return idempotency.remember(connection, "refunds.create", token.username, key, body, made)


@router.get("/v1/refunds", operation_id="refunds.list", dependencies=[require("payments:read")])
def list_refunds(database: Db, idempotency_key: FindKey = None, limit: Limit = 50) -> dict[str, Any]:
    """Refunds, the newest first; with `idempotency_key` at most the one made under it."""
    return {"refunds": _find(database, "refund", idempotency_key, limit)}


def _check_refund(connection: sqlite3.Connection, refund: Refund, transaction_id: str) -> None:
    paid = connection.execute(
        "select amount, currency from transactions where id = ? and account_id = ? and amount > 0",
        (transaction_id, refund.from_account),
    ).fetchone()
    if paid is None:
        raise RefusedError(400, "unknown_transaction", "No such incoming transaction on this account.")
    (before,) = connection.execute(
        "select coalesce(sum(amount), 0) from transfers where refunded_transaction = ?", (transaction_id,)
    ).fetchone()
    if before + refund.amount > paid["amount"]:
        raise RefusedError(409, "refund_exceeds_payment", "More would be refunded than was paid.")


def _transfer(
    connection: sqlite3.Connection,
    kind: str,
    order: Payment,
    username: str,
    key: str,
    *,
    bill_id: str | None = None,
    refunded_transaction: str | None = None,
) -> dict[str, Any]:
    account = connection.execute("select * from accounts where id = ?", (order.from_account,)).fetchone()
    if account is None:
        raise RefusedError(400, "unknown_account", "There is no such account to pay from.")
    if not is_valid(order.to_iban):
        raise RefusedError(400, "invalid_iban", "The IBAN is wrong: its length or its check digits do not fit.")
    if order.to_iban == account["iban"]:
        raise RefusedError(400, "same_account", "Payer and payee are the same account.")
    if account["currency"] != order.currency:
        raise RefusedError(400, "currency_mismatch", f"This account is held in {account['currency']}.")
    if account["balance"] < order.amount:
        raise RefusedError(402, "insufficient_funds", "The balance does not cover the amount.")
    now = datetime.now(UTC).isoformat()
    id_ = f"{'pay' if kind == 'payment' else 'ref'}_{uuid.uuid4().hex}"
    connection.execute(
        "insert into transfers (id, kind, created_at, from_account, to_iban, to_name, amount, currency,"
        " reference, bill_id, refunded_transaction, username, idempotency_key)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id_, kind, now, order.from_account, order.to_iban, order.to_name, order.amount, order.currency,
            order.reference, bill_id, refunded_transaction, username, key,
        ),
    )  # fmt: skip
    _book(connection, id_, order, account["id"], -order.amount, order.to_name, order.to_iban, now)
    own = connection.execute(
        "select id from accounts where iban = ? and currency = ?", (order.to_iban, order.currency)
    ).fetchone()
    if own is not None:
        _book(connection, id_, order, own["id"], order.amount, account["name"], account["iban"], now)
    return _shown(connection.execute("select * from transfers where id = ?", (id_,)).fetchone())


def _book(
    connection: sqlite3.Connection,
    transfer_id: str,
    order: Payment,
    account_id: str,
    amount: int,
    counterparty_name: str,
    counterparty_iban: str,
    now: str,
) -> None:
    connection.execute("update accounts set balance = balance + ? where id = ?", (amount, account_id))
    connection.execute(
        "insert into transactions (id, account_id, booked_at, amount, currency, counterparty_name,"
        " counterparty_iban, reference, transfer_id) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            f"txn_{uuid.uuid4().hex}", account_id, now, amount, order.currency, counterparty_name,
            counterparty_iban, order.reference, transfer_id,
        ),
    )  # fmt: skip


def _find(database: Db, kind: str, idempotency_key: str | None, limit: int) -> list[dict[str, Any]]:
    with database.read() as connection:
        rows = connection.execute(
            "select * from transfers where kind = ? and (? is null or idempotency_key = ?)"
            " order by created_at desc, id desc limit ?",
            (kind, idempotency_key, idempotency_key, limit),
        ).fetchall()
    return [_shown(row) for row in rows]


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    hidden = {"kind", "username", "bill_id" if row["kind"] == "refund" else "refunded_transaction"}
    return {name: row[name] for name in row.keys() if name not in hidden} | {"status": "completed"}  # noqa: SIM118
