"""Incidents: what went so wrong that somebody has to answer for it, what was done about it, and what was learned."""

from datetime import date
from typing import Any
from uuid import UUID

from api.auth import Principal, system
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.ids import new_id
from api.incidents.models import (
    Closing,
    Link,
    NewFollowUp,
    NewIncident,
    NewOwner,
    NewReview,
    NewSeverity,
    Note,
)
from api.pagination import PageRequest
from api.sql import query

#: As many entries of a timeline as come with their incident.
SHOWN = 200


async def list_incidents(principal: Principal, page: PageRequest, only: dict[str, Any]) -> dict[str, Any]:
    """The tenant's incidents, newest first.

    `only` may name a status (or `unresolved`), severity, environment, owner_id, and a Link as `about`: what they are
    about, or what their timeline names.
    """
    about: Link | None = only.get("about")
    named = {name: value for name, value in only.items() if name != "about"} | page.key()
    if about:
        named |= {"about_type": about.type, "about_id": str(about.id)}
    async with database().tenant_transaction(principal, "incidents.read") as connection:
        rows = await (await connection.execute(query("incidents/list_incidents"), _asked(named))).fetchall()
    cut = page.page(rows, "opened_at", "id")
    return cut | {"items": [_shown(row) for row in cut["items"]]}


async def get(principal: Principal, incident_id: UUID) -> dict[str, Any]:
    """One incident with its timeline, review and follow-ups. Problem 404 when there is none that the principal sees."""
    one = {"incident_id": incident_id, "after_at": None, "after_on": None, "after_id": None, "limit": SHOWN + 1}
    every = dict.fromkeys(("status", "owner_id"))
    async with database().tenant_transaction(principal, "incidents.read") as connection:
        asked = _asked({"id": incident_id, "limit": 1})
        found = await (await connection.execute(query("incidents/list_incidents"), asked)).fetchone()
        if found is None:
            raise Problem(404, "not_found", "There is no such incident.")
        entries = await (await connection.execute(query("incidents/list_entries"), one)).fetchall()
        review = await (await connection.execute(query("incidents/get_review"), one)).fetchone()
        follow_ups = await (await connection.execute(query("incidents/list_follow_ups"), one | every)).fetchall()
    return _shown(found) | {
        "entries": [_entry(row) for row in reversed(entries[:SHOWN])], "more": len(entries) > SHOWN, "review": review,
        "follow_ups": [_follow_up(row) for row in follow_ups],
    }  # fmt: skip


async def list_entries(principal: Principal, incident_id: UUID, page: PageRequest) -> dict[str, Any]:
    """The timeline, newest first. Problem 404 when there is no such incident."""
    async with database().tenant_transaction(principal, "incidents.read") as connection:
        asked = _asked({"id": incident_id, "limit": 1})
        if await (await connection.execute(query("incidents/list_incidents"), asked)).fetchone() is None:
            raise Problem(404, "not_found", "There is no such incident.")
        parameters = page.key() | {"incident_id": incident_id}
        rows = await (await connection.execute(query("incidents/list_entries"), parameters)).fetchall()
    cut = page.page(rows, "created_at", "id")
    return cut | {"items": [_entry(row) for row in cut["items"]]}


async def list_follow_ups(principal: Principal, page: PageRequest, only: dict[str, Any]) -> dict[str, Any]:
    """Follow-ups of every incident, what is due first is first; `only` may name a status and owner_id."""
    parameters: dict[str, Any] = dict.fromkeys(("incident_id", "status", "owner_id", "after_on", "after_id"))
    parameters |= only | {"limit": page.limit + 1}
    if page.after:
        try:
            parameters |= {"after_on": date.fromisoformat(page.after[0]), "after_id": UUID(page.after[1])}
        except (ValueError, TypeError, IndexError, AttributeError):
            raise Problem(400, "invalid_cursor", "The cursor is not one that this API gave out.") from None
    async with database().tenant_transaction(principal, "incidents.read") as connection:
        rows = await (await connection.execute(query("incidents/list_follow_ups"), parameters)).fetchall()
    cut = page.page(rows, "due_on", "id")
    return cut | {"items": [_follow_up(row) for row in cut["items"]]}


async def count(principal: Principal) -> dict[str, int]:
    """How many there are by state, how many of them the caller answers for, and how many follow-ups wait."""
    parameters = {"user_id": principal.claims["sub"] if principal.kind == "user" else None}
    async with database().tenant_transaction(principal, "incidents.read") as connection:
        row = await (await connection.execute(query("incidents/count_incidents"), parameters)).fetchone()
    return dict(row or {})


def _asked(named: dict[str, Any]) -> dict[str, Any]:
    every = ("id", "status", "severity", "environment", "owner_id", "about_type", "about_id", "after_at", "after_id")
    return dict.fromkeys(every) | named


def _pair(row: dict[str, Any], name: str) -> dict[str, Any] | None:
    return {"type": row[f"{name}_type"], "id": row[f"{name}_id"]} if row[f"{name}_type"] else None


def _owned(row: dict[str, Any]) -> dict[str, Any]:
    return {"owner": {"user_id": row["owner_id"], "name": row["owner_name"]}}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | _owned(row) | {"subject": _pair(row, "subject")}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"link": _pair(row, "link")}


def _follow_up(row: dict[str, Any]) -> dict[str, Any]:
    return row | _owned(row)


def _link(link: Link | None) -> dict[str, Any]:
    return {"link_type": link.type, "link_id": str(link.id)} if link else {}


async def open_incident(principal: Principal, body: NewIncident, once: Idempotency) -> Answer:
    """Opens an incident. psycopg CS409 when one about the same is open, which its message names."""
    about = {"subject_type": body.about.type, "subject_id": str(body.about.id)} if body.about else {}
    args = {"id": str(new_id())} | body.model_dump(mode="json", exclude={"about"}) | about
    return await database().call(principal, "open_incident_v1", args, once)


async def move(
    principal: Principal, incident_id: UUID, status: str, reason: str, once: Idempotency, link: Link | None = None
) -> Answer:
    """A step: acknowledged, contained or resolved. psycopg CS409 when it is there, or further, already."""
    args = {"id": incident_id, "status": status, "reason": reason} | _link(link)
    return await database().call(principal, "move_incident_v1", args, once)


async def note(principal: Principal, incident_id: UUID, body: Note, once: Idempotency) -> Answer:
    """Notes what is known, in any state of the incident. psycopg CS422 for a link to nothing that is there."""
    args = {"id": str(new_id()), "incident_id": incident_id, "text": body.text} | _link(body.link)
    return await database().call(principal, "note_incident_v1", args, once)


async def hand_over(principal: Principal, incident_id: UUID, body: NewOwner, once: Idempotency) -> Answer:
    """Says who answers for it from now on. psycopg CS422 for somebody who is no member."""
    args = {"id": incident_id, "owner_id": str(body.user_id), "reason": body.reason}
    return await database().call(principal, "change_incident_v1", args, once)


async def grade(principal: Principal, incident_id: UUID, body: NewSeverity, once: Idempotency) -> Answer:
    """Says how bad it is. psycopg CS409 once it is resolved."""
    args = {"id": incident_id, "severity": body.severity, "reason": body.reason}
    return await database().call(principal, "change_incident_v1", args, once)


async def review(principal: Principal, incident_id: UUID, body: NewReview, once: Idempotency) -> Answer:
    """Writes the review, with its follow-ups. psycopg CS403 for who resolved it, while somebody else may."""
    args = body.model_dump(mode="json") | {"id": incident_id, "review_id": str(new_id())}
    args["follow_ups"] = [each | {"id": str(new_id())} for each in args["follow_ups"]]
    return await database().call(principal, "review_incident_v1", args, once)


async def add_follow_up(principal: Principal, incident_id: UUID, body: NewFollowUp, once: Idempotency) -> Answer:
    """Something to be done so that it does not come back."""
    args = body.model_dump(mode="json") | {"id": str(new_id()), "incident_id": incident_id}
    return await database().call(principal, "add_follow_up_v1", args, once)


async def close_follow_up(
    principal: Principal, incident_id: UUID, follow_up_id: UUID, body: Closing, once: Idempotency
) -> Answer:
    """Closes what was done. psycopg CS403 for who neither answers for it nor manages incidents."""
    args = {"id": follow_up_id, "incident_id": incident_id, "note": body.note}
    return await database().call(principal, "close_follow_up_v1", args, once)


async def overdue(limit: int) -> list[dict[str, Any]]:
    """Follow-ups of any tenant that are overdue and of which nobody was told, as {tenant_id, id}."""
    found: list[dict[str, Any]] = await database().claim("claim_overdue_follow_ups_v1", limit)
    return found


async def tell_overdue(item: dict[str, Any]) -> bool:
    """Raises the alert about one of them; False when there is nothing to tell any more."""
    by = system(item["tenant_id"], "expire_exceptions")
    answer = await database().call(by, "tell_overdue_follow_up_v1", {"id": item["id"]})
    return bool(answer.result["recorded"])
