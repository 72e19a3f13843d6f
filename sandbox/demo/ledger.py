"""The bank as the bank itself sees it: its own books and its own journal, past Countersign altogether."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sandbox.oauth.files import admin_token


@dataclass(frozen=True)
class Snapshot:
    """Balances in minor units and IBANs by account, every transfer ever made, and the status of each bill."""

    balances: Mapping[str, int]
    ibans: Mapping[str, str]
    transfers: tuple[Mapping[str, Any], ...]
    bills: Mapping[str, str]


class Ledger:
    """Reads the bank's database file (read-only) and its journal of deliveries."""

    def __init__(self, state: Path, url: str) -> None:
        self._file = state / "sandbox_bank.sqlite3"
        self._http = httpx.Client(
            base_url=url, headers={"X-Sandbox-Admin": admin_token(state, "bank")}, trust_env=False, timeout=30
        )

    def look(self) -> Snapshot:
        connection = sqlite3.connect(f"{self._file.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("begin")  # the reads see one moment
            balances = dict(connection.execute("select id, balance from accounts").fetchall())
            ibans = dict(connection.execute("select id, iban from accounts").fetchall())
            transfers = connection.execute("select * from transfers order by created_at, id").fetchall()
            bills = dict(connection.execute("select reference, status from bills").fetchall())
        finally:
            connection.close()
        return Snapshot(balances, ibans, tuple(dict(row) for row in transfers), bills)

    def deliveries(self, idempotency_key: str) -> list[dict[str, Any]]:
        """Every time that an order with this key arrived at the bank, and what came of it."""
        answer = self._http.get("/_log", params={"idempotency_key": idempotency_key})
        answer.raise_for_status()
        entries: list[dict[str, Any]] = answer.json()["entries"]
        return entries

    def hang_up_once(self) -> None:
        """Makes the bank drop the connection after it has made the next payment, without an answer."""
        self._http.post("/_faults", json={"operation": "payments.create", "kind": "drop_after"}).raise_for_status()

    def behave(self) -> None:
        """Takes back what `hang_up_once` asked for, if it is still to come."""
        self._http.delete("/_faults").raise_for_status()
