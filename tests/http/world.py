"""A running stack and the views behind its back that tests need: the database's rows, and what the bank really did."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from psycopg import sql

from sandbox.oauth.files import admin_token
from sandbox.stack import Databases, Stack
from tests.cluster import Database

#: What a table holds: the number of its rows and a digest of their contents.
Contents = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class World:
    """The parts of one machine: the stack, and the database that it runs on."""

    stack: Stack
    database: Database

    @property
    def api(self) -> str:
        return self.stack.url["api"]

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the cluster's superuser sees, whom no policy and no trigger of ours hides anything from."""
        with self.database.connect("superuser") as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def contents(self) -> Contents:
        """Every table of the application and the vault, as (number of rows, digest of all rows).

        But for `gate_facts`, where any request that looks at the rules of an epoch first keeps what it saw, and
        `key_uses`, where any request of a key may be noted.
        """
        with self.database.connect("superuser") as connection:
            tables = connection.execute(
                "select schemaname, tablename from pg_tables"
                " where schemaname in ('app', 'private') and tablename not in ('gate_facts', 'key_uses')"
                " union all values ('vault', 'secrets') order by 1, 2"
            ).fetchall()
            one = sql.SQL(
                "select {name}, count(*), md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
            )
            query = sql.SQL(" union all ").join(
                one.format(name=sql.Literal(f"{schema}.{table}"), table=sql.Identifier(schema, table))
                for schema, table in tables
            )
            return {name: (count, digest) for name, count, digest in connection.execute(query)}

    def transfers(self, action_id: str) -> list[dict[str, Any]]:
        """The transfers that the bank made for an action: read from the bank's own file."""
        return self._bank("select * from transfers where idempotency_key = ?", f"cs_{action_id}")

    def balance(self, account: str) -> int:
        """What is in one of the bank's accounts, in cents."""
        return int(self._bank("select balance from accounts where id = ?", account)[0]["balance"])

    def _bank(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        return _sqlite(self.stack.state / "sandbox_bank.sqlite3", statement, parameters)

    def notes(self, action_id: str) -> list[dict[str, Any]]:
        """The notes that the CRM keeps for an action."""
        statement = "select * from notes where idempotency_key = ?"
        return _sqlite(self.stack.state / "sandbox_crm.sqlite3", statement, (f"cs_{action_id}",))

    def provider(self, name: str) -> httpx.Client:
        """A client of the journal and the faults of `bank` or `crm`."""
        headers = {"X-Sandbox-Admin": admin_token(self.stack.state, name)}
        return httpx.Client(base_url=self.stack.url[name], headers=headers, timeout=60, trust_env=False)

    def deliveries(self, name: str, operation: str) -> list[dict[str, Any]]:
        """Every write of one operation that arrived at a provider, answered or not."""
        with self.provider(name) as client:
            entries: list[dict[str, Any]] = client.get("/_log", params={"operation": operation}).json()["entries"]
            return entries

    def end_the_time_of(self, exception_id: str) -> None:
        """Makes it too late to decide an exception, which only the cluster's superuser can."""
        statements = (
            "alter table app.exceptions disable trigger exceptions_keep_columns",
            f"update app.exceptions set expires_at = now() where id = '{exception_id}'",
            "alter table app.exceptions enable always trigger exceptions_keep_columns",
        )
        with self.database.connect("superuser") as connection:
            for statement in statements:
                connection.execute(statement.encode())

    @contextmanager
    def settings(self, **changed: str) -> Iterator[None]:
        """Runs the API with other settings for a while."""
        before = self.stack.settings
        self._deploy({**before, **changed})
        try:
            yield
        finally:
            self._deploy(before)

    def _deploy(self, settings: Mapping[str, str]) -> None:
        self.stack.kill("api")
        self.stack.settings = settings
        self.stack.restart("api")

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        """A client of the API with a bearer token, or without any."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.Client(base_url=self.api, headers=headers, timeout=60, trust_env=False)


def _sqlite(file: Path, statement: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement, parameters)]
    finally:
        connection.close()


@contextmanager
def running(
    state: Path,
    database: Database,
    *,
    api: str | None = None,
    access_seconds: int = 3600,
    settings: Mapping[str, str] | None = None,
    access_logs: bool = False,
) -> Iterator[World]:
    """A stack on a database of its own; scheduled functions run when a test calls `stack.tick`.

    api: where the application finds its database, when not directly there.
    """
    databases = Databases(api=api or database.url("countersign_api"), auth=database.url("supabase_auth_admin"))
    stack = Stack(
        state,
        databases,
        schedule=None,
        access_seconds=access_seconds,
        settings=settings or {},
        access_logs=access_logs,
    )
    with stack:
        yield World(stack, database)
