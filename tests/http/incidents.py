"""Incidents over HTTP, as people make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.organisation import Member, Organisation, ok, once


def a_day(days: int) -> str:
    """So many days from today (UTC)."""
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def opened(person: Member, **more: Any) -> dict[str, Any]:
    """An incident of the sandbox, opened by a person."""
    body = {"title": "Paid twice", "severity": "high", "environment": "sandbox"} | more
    made: dict[str, Any] = ok(person.api.post("/v1/incidents", json=body, headers=once()))
    return made


def did(person: Member, incident: str, what: str, /, **body: Any) -> dict[str, Any]:
    """What a person does about an incident."""
    answer: dict[str, Any] = ok(person.api.post(f"/v1/incidents/{incident}/{what}", json=body, headers=once()))
    return answer


def an_incident(organisation: Organisation, due: Member) -> dict[str, Any]:
    """A follow-up, with the id of its new incident."""
    incident = opened(organisation.owner)["id"]
    return did(
        organisation.owner, incident, "follow-ups", what="Ask the bank", owner_id=due.user_id, due_on=a_day(7)
    )  # fmt: skip
