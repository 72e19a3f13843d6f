"""Contacts: search, optimistic updates, deletion."""

import re
import sqlite3
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from sandbox.oauth import idempotency
from sandbox.oauth.guard import Bearer, Db, require
from sandbox.oauth.refusals import RefusedError

router = APIRouter()
EMAIL = r"^[^@\s<>,;]{1,64}@[A-Za-z0-9.-]{1,189}\.[A-Za-z]{2,63}$"
_SHOWN = "id, company_id, name, email, phone, title, version, updated_at"


class Change(BaseModel):
    """The fields to set; the others stay. `version` may stand in for `If-Match`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(default=None, min_length=1, max_length=100)
    email: str | None = Field(default=None, max_length=254, pattern=EMAIL)
    phone: str | None = Field(default=None, pattern=r"^\+?[0-9 ()-]{5,30}$")
    title: str | None = Field(default=None, max_length=100)
    version: int | None = Field(default=None, ge=1)


class NewContact(BaseModel):
    """A contact of a company that is known."""

    model_config = ConfigDict(extra="forbid", strict=True)

    company_id: str = Field(min_length=1, max_length=40)
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(max_length=254, pattern=EMAIL)
    phone: str = Field(default="", pattern=r"^$|^\+?[0-9 ()-]{5,30}$")
    title: str = Field(default="", max_length=100)


@router.get("/v1/contacts", operation_id="contacts.list", dependencies=[require("contacts:read")])
def list_contacts(
    database: Db,
    query: Annotated[str | None, Query(max_length=100)] = None,
    company_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """Contacts whose name or e-mail address contains `query`."""
    with database.read() as connection:
        rows = connection.execute(
            f"select {_SHOWN} from contacts where deleted_at is null and (? is null or company_id = ?)"  # noqa: S608
            " and (? is null or instr(lower(name || ' ' || email), lower(?)) > 0) order by name limit ?",
            (company_id, company_id, query, query, limit),
        ).fetchall()
    return {"contacts": [dict(row) for row in rows]}


@router.get("/v1/contacts/{contact_id}", operation_id="contacts.get", dependencies=[require("contacts:read")])
def show_contact(contact_id: str, database: Db) -> JSONResponse:
    """One contact with its version, also as `ETag`."""
    with database.read() as connection:
        return _answer(_contact(connection, contact_id))


@router.post("/v1/contacts", operation_id="contacts.create", dependencies=[require("contacts:write")])
def create_contact(contact: NewContact, key: idempotency.Key, database: Db, token: Bearer) -> JSONResponse:
    """Add a contact, once per `Idempotency-Key`: 201, the same again when replayed, 422 for another body."""
    body = contact.model_dump()
    with database.write() as connection:
        known = idempotency.recall(connection, "contacts.create", token.username, key, body)
        if known is not None:
            return known
        if connection.execute("select 1 from companies where id = ?", (contact.company_id,)).fetchone() is None:
            raise RefusedError(400, "unknown_company", "No such company.")
        made = {"id": f"con_{uuid.uuid4().hex}", "updated_at": datetime.now(UTC).isoformat()} | body
        connection.execute(
            "insert into contacts (id, company_id, name, email, phone, title, updated_at)"
            " values (:id, :company_id, :name, :email, :phone, :title, :updated_at)",
            made,
        )
        shown = dict(_contact(connection, made["id"]))
        return idempotency.remember(connection, "contacts.create", token.username, key, body, shown)


@router.patch("/v1/contacts/{contact_id}", operation_id="contacts.update", dependencies=[require("contacts:write")])
def update_contact(
    contact_id: str, change: Change, database: Db, if_match: Annotated[str | None, Header()] = None
) -> JSONResponse:
    """Set fields of the version named by `If-Match: "3"` or `version`.

    428 when neither is given, 412 when the contact has moved on. One exception makes a repetition harmless:
    when the fields are already as asked for and the version is the very next one, the answer is 200 again,
    with `Idempotent-Replayed: true`, and nothing changes.
    """
    expected = _expected_version(change.version, if_match)
    asked = change.model_dump(exclude={"version"}, exclude_none=True)
    if not asked:
        raise RefusedError(400, "nothing_to_change", "Name at least one field to change.")
    with database.write() as connection:
        before = _contact(connection, contact_id)
        if before["version"] == expected + 1 and all(before[name] == asked[name] for name in asked):
            return _answer(before, {"Idempotent-Replayed": "true"})
        if before["version"] != expected:
            raise RefusedError(412, "version_mismatch", f"The contact is at version {before['version']}.")
        after = {**dict(before), **asked, "updated_at": datetime.now(UTC).isoformat()}
        connection.execute(
            "update contacts set name = :name, email = :email, phone = :phone, title = :title,"
            " version = version + 1, updated_at = :updated_at where id = :id",
            after,
        )
        return _answer(_contact(connection, contact_id))


@router.delete("/v1/contacts/{contact_id}", operation_id="contacts.delete", dependencies=[require("contacts:write")])
def delete_contact(contact_id: str, database: Db) -> dict[str, Any]:
    """Erase a contact's personal data for good; a repetition gives the same answer."""
    with database.write() as connection:
        if connection.execute("select 1 from contacts where id = ?", (contact_id,)).fetchone() is None:
            raise RefusedError(404, "not_found", "No such contact.")
        connection.execute(
            "update contacts set name = '', email = '', phone = '', title = '', version = version + 1,"
            " updated_at = ?1, deleted_at = ?1 where id = ?2 and deleted_at is null",
            (datetime.now(UTC).isoformat(), contact_id),
        )
    return {"id": contact_id, "deleted": True}


def _expected_version(version: int | None, if_match: str | None) -> int:
    if if_match is None:
        if version is None:
            raise RefusedError(428, "version_required", "If-Match or version is required.")
        return version
    match = re.fullmatch(r'"([0-9]{1,9})"', if_match.strip())
    if match is None or (version is not None and version != int(match[1])):
        raise RefusedError(400, "invalid_request", 'If-Match must be one version, such as "3".')
    return int(match[1])


def _contact(connection: sqlite3.Connection, contact_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        f"select {_SHOWN} from contacts where id = ? and deleted_at is null",  # noqa: S608 - constant columns
        (contact_id,),
    ).fetchone()
    if row is None:
        raise RefusedError(404, "not_found", "No such contact.")
    return row


def _answer(row: sqlite3.Row, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(dict(row), headers={"ETag": f'"{row["version"]}"', **(headers or {})})
