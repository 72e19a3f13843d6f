"""Companies, deals and notes."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from sandbox.oauth import idempotency
from sandbox.oauth.guard import Bearer, Db, require
from sandbox.oauth.refusals import RefusedError

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=100)]
Words = Annotated[str | None, Query(max_length=100)]


class Note(BaseModel):
    """A note on a contact."""

    model_config = ConfigDict(extra="forbid", strict=True)

    contact_id: str = Field(min_length=1, max_length=40)
    body: str = Field(min_length=1, max_length=4000)


@router.get("/v1/companies", operation_id="companies.list", dependencies=[require("companies:read")])
def list_companies(database: Db, query: Words = None, limit: Limit = 50) -> dict[str, Any]:
    """Companies whose name or domain contains `query`."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from companies where ? is null or instr(lower(name || ' ' || domain), lower(?)) > 0"
            " order by name limit ?",
            (query, query, limit),
        ).fetchall()
    return {"companies": [dict(row) for row in rows]}


@router.get("/v1/companies/{company_id}", operation_id="companies.get", dependencies=[require("companies:read")])
def show_company(company_id: str, database: Db) -> dict[str, Any]:
    """One company."""
    with database.read() as connection:
        row = connection.execute("select * from companies where id = ?", (company_id,)).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such company.")
    return dict(row)


@router.get("/v1/deals", operation_id="deals.list", dependencies=[require("deals:read")])
def list_deals(database: Db, company_id: str | None = None, stage: Words = None, limit: Limit = 50) -> dict[str, Any]:
    """Deals; `amount` is in minor units."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from deals where (? is null or company_id = ?) and (? is null or stage = ?)"
            " order by closes_on, id limit ?",
            (company_id, company_id, stage, stage, limit),
        ).fetchall()
    return {"deals": [dict(row) for row in rows]}


@router.get("/v1/notes", operation_id="notes.list", dependencies=[require("notes:read")])
def list_notes(
    database: Db,
    contact_id: str | None = None,
    idempotency_key: Annotated[str | None, Query(max_length=255)] = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Notes, the newest first; with `idempotency_key` at most the one made under it."""
    with database.read() as connection:
        rows = connection.execute(
            "select * from notes where (? is null or contact_id = ?) and (? is null or idempotency_key = ?)"
            " order by created_at desc, id desc limit ?",
            (contact_id, contact_id, idempotency_key, idempotency_key, limit),
        ).fetchall()
    return {"notes": [dict(row) for row in rows]}


@router.post("/v1/notes", operation_id="notes.create", dependencies=[require("notes:write")])
def create_note(note: Note, key: idempotency.Key, database: Db, token: Bearer) -> JSONResponse:
    """Add a note, once per `Idempotency-Key`: 201, the same again when replayed, 422 for another body."""
    body = note.model_dump()
    with database.write() as connection:
        known = idempotency.recall(connection, "notes.create", token.username, key, body)
        if known is not None:
            return known
        contact = connection.execute(
            "select 1 from contacts where id = ? and deleted_at is null", (note.contact_id,)
        ).fetchone()
        if contact is None:
            raise RefusedError(400, "unknown_contact", "No such contact.")
        made = {
            "id": f"not_{uuid.uuid4().hex}",
            "contact_id": note.contact_id,
            "body": note.body,
            "author": token.username,
            "created_at": datetime.now(UTC).isoformat(),
            "idempotency_key": key,
        }
        connection.execute(
            "insert into notes (id, contact_id, body, author, created_at, idempotency_key)"
            " values (:id, :contact_id, :body, :author, :created_at, :idempotency_key)",
            made,
        )
        return idempotency.remember(connection, "notes.create", token.username, key, body, made)
