"""The only way to the database.

Two doors (supabase/migrations/*_foundation.sql): `call` is one statement that names the principal and calls
one function; `tenant_transaction` is a short transaction of reads. Both work through a transaction-mode
pooler: no prepared statements, no session state, no LISTEN.
"""

import asyncio
import json
import logging
import random
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.auth import Principal
from api.config import settings

Row = dict[str, Any]
log = logging.getLogger("countersign.db")
#: SQLSTATEs of a transaction that the server undid whole so that others could go on (serialization, deadlock).
UNDONE = frozenset({"40001", "40P01"})
#: How often such a statement is made in all.
TRIES = 3


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


def _plain(value: object) -> str:
    # Times as RFC 3339, which str() is not; what else is no JSON is a UUID or the like.
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _dumps(value: Any) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False)


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
            # Short, so that the pauses between tries stay short too, and the first request after an outage connects.
            reconnect_timeout=5,
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

    async def _take(self) -> psycopg.AsyncConnection[Row]:
        """A connection that is not known to be dead; PoolTimeout when there is none to be had."""
        if self._pool.closed:
            # Waits for the pool's first connection: whoever asks before it is there makes the pool open one more.
            await self._pool.open(wait=True, timeout=self._pool.timeout)
        while True:
            connection = await self._pool.getconn()
            try:
                gone = await _has_gone(connection)
            except BaseException:
                await self._pool.putconn(connection)
                raise
            if not gone:
                return connection
            await connection.close()
            await self._pool.putconn(connection)  # which puts a new one in its place

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        connection = await self._take()
        try:
            async with connection:
                yield connection
        finally:
            await self._pool.putconn(connection)

    async def call(
        self,
        principal: Principal,
        function: str,
        args: dict[str, Any],
        idempotency: Idempotency | None = None,
    ) -> Answer:
        """Calls `app.<function>(args)` as the principal, in one statement and one transaction.

        What the server undid for the sake of others (a deadlock) is done again, three times at most. With
        `idempotency` a connection that was lost before the answer came is tried once more: the database keeps the
        answer under the key. Raises psycopg.Error; errors.from_database says what it means.
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

    async def insist(self, principal: Principal, function: str, args: dict[str, Any], seconds: float) -> Answer:
        """As `call`, of a function that refuses to work twice (CS409): repeated while the database is away.

        For `seconds`; then raises what the last try raised. A CS409 may be the answer to an own earlier try.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self.call(principal, function, args)
            except psycopg.OperationalError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.25)

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

    async def stored(self, principal: Principal, permission: str, once: Idempotency | None) -> Answer | None:
        """What this very request was answered before, or None when it is new (or has no key).

        For whoever would refuse a request before `call` sees it: a repeated one gets its answer, not a new refusal.
        Raises psycopg.Error: CS403 without the permission, CS422 for another request under the key.
        """
        if once is None:
            return None
        statement = "select private.find_answer(%s, %s) as answer"
        async with self.tenant_transaction(principal, permission) as connection:
            row = await (await connection.execute(statement, (once.key, once.request))).fetchone()
        return Answer(row["answer"], replayed=True) if row and row["answer"] is not None else None

    async def _execute(
        self, statement: str, parameters: tuple[Any, ...], *, repeatable: bool, tries: int = TRIES
    ) -> Row:
        try:
            async with self._connection() as connection:
                cursor = await connection.execute(statement, parameters)
                row = await cursor.fetchone()
        except psycopg.OperationalError as error:
            if error.sqlstate in UNDONE and tries > 1:
                # The statement is the whole transaction, and nothing outside of the database belongs to it.
                log.warning("a call of %s was undone and is made again: %s", parameters[1], error.sqlstate)
                await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - it keeps two apart, no more
                return await self._execute(statement, parameters, repeatable=repeatable, tries=tries - 1)
            lost = error.sqlstate is None or error.sqlstate.startswith(("57P", "08"))
            if not repeatable or not lost or isinstance(error, PoolTimeout):
                raise
            return await self._execute(statement, parameters, repeatable=False, tries=tries)
        return row or {}


async def _has_gone(connection: psycopg.AsyncConnection[Row]) -> bool:
    """Whether the server has left an idle connection: then its farewell, or the end of the stream, waits to be read.

    Asking the socket costs no round trip; only when something does wait is the server itself asked.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        await AsyncConnectionPool.check_connection(connection)
    except psycopg.Error:
        return True
    return False


@lru_cache(maxsize=1)
def database() -> Database:
    """The database of this process."""
    return Database(settings().database_url, settings().pool_size)
