"""The CRM's own webhooks: what happens in it is sent, signed, to whoever registered an address for it.

Events are written down by the very statement that makes the message, contact or note, and sent from there: none is lost
when the process ends, and each is sent again until it is taken or its tries are over. They are signed as
https://www.standardwebhooks.com says: one id for all tries of an event, and the time of each try.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field

from sandbox.crm.contacts import EMAIL
from sandbox.crm.seed import INBOX_ADDRESS
from sandbox.oauth.database import Database
from sandbox.oauth.guard import Db
from sandbox.oauth.refusals import RefusedError

log = logging.getLogger("sandbox.crm.webhooks")
#: Seconds after a try that was not taken; after the last of them an event is given up.
PAUSES = (1, 5, 30, 120, 600)
#: How long a receiver may take, and how often what is due is looked for.
TIMEOUT_SECONDS, LOOK_SECONDS = 10, 0.25
EVENTS = (
    "message.received", "message.sent", "contact.created", "contact.updated", "contact.deleted", "note.created",
)  # fmt: skip


def _when(name: str, moment: str, event: str, data: str) -> str:
    """A trigger that writes an event down for every address that asked for it."""
    return f"""
create trigger if not exists webhook_{name} {moment} begin
    insert into webhook_deliveries (event_id, endpoint_id, type, at, data, due_at)
    select 'msg_' || lower(hex(randomblob(16))), id, {event}, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), {data}, 0
    from webhook_endpoints where instr(events, ' ' || {event} || ' ') > 0;
end;
"""  # noqa: S608 - constants of this module


_CONTACT = (
    "json_object('id', new.id, 'company_id', new.company_id, 'name', new.name, 'email', new.email,"
    " 'phone', new.phone, 'title', new.title, 'version', new.version)"
)
SCHEMA = """
create table if not exists webhook_endpoints (
    id text primary key, url text not null, secret text not null, events text not null
);
create table if not exists webhook_deliveries (
    event_id text primary key, endpoint_id text not null references webhook_endpoints (id) on delete cascade,
    type text not null, at text not null, data text not null, tries integer not null default 0,
    due_at real, answer text, taken_at text
);
create index if not exists webhook_deliveries_due on webhook_deliveries (due_at) where due_at is not null;
""" + "".join(
    (
        _when(
            "messages", "after insert on messages",
            "case new.direction when 'in' then 'message.received' else 'message.sent' end",
            "json_object('id', new.id, 'direction', new.direction, 'at', new.at, 'from_address', new.from_address,"
            " 'to_address', new.to_address, 'contact_id', new.contact_id, 'subject', new.subject, 'body', new.body,"
            " 'in_reply_to', new.in_reply_to)",
        ),
        _when("contacts_new", "after insert on contacts", "'contact.created'", _CONTACT),
        _when(
            "contacts", "after update on contacts",
            "case when new.deleted_at is null then 'contact.updated' else 'contact.deleted' end", _CONTACT,
        ),
        _when(
            "notes", "after insert on notes", "'note.created'",
            "json_object('id', new.id, 'contact_id', new.contact_id, 'body', new.body, 'author', new.author)",
        ),
    )
)  # fmt: skip


class Endpoint(BaseModel):
    """Where events are sent, the secret that they are signed with (`whsec_` and base64), and which are."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern=r"^https?://[^\s]{1,290}$")
    secret: str = Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,120}={0,2}$")
    events: list[str] = Field(default_factory=lambda: list(EVENTS), min_length=1)


class Incoming(BaseModel):
    """A message that a customer writes to the desk."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sender: str = Field(max_length=254, pattern=EMAIL)
    subject: str = Field(min_length=1, max_length=200)
    body: str = Field(min_length=1, max_length=10_000)


def admin_routes(admin_token: str) -> APIRouter:
    """`/_webhooks` and `/_messages`, for whoever carries the admin token in `X-Sandbox-Admin`."""

    def guard(x_sandbox_admin: Annotated[str, Header()] = "") -> None:
        if not compare_digest(x_sandbox_admin.encode(), admin_token.encode()):
            raise RefusedError(401, "unauthorized", "X-Sandbox-Admin must carry the admin token of this sandbox.")

    router = APIRouter(dependencies=[Depends(guard)])
    router.add_api_route("/_webhooks", _register, methods=["POST"], status_code=201)
    router.add_api_route("/_webhooks/{endpoint_id}", _remove, methods=["DELETE"])
    router.add_api_route("/_webhooks/deliveries", _deliveries, methods=["GET"])
    router.add_api_route("/_messages", _arrive, methods=["POST"], status_code=201)
    return router


def _register(endpoint: Endpoint, database: Db) -> dict[str, Any]:
    """From now on these events are sent there; those of before are not."""
    unknown = set(endpoint.events) - set(EVENTS)
    if unknown:
        raise RefusedError(400, "unknown_event", f"Events are: {', '.join(EVENTS)}")
    endpoint_id = f"we_{uuid.uuid4().hex}"
    with database.write() as connection:
        connection.execute(
            "insert into webhook_endpoints values (?, ?, ?, ?)",
            (endpoint_id, endpoint.url, endpoint.secret, f" {' '.join(endpoint.events)} "),
        )
    return {"id": endpoint_id, "url": endpoint.url, "events": endpoint.events}


def _remove(endpoint_id: str, database: Db) -> dict[str, Any]:
    """Nothing is sent there any more, what waits included."""
    with database.write() as connection:
        gone = connection.execute("delete from webhook_endpoints where id = ?", (endpoint_id,)).rowcount
    return {"id": endpoint_id, "removed": bool(gone)}


def _deliveries(database: Db) -> dict[str, Any]:
    """What was sent or waits: its tries, what was answered last, and when it was taken."""
    with database.read() as connection:
        rows = connection.execute(
            "select event_id, endpoint_id, type, at, tries, due_at, answer, taken_at from webhook_deliveries"
            " order by at, event_id"
        ).fetchall()
    return {"deliveries": [dict(row) for row in rows]}


def _arrive(message: Incoming, database: Db) -> dict[str, Any]:
    """Puts a message into the inbox, as if its sender had written it."""
    made = {"id": f"msg_{uuid.uuid4().hex}", "at": datetime.now(UTC).isoformat(), "to": INBOX_ADDRESS}
    made |= message.model_dump()
    with database.write() as connection:
        connection.execute(
            "insert into messages (id, direction, at, from_address, to_address, contact_id, subject, body)"
            " values (:id, 'in', :at, :sender, :to, (select id from contacts where lower(email) = lower(:sender)"
            " and deleted_at is null), :subject, :body)",
            made,
        )
    return made


@asynccontextmanager
async def sending(database: Database) -> AsyncIterator[None]:
    """Sends what is due as long as the application runs."""
    work = asyncio.create_task(_send_on(database))
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def _send_on(database: Database) -> None:
    while True:
        try:
            for row in await asyncio.to_thread(_due, database):
                await _send(database, row)
        except sqlite3.Error as error:
            log.warning("webhooks wait: %s", error)
        await asyncio.sleep(LOOK_SECONDS)


def _due(database: Database) -> list[sqlite3.Row]:
    with database.read() as connection:
        return connection.execute(
            "select d.*, e.url, e.secret from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id"
            " where d.due_at <= ? order by d.due_at, d.at limit 20",
            (time.time(),),
        ).fetchall()


async def _send(database: Database, row: sqlite3.Row) -> None:
    """One try. Taken is what is answered with 2xx; a receiver that is gone (410) is not asked again."""
    import httpx

    body = json.dumps({"type": row["type"], "timestamp": row["at"], "data": json.loads(row["data"])}).encode()
    headers = signed(row["secret"], row["event_id"], int(time.time()), body) | {"content-type": "application/json"}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            response = await client.post(row["url"], content=body, headers=headers)
        status, answer = response.status_code, str(response.status_code)
    except httpx.HTTPError as error:
        status, answer = 0, type(error).__name__
    tries = row["tries"] + 1
    pause = pause_after(tries, status)
    due_at = None if pause is None else time.time() + pause
    taken_at = datetime.now(UTC).isoformat() if _taken(status) else None

    def note() -> None:
        with database.write() as connection:
            connection.execute(
                "update webhook_deliveries set tries = ?, due_at = ?, answer = ?, taken_at = ? where event_id = ?",
                (tries, due_at, answer, taken_at, row["event_id"]),
            )

    await asyncio.to_thread(note)


def pause_after(tries: int, status: int) -> float | None:
    """Seconds to wait before an event is sent again; None when it was taken, or is given up. Status 0: no answer."""
    if _taken(status) or status == 410 or tries > len(PAUSES):
        return None
    return PAUSES[tries - 1]


def _taken(status: int) -> bool:
    return 200 <= status < 300


def signed(secret: str, event_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks for a body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": event_id, "webhook-timestamp": str(at), "webhook-signature": signature}
