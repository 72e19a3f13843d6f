"""The only way to the database.

Two doors (supabase/migrations/*_foundation.sql): `call` is one statement that names the principal and calls
one function; `tenant_transaction` is a short transaction of reads. Both work through a transaction-mode
pooler: no prepared statements, no session state, no LISTEN.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from api.auth import Principal
from api.config import settings

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """One request under one key: `key` from the client, `request` a digest of everything that it asked for."""

    key: str
    request: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function answered; `replayed` when it is the stored answer of an earlier identical request."""

    result: Any
    replayed: bool


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


class Database:
    """A pool of connections of the login `countersign_api`, opened at the first use."""

    def __init__(self, url: str, size: int) -> None:
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            open=False,
            timeout=10,
            max_lifetime=600,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,
                "row_factory": dict_row,
                "application_name": "countersign",
                "connect_timeout": 5,
            },
        )

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        if self._pool.closed:
            await self._pool.open()
        async with self._pool.connection() as connection:
            yield connection

    async def call(
        self,
        principal: Principal,
        function: str,
        args: dict[str, Any],
        idempotency: Idempotency | None = None,
    ) -> Answer:
        """Calls `app.<function>(args)` as the principal, in one statement and one transaction.

        With `idempotency` a connection that was lost before the answer came is tried once more: the database
        keeps the answer under the key. Raises psycopg.Error; errors.from_database says what it means.
        """
        statement = "select app.call_v1(%s, %s, %s, %s, %s) as answer"
        parameters = (
            principal.to_claims(),
            function,
            Jsonb(args, dumps=_dumps),
            idempotency.key if idempotency else None,
            idempotency.request if idempotency else None,
        )
        answer = (await self._execute(statement, parameters, repeatable=idempotency is not None))["answer"]
        return Answer(answer["result"], answer["replayed"])

    async def claim(self, function: str, *args: Any) -> Any:
        """Calls one of the `claim_*` functions of the role `countersign_worker`, which belong to no tenant."""
        placeholders = ", ".join(["%s"] * len(args))
        async with self._connection() as connection, connection.transaction():
            await connection.execute("set local role countersign_worker")
            cursor = await connection.execute(f"select app.{function}({placeholders}) as answer", args)
            row = await cursor.fetchone()
            return row["answer"] if row else None

    @asynccontextmanager
    async def tenant_transaction(
        self, principal: Principal, permission: str
    ) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        """A transaction of reads as the principal, who must hold the permission; it has no other tenant's rows."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("select app.begin_v1(%s, %s)", (principal.to_claims(), permission))
            yield connection

    async def _execute(self, statement: str, parameters: tuple[Any, ...], *, repeatable: bool) -> Row:
        try:
            async with self._connection() as connection:
                cursor = await connection.execute(statement, parameters)
                row = await cursor.fetchone()
        except psycopg.OperationalError as error:
            if not repeatable or (error.sqlstate is not None and not error.sqlstate.startswith(("57P", "08"))):
                raise
            await self._pool.check()  # a restarted server leaves every pooled connection dead, not only this one
            return await self._execute(statement, parameters, repeatable=False)
        return row or {}


@lru_cache(maxsize=1)
def database() -> Database:
    """The database of this process."""
    return Database(settings().database_url, settings().pool_size)
