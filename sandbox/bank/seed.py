"""What the bank knows on its first day. Deterministic: the demo relies on it (`sandbox/README.md`)."""

import sqlite3
from typing import Any

from sandbox.bank.iban import with_check_digits
from sandbox.oauth.database import Database

ACCOUNT_ID = "brightwater"
ACCOUNT_NAME = "Brightwater Goods BV"

SCHEMA = """
create table if not exists accounts (
    id text primary key, name text not null, iban text not null unique, currency text not null,
    balance integer not null check (balance >= 0)
);
create table if not exists bills (
    id text primary key, vendor_name text not null, iban text not null, amount integer not null,
    currency text not null, due_on text not null, reference text not null, memo text not null,
    status text not null check (status in ('open', 'paid')), paid_by text
);
create table if not exists transfers (
    id text primary key, kind text not null check (kind in ('payment', 'refund')), created_at text not null,
    from_account text not null references accounts (id), to_iban text not null, to_name text not null,
    amount integer not null check (amount > 0), currency text not null, reference text not null,
    bill_id text references bills (id), refunded_transaction text references transactions (id),
    username text not null, idempotency_key text not null
);
create index if not exists transfers_by_key on transfers (idempotency_key);
create table if not exists transactions (
    id text primary key, account_id text not null references accounts (id), booked_at text not null,
    amount integer not null, currency text not null, counterparty_name text not null,
    counterparty_iban text not null, reference text not null, transfer_id text references transfers (id)
);
create index if not exists transactions_by_account on transactions (account_id, booked_at);
"""

# Bank codes that no bank has: 00012345 in Germany, SAND in the Netherlands, Britain and Ireland.
IBANS = {
    "operating": with_check_digits("NL", "SAND0100200300"),
    "reserve": with_check_digits("NL", "SAND0100200400"),
    "northwind": with_check_digits("DE", "000123450532013000"),
    "harbour": with_check_digits("NL", "SAND0417164300"),
    "kestrel": with_check_digits("GB", "SAND60161331926819"),
    "lumen": with_check_digits("IE", "SAND93115212345678"),
    "alpine": with_check_digits("DE", "000123450440201907"),
    "juniper": with_check_digits("NL", "SAND0730011255"),
    "oakline": with_check_digits("GB", "SAND20041577700231"),
    "solstice": with_check_digits("DE", "000123450991188220"),
}

_BILLS = [
    (
        "bill_1042",
        "Northwind Paper GmbH",
        "northwind",
        129900,
        "2026-12-04",
        "INV-1042",
        "Paper, 40 boxes A4",
    ),
    (
        "bill_0777",
        "Harbour Logistics BV",
        "harbour",
        84250,
        "2026-12-09",
        "HL-2026-0777",
        "Freight, November",
    ),
    (
        "bill_3310",
        "Kestrel Software Ltd",
        "kestrel",
        1188000,
        "2026-12-15",
        "KS-3310",
        "Annual licence, 25 seats",
    ),
    ("bill_5521", "Lumen Energy DAC", "lumen", 46317, "2026-12-01", "LE-5521", "Electricity, October"),
    ("bill_0093", "Alpine Catering GmbH", "alpine", 27500, "2026-12-20", "AC-93", "Team lunch, 25 people"),
    (
        "bill_1017",
        "Northwind Paper GmbH",
        "northwind",
        129900,
        "2026-11-04",
        "INV-1017",
        "Paper, 40 boxes A4",
    ),
]
_TRANSACTIONS = [
    ("txn_0001", "2026-11-02T08:00:00Z", 780000, "Juniper Interiors", "juniper", "SO-2188"),
    ("txn_0002", "2026-11-03T08:00:00Z", -129900, "Northwind Paper GmbH", "northwind", "INV-1017"),
    ("txn_0003", "2026-11-06T08:00:00Z", 24000, "Juniper Interiors", "juniper", "SO-2201"),
    ("txn_0004", "2026-11-06T08:04:00Z", 24000, "Juniper Interiors", "juniper", "SO-2201"),
    ("txn_0005", "2026-11-10T08:00:00Z", 315000, "Oakline Clinics", "oakline", "SO-2207 thank you"),
    ("txn_0006", "2026-11-12T08:00:00Z", 8900, "Solstice Events", "solstice", "SO-2210"),
]


def seed(database: Database) -> None:
    """Fill an empty bank; a bank that has accounts is left as it is."""
    with database.write() as connection:
        if connection.execute("select 1 from accounts").fetchone() is None:
            _fill(connection)


def _fill(connection: sqlite3.Connection) -> None:
    _insert(
        connection,
        "accounts (id, name, iban, currency, balance)",
        [
            ("acc_operating", "Operating account", IBANS["operating"], "EUR", 5_000_000),
            ("acc_reserve", "Reserve account", IBANS["reserve"], "EUR", 12_000_000),
        ],
    )
    _insert(
        connection,
        "bills (id, vendor_name, iban, amount, currency, due_on, reference, memo, status)",
        [
            (id_, vendor, IBANS[key], amount, "EUR", due, reference, memo, _status(reference))
            for id_, vendor, key, amount, due, reference, memo in _BILLS
        ],
    )
    _insert(
        connection,
        "transactions (id, account_id, booked_at, amount, currency, counterparty_name, counterparty_iban, reference)",
        [
            (id_, "acc_operating", at, amount, "EUR", name, IBANS[key], reference)
            for id_, at, amount, name, key, reference in _TRANSACTIONS
        ],
    )


def _status(reference: str) -> str:
    return "paid" if reference == "INV-1017" else "open"


def _insert(connection: sqlite3.Connection, target: str, rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"insert into {target} values ({marks})", rows)  # noqa: S608 - constants above
