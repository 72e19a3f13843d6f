"""The inbox and outgoing messages. Sending is not idempotent, as with most providers of its kind."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from sandbox.crm.contacts import EMAIL
from sandbox.crm.seed import INBOX_ADDRESS
from sandbox.oauth.guard import Db, require
from sandbox.oauth.refusals import RefusedError

router = APIRouter()


class Outgoing(BaseModel):
    """A message to send. `client_reference` is stored as it is, so that the sender can look for it later."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to: str = Field(max_length=254, pattern=EMAIL)
    subject: str = Field(min_length=1, max_length=200)
    body: str = Field(min_length=1, max_length=10_000)
    in_reply_to: str | None = Field(default=None, max_length=40)
    client_reference: str | None = Field(default=None, min_length=1, max_length=255)


@router.get("/v1/messages", operation_id="messages.list", dependencies=[require("messages:read")])
def list_messages(
    database: Db,
    direction: Literal["in", "out"] | None = None,
    contact_id: str | None = None,
    marker: Annotated[str | None, Query(max_length=255)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """Messages, the newest first; with `marker` those that were sent with it as `client_reference`."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from messages where (? is null or direction = ?) and (? is null or contact_id = ?)"
            " and (? is null or client_reference = ?) order by at desc, id desc limit ?",
            (direction, direction, contact_id, contact_id, marker, marker, limit),
        ).fetchall()
    return {"messages": [dict(row) for row in rows]}


@router.get("/v1/messages/{message_id}", operation_id="messages.get", dependencies=[require("messages:read")])
def show_message(message_id: str, database: Db) -> dict[str, Any]:
    """One message."""
    with database.read() as connection:
        row = connection.execute("select * from messages where id = ?", (message_id,)).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such message.")
    return dict(row)


@router.post(
    "/v1/messages",
    operation_id="messages.send",
    status_code=201,
    dependencies=[require("messages:send")],
)
def send_message(message: Outgoing, database: Db) -> dict[str, Any]:
    """Send a message. Every call sends one more: an `Idempotency-Key` is ignored."""
    with database.write() as connection:
        if message.in_reply_to is not None:
            answered = connection.execute("select 1 from messages where id = ?", (message.in_reply_to,))
            if answered.fetchone() is None:
                raise RefusedError(400, "unknown_message", "There is no message to reply to.")
        contact = connection.execute(
            "select id from contacts where lower(email) = lower(?) and deleted_at is null", (message.to,)
        ).fetchone()
        sent = {
            "id": f"msg_{uuid.uuid4().hex}",
            "direction": "out",
            "at": datetime.now(UTC).isoformat(),
            "from_address": INBOX_ADDRESS,
            "to_address": message.to,
            "contact_id": None if contact is None else contact["id"],
            "subject": message.subject,
            "body": message.body,
            "in_reply_to": message.in_reply_to,
            "client_reference": message.client_reference,
        }
        connection.execute(
            "insert into messages values (:id, :direction, :at, :from_address, :to_address, :contact_id,"
            " :subject, :body, :in_reply_to, :client_reference)",
            sent,
        )
    return sent
