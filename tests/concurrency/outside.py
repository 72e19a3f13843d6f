"""The outside world's own account of what happened, and the ways to make it misbehave (sandbox/README.md)."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.oauth.files import admin_token
from sandbox.stack import Stack


@dataclass
class Outside:
    """The bank and the CRM of a stack, read from their own files: never from what Countersign says of them."""

    stack: Stack

    def outside(self, provider: str, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        file = self.stack.state / f"sandbox_{provider}.sqlite3"
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, parameters)]

    def outside_change(self, provider: str, statement: str, *parameters: Any) -> None:
        """Changes a provider's own file, as something that nobody told us about."""
        with contextlib.closing(sqlite3.connect(self.stack.state / f"sandbox_{provider}.sqlite3", timeout=30)) as file:
            file.execute(statement, parameters)
            file.commit()

    def balance(self) -> int:
        return int(self.outside("bank", "select balance from accounts where id = 'acc_operating'")[0]["balance"])

    def payments(self, action_id: str) -> list[dict[str, Any]]:
        return self.outside("bank", "select * from transfers where idempotency_key = ?", f"cs_{action_id}")

    def messages(self, action_id: str) -> list[dict[str, Any]]:
        return self.outside("crm", "select * from messages where client_reference = ?", f"cs_{action_id}")

    def journal(self, provider: str, operation: str, after: int = 0) -> list[dict[str, Any]]:
        statement = "select * from journal where operation = ? and id > ? order by id"
        return self.outside(provider, statement, operation, after)

    def journal_end(self, provider: str) -> int:
        return int(self.outside(provider, "select coalesce(max(id), 0) as n from journal")[0]["n"])

    def break_next(self, provider: str, operation: str, kind: str, **more: Any) -> None:
        """The next call of the operation goes wrong (sandbox/README.md, Faults)."""
        headers = {"X-Sandbox-Admin": admin_token(self.stack.state, provider)}
        body = {"operation": operation, "kind": kind} | more
        url = f"{self.stack.url[provider]}/_faults"
        assert httpx.post(url, json=body, headers=headers, timeout=30).status_code == 201

    def mend(self, provider: str) -> None:
        """Forgets every fault that still waits."""
        headers = {"X-Sandbox-Admin": admin_token(self.stack.state, provider)}
        httpx.delete(f"{self.stack.url[provider]}/_faults", headers=headers, timeout=30).raise_for_status()
