"""Incidents of a tenant: one that somebody is on, one that is resolved, and one that was reviewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api.ids import new_id
from tests.db.names import ACME, Environment, Row, Tenant
from tests.db.world import World

OPEN, MOVE, NOTE, REVIEW = "open_incident_v1", "move_incident_v1", "note_incident_v1", "review_incident_v1"


def today(days: int = 0) -> str:
    """A day from today on (UTC)."""
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def opening(here: Any, kind: str, of: str) -> Row:
    """Arguments to open an incident about something of a place (tests/db/examples.py)."""
    return new(here.tenant, here.environment) | {"subject_type": kind, "subject_id": of}


def unresolved(here: Any) -> Row:
    return {"id": here.id("app.incidents", "status in ('open', 'acknowledged', 'contained')")}


def new(tenant: Tenant = ACME, environment: Environment | None = "production", **more: object) -> Row:
    said = {"title": "Paid twice", "description": tenant.mark(environment or ""), "severity": "high"}
    return {"id": str(new_id()), "environment": environment} | said | more


def follow_up(tenant: Tenant = ACME, **more: object) -> Row:
    asked = {"what": "Ask for the invoice", "owner_id": tenant.person("operator"), "due_on": today(14)}
    return {"id": str(new_id())} | asked | more


def review(tenant: Tenant = ACME, **more: object) -> Row:
    said = {
        "review_id": str(new_id()), "what_happened": "Two invoices", "root_cause": "One number, two bills",
        "impact": {"money": [{"amount": 129900, "currency": "EUR"}], "records": 2, "people": 1, "note": ""},
        "went_well": "It was seen at once", "went_badly": "", "follow_ups": [follow_up(tenant)],
    }  # fmt: skip
    return said | more


def opened(world: World, tenant: Tenant = ACME, by: Row | None = None, **more: Any) -> str:
    args = new(tenant, **more)
    world.call(by or tenant.user("operator"), OPEN, args)
    return str(args["id"])


def moved(world: World, incident: str, status: str, tenant: Tenant = ACME, by: str = "operator", **more: Any) -> Row:
    args = {"id": incident, "status": status, "reason": "done"} | more
    return world.call(tenant.user(by, "aal1"), MOVE, args)


def resolved(world: World, tenant: Tenant = ACME, by: str = "operator", **more: Any) -> str:
    incident = opened(world, tenant, **more)
    moved(world, incident, "resolved", tenant, by)
    return incident


def yesterday(world: World, of: str) -> None:
    """Lets a follow-up have been due yesterday, past the guards, as if a day had gone by."""
    guards = ("incident_follow_ups_guard", "incident_follow_ups_keep_columns")
    for trigger in guards:
        world.root.execute(f"alter table app.incident_follow_ups disable trigger {trigger}".encode())
    world.root.execute("update app.incident_follow_ups set due_on = current_date - 1 where id = %s", (of,))
    for trigger in guards:
        world.root.execute(f"alter table app.incident_follow_ups enable always trigger {trigger}".encode())


def work(world: World, tenant: Tenant, environment: Environment) -> None:
    """Fills a place with incidents of every kind."""
    said = tenant.mark(environment)
    going = opened(world, tenant, environment=environment, subject_type="run", subject_id=tenant.run(environment))
    world.call(tenant.service(environment), NOTE, {"id": str(new_id()), "incident_id": going, "text": said})
    moved(world, going, "acknowledged", tenant, reason=said)
    resolved(world, tenant, environment=environment)
    done = resolved(world, tenant, environment=environment)
    learned = review(tenant, what_happened=said, root_cause=said)
    world.call(tenant.user("approver"), REVIEW, learned | {"id": done})
