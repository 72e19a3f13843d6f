"""Faults on demand, and the journal of what really arrived.

Both sit outside the application: a fault hits a request before or after its whole work, and the journal
counts every delivery of a write to the application, also those whose sender never got an answer.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox import hangs
from sandbox.oauth.database import Database
from sandbox.oauth.guard import Db
from sandbox.oauth.refusals import RefusedError

MAX_BODY_BYTES = 64 * 1024

SCHEMA = """
create table if not exists faults (
    id integer primary key autoincrement, operation text not null, fault text not null,
    remaining integer not null
);
create table if not exists journal (
    id integer primary key autoincrement, at text not null, operation text not null, method text not null,
    path text not null, idempotency_key text, body_sha256 text not null, fault text,
    outcome text not null, status integer
);
"""


class Fault(BaseModel):
    """The next `times` requests of `operation` (`*` for any) go wrong in the way of `kind`.

    `rate_limit`: 429 with `Retry-After: retry_after` seconds, no work done. `error`: `status`, no work done.
    `hang`: wait `seconds`, or until the faults are forgotten, before the work, or with `after` between the work and
    the answer; the work is done even if the caller has left. `drop_after`: do the work, then drop the TCP
    connection without an answer. `duplicate`: the request is delivered to the application twice, and the first
    answer returned. `error_after`: do the work, then answer with `status`.
    """

    model_config = ConfigDict(extra="forbid")

    operation: str = Field(min_length=1, max_length=100)
    kind: Literal["rate_limit", "error", "hang", "drop_after", "duplicate", "error_after"]
    times: int = Field(default=1, ge=1, le=1000)
    seconds: float = Field(default=5, ge=0, le=300)
    retry_after: int = Field(default=1, ge=0, le=3600)
    status: int = Field(default=500, ge=500, le=599)
    after: bool = False


def take_fault(database: Database, operation: str) -> Fault | None:
    """The oldest fault that waits for this operation, used up once; None if there is none."""
    with database.write() as connection:
        row = connection.execute(
            "update faults set remaining = remaining - 1 where id = (select min(id) from faults"
            " where remaining > 0 and operation in (?, '*')) returning fault",
            (operation,),
        ).fetchone()
    return None if row is None else Fault.model_validate_json(row["fault"])


def forget_faults(database: Database) -> int:
    """Forgets every fault, also those that are at work; answers how many there were."""
    with database.write() as connection:
        return connection.execute("delete from faults").rowcount


def admin_routes(admin_token: str, operations: Sequence[str]) -> APIRouter:
    """`/_faults` and `/_log`, for whoever carries the admin token in `X-Sandbox-Admin`."""

    def guard(x_sandbox_admin: Annotated[str, Header()] = "") -> None:
        if not compare_digest(x_sandbox_admin.encode(), admin_token.encode()):
            raise RefusedError(401, "unauthorized", "X-Sandbox-Admin must carry the admin token of this sandbox.")

    router = APIRouter(dependencies=[Depends(guard)])

    @router.post("/_faults", status_code=201)
    def add_fault(fault: Fault, database: Db) -> dict[str, Any]:
        if fault.operation not in (*operations, "*"):
            raise RefusedError(400, "unknown_operation", f"Operations are: {', '.join(sorted(operations))}, *")
        with database.write() as connection:
            cursor = connection.execute(
                "insert into faults (operation, fault, remaining) values (?, ?, ?)",
                (fault.operation, fault.model_dump_json(), fault.times),
            )
        return {"id": cursor.lastrowid, **fault.model_dump()}

    @router.get("/_faults")
    def list_faults(database: Db) -> dict[str, Any]:
        with database.read() as connection:
            rows = connection.execute("select * from faults where remaining > 0 order by id").fetchall()
        waiting = [json.loads(row["fault"]) | {"id": row["id"], "remaining": row["remaining"]} for row in rows]
        return {"faults": waiting}

    @router.delete("/_faults")
    async def delete_faults(request: Request, database: Db) -> dict[str, Any]:
        deleted = await run_in_threadpool(forget_faults, database)
        hangs.of(request.app).end()
        return {"deleted": deleted}

    @router.get("/_log")
    def read_journal(
        database: Db, after: int = 0, operation: str | None = None, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        with database.read() as connection:
            rows = connection.execute(
                "select * from journal where id > ? and (? is null or operation = ?)"
                " and (? is null or idempotency_key = ?) order by id limit 10000",
                (after, operation, operation, idempotency_key, idempotency_key),
            ).fetchall()
        return {"entries": [dict(row) for row in rows]}

    return router


@dataclass
class _Request:
    """A request read to its end, so that it can be delivered to the application any number of times."""

    scope: Scope
    receive: Receive
    operation: str
    body: bytes

    def receiver(self) -> Receive:
        waiting = [{"type": "http.request", "body": self.body, "more_body": False}]

        async def receive() -> Message:
            return waiting.pop() if waiting else await self.receive()

        return receive

    def idempotency_key(self) -> str | None:
        for name, value in self.scope["headers"]:
            if name == b"idempotency-key":
                return str(value.decode("latin-1"))
        return None


@dataclass
class _Answer:
    """What the application sent, held back until the fault says what becomes of it."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def replayed(self) -> bool:
        return any(name == b"idempotent-replayed" for name, _ in self.messages[0]["headers"])


class Faults:
    """ASGI middleware: applies waiting faults and keeps the journal, for routes that have an operation id."""

    def __init__(
        self, app: ASGIApp, *, database: Database, routes: Sequence[BaseRoute], drop: Callable[[Scope], None]
    ) -> None:
        self._app = app
        self._database = database
        self._routes = routes
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except ClientDisconnect:
            return  # a request that was cut off in the middle has not arrived
        if body is None:
            await _problem(413, "too_large", f"A body may have {MAX_BODY_BYTES} bytes.")(scope, receive, send)
            return
        operation = self._operation(scope)
        request = _Request(scope, receive, operation or "", body)
        if operation is None:
            await self._app(scope, request.receiver(), send)
            return
        over = hangs.of(scope["app"]).mark()
        fault = await run_in_threadpool(take_fault, self._database, operation)
        if fault is None:
            for message in (await self._deliver(request, None)).messages:
                await send(message)
        else:
            await self._misbehave(request, fault, send, over)

    async def _misbehave(self, request: _Request, fault: Fault, send: Send, over: asyncio.Event) -> None:
        scope, receive = request.scope, request.receive
        if fault.kind in ("rate_limit", "error"):
            refusal = _problem(fault.status, "internal_error", "Something went wrong.")
            if fault.kind == "rate_limit":
                refusal = _problem(429, "rate_limited", "Too many requests.")
                refusal.headers["Retry-After"] = str(fault.retry_after)
            entry = await run_in_threadpool(self._received, request, fault.kind)
            await run_in_threadpool(self._finished, entry, "not_done", refusal.status_code)
            await refusal(scope, receive, send)
            return
        if fault.kind == "hang" and not fault.after:
            await hangs.wait(fault.seconds, over)
        answer = await self._deliver(request, fault.kind)
        if fault.kind == "duplicate":
            await self._deliver(request, fault.kind)
        if fault.kind == "hang" and fault.after:
            await hangs.wait(fault.seconds, over)
        if fault.kind == "drop_after":
            self._drop(scope)
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if fault.kind == "error_after":
            failure = _problem(fault.status, "internal_error", "Something went wrong.")
            await failure(scope, receive, send)
            return
        for message in answer.messages:
            await send(message)

    async def _deliver(self, request: _Request, fault: str | None) -> _Answer:
        entry = await run_in_threadpool(self._received, request, fault)
        answer = _Answer()
        try:
            await self._app(dict(request.scope), request.receiver(), answer.send)
        except Exception:
            await run_in_threadpool(self._finished, entry, "failed", 500)
            raise
        outcome = "refused" if answer.status < 500 else "failed"
        if answer.status < 400:
            outcome = "replayed" if answer.replayed else "done"
        await run_in_threadpool(self._finished, entry, outcome, answer.status)
        return answer

    def _operation(self, scope: Scope) -> str | None:
        for route in self._routes:
            operation = getattr(route, "operation_id", None)
            if operation is not None and route.matches(scope)[0] is Match.FULL:
                return str(operation)
        return None

    def _received(self, request: _Request, fault: str | None) -> int | None:
        """Write the entry before the work starts: after a kill it shows what arrived and was not finished."""
        if request.scope["method"] in ("GET", "HEAD"):
            return None
        with self._database.write() as connection:
            cursor: sqlite3.Cursor = connection.execute(
                "insert into journal (at, operation, method, path, idempotency_key, body_sha256, fault,"
                " outcome) values (?, ?, ?, ?, ?, ?, ?, 'received')",
                (
                    datetime.now(UTC).isoformat(),
                    request.operation,
                    request.scope["method"],
                    request.scope["path"],
                    request.idempotency_key(),
                    hashlib.sha256(request.body).hexdigest(),
                    fault,
                ),
            )
        return cursor.lastrowid

    def _finished(self, entry: int | None, outcome: str, status: int) -> None:
        if entry is None:
            return
        with self._database.write() as connection:
            connection.execute("update journal set outcome = ?, status = ? where id = ?", (outcome, status, entry))


def _problem(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": code, "message": message}, status_code=status)


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when it is longer than `MAX_BODY_BYTES`."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body
