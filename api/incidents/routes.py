"""Incidents and their review (control 8)."""

from typing import Any, Literal
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.errors import Problem
from api.gate.models import Environment
from api.idempotency import Once, result_of
from api.incidents import service
from api.incidents.models import (
    Acknowledge,
    Asked,
    Closing,
    Containment,
    Entry,
    FollowUp,
    FollowUpState,
    Incident,
    IncidentCounts,
    IncidentDetail,
    IncidentState,
    Kind,
    Link,
    NewEntry,
    NewFollowUp,
    NewIncident,
    NewOwner,
    NewReview,
    NewSeverity,
    Note,
    Resolve,
    Severity,
)
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("incidents")


@router.get("/incidents", operation_id="list_incidents", response_model=Page[Incident])
async def list_incidents(
    caller: Caller,
    page: Paging,
    status: Asked | None = None,
    severity: Severity | None = None,
    environment: Environment | None = None,
    owner_id: UUID | None = None,
    about_type: Kind | None = None,
    about_id: UUID | None = None,
) -> Any:
    """Incidents, newest first. `about_type` and `about_id`, together, ask for what is about a thing or names it."""
    if (about_type is None) != (about_id is None):
        raise Problem(422, "invalid_request", "`about_type` and `about_id` are given together.")
    about = Link(type=about_type, id=about_id) if about_type and about_id else None
    only = {"status": status, "severity": severity, "environment": environment, "owner_id": owner_id, "about": about}
    return await service.list_incidents(caller, page, only)


@router.get("/incidents/count", operation_id="count_incidents", response_model=IncidentCounts)
async def count_incidents(caller: Caller) -> Any:
    """How many there are by state, how many the caller answers for, and how many follow-ups wait."""
    return await service.count(caller)


@router.get("/incidents/follow-ups", operation_id="list_follow_ups", response_model=Page[FollowUp])
async def list_follow_ups(
    caller: Caller, page: Paging, status: Literal["open", "closed"] | None = None, owner_id: UUID | None = None
) -> Any:
    """What is to be done after incidents, whichever they are; what is due first is first."""
    return await service.list_follow_ups(caller, page, {"status": status, "owner_id": owner_id})


# Of UUIDs alone, so that another method on /incidents/count is told which one there is.
@router.get("/incidents/{incident_id:uuid}", operation_id="get_incident", response_model=IncidentDetail)
async def get_incident(incident_id: UUID, caller: Caller) -> Any:
    """One incident: what is known, its timeline, its review, and what is to be done."""
    return await service.get(caller, incident_id)


@router.get("/incidents/{incident_id}/entries", operation_id="list_incident_entries", response_model=Page[Entry])
async def list_entries(incident_id: UUID, caller: Caller, page: Paging) -> Any:
    """The timeline, newest first. Nobody edits or deletes an entry."""
    return await service.list_entries(caller, incident_id, page)


@router.post("/incidents", status_code=201, operation_id="open_incident", response_model=IncidentState)
async def open_incident(body: NewIncident, caller: Caller, once: Once, response: Response) -> Any:
    """Says that something is wrong. 409 when an incident about the same is open: it names it, to be noted on."""
    return result_of(await service.open_incident(caller, body, once), response)


@router.post("/incidents/{incident_id}/acknowledge", operation_id="acknowledge_incident", response_model=IncidentState)
async def acknowledge(incident_id: UUID, body: Acknowledge, caller: Caller, once: Once, response: Response) -> Any:
    """Says that somebody is on it. 409 when somebody is already."""
    return result_of(await service.move(caller, incident_id, "acknowledged", body.note, once), response)


@router.post("/incidents/{incident_id}/contain", operation_id="contain_incident", response_model=IncidentState)
async def contain(incident_id: UUID, body: Containment, caller: Caller, once: Once, response: Response) -> Any:
    """Says that it gets no worse any more, and how that was done."""
    return result_of(await service.move(caller, incident_id, "contained", body.how, once, body.link), response)


@router.post("/incidents/{incident_id}/resolve", operation_id="resolve_incident", response_model=IncidentState)
async def resolve(incident_id: UUID, body: Resolve, caller: Caller, once: Once, response: Response) -> Any:
    """Says that it is over, and why; also of one that needed no containment. What is left is the review."""
    return result_of(await service.move(caller, incident_id, "resolved", body.reason, once), response)


@router.post("/incidents/{incident_id}/review", operation_id="review_incident", response_model=IncidentState)
async def review(incident_id: UUID, body: NewReview, caller: Caller, once: Once, response: Response) -> Any:
    """Says what was learned of a resolved incident: by somebody else than who resolved it, while there is somebody."""
    return result_of(await service.review(caller, incident_id, body, once), response)


@router.post("/incidents/{incident_id}/notes", status_code=201, operation_id="note_incident", response_model=NewEntry)
async def note(incident_id: UUID, body: Note, caller: Caller, once: Once, response: Response) -> Any:
    """Adds to the timeline what is known by now, or what belongs to it. In every state; a key may, too."""
    return result_of(await service.note(caller, incident_id, body, once), response)


@router.post("/incidents/{incident_id}/owner", operation_id="assign_incident", response_model=IncidentState)
async def hand_over(incident_id: UUID, body: NewOwner, caller: Caller, once: Once, response: Response) -> Any:
    """Says which member answers for it from now on. The same once more changes nothing."""
    return result_of(await service.hand_over(caller, incident_id, body, once), response)


@router.post("/incidents/{incident_id}/severity", operation_id="grade_incident", response_model=IncidentState)
async def grade(incident_id: UUID, body: NewSeverity, caller: Caller, once: Once, response: Response) -> Any:
    """Says how bad it is, until it is resolved. The same once more changes nothing."""
    return result_of(await service.grade(caller, incident_id, body, once), response)


@router.post(
    "/incidents/{incident_id}/follow-ups",
    status_code=201,
    operation_id="add_follow_up",
    response_model=FollowUpState,
)
async def add_follow_up(incident_id: UUID, body: NewFollowUp, caller: Caller, once: Once, response: Response) -> Any:
    """Something to be done so that it does not come back: by whom, until which day."""
    return result_of(await service.add_follow_up(caller, incident_id, body, once), response)


@router.post(
    "/incidents/{incident_id}/follow-ups/{follow_up_id}/close",
    operation_id="close_follow_up",
    response_model=FollowUpState,
)
async def close_follow_up(
    incident_id: UUID, follow_up_id: UUID, body: Closing, caller: Caller, once: Once, response: Response
) -> Any:
    """Says what was done. By whoever answers for it, or manages incidents."""
    return result_of(await service.close_follow_up(caller, incident_id, follow_up_id, body, once), response)
