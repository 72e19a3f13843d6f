"""Reading the bank: accounts, balances, transactions, vendor bills."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from sandbox.oauth.guard import Db, require
from sandbox.oauth.refusals import RefusedError

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/v1/accounts", operation_id="accounts.list", dependencies=[require("accounts:read")])
def list_accounts(database: Db) -> dict[str, Any]:
    """Our own accounts."""
    with database.read() as connection:
        rows = connection.execute("select id, name, iban, currency from accounts order by id").fetchall()
    return {"accounts": [dict(row) for row in rows]}


@router.get(
    "/v1/accounts/{account_id}/balance",
    operation_id="accounts.balance",
    dependencies=[require("accounts:read")],
)
def show_balance(account_id: str, database: Db) -> dict[str, Any]:
    """The booked balance, in minor units."""
    with database.read() as connection:
        row = connection.execute("select * from accounts where id = ?", (account_id,)).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such account.")
    as_of = datetime.now(UTC).isoformat()
    return {"account_id": row["id"], "balance": row["balance"], "currency": row["currency"], "as_of": as_of}


@router.get("/v1/transactions", operation_id="transactions.list", dependencies=[require("transactions:read")])
def list_transactions(
    database: Db,
    account_id: str | None = None,
    direction: Literal["in", "out"] | None = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Booked transactions, the newest first; `amount` is negative when money left the account."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from transactions where (? is null or account_id = ?)"
            " and (? is null or (amount > 0) = (? = 'in')) order by booked_at desc, id desc limit ?",
            (account_id, account_id, direction, direction, limit),
        ).fetchall()
    return {"transactions": [dict(row) for row in rows]}


@router.get("/v1/bills", operation_id="bills.list", dependencies=[require("bills:read")])
def list_bills(
    database: Db,
    status: Literal["open", "paid"] | None = None,
    reference: Annotated[str | None, Query(max_length=140)] = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Vendor bills booked by our own staff, the most urgent first."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from bills where (? is null or status = ?) and (? is null or reference = ?)"
            " order by due_on, id limit ?",
            (status, status, reference, reference, limit),
        ).fetchall()
    return {"bills": [dict(row) for row in rows]}


@router.get("/v1/bills/{bill_id}", operation_id="bills.get", dependencies=[require("bills:read")])
def show_bill(bill_id: str, database: Db) -> dict[str, Any]:
    """One vendor bill."""
    with database.read() as connection:
        row = connection.execute("select * from bills where id = ?", (bill_id,)).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such bill.")
    return dict(row)
