"""Workflows and kill switches."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse

from api.auth import Caller
from api.idempotency import Once, result_of
from api.routing import slice_router
from api.workflows import page, service
from api.workflows.models import (
    AccessSpecDocument,
    Approval,
    Difference,
    KillSwitch,
    KillSwitchDetail,
    NewKillSwitch,
    NewVersion,
    NewWorkflow,
    Readiness,
    Rejection,
    Release,
    Workflow,
    WorkflowVersion,
)
from api.workflows.stage_models import StageRecord

router = slice_router("workflows")
assets_router = APIRouter(include_in_schema=False)


@router.post("/workflows", status_code=201, operation_id="create_workflow", response_model=WorkflowVersion)
async def create_workflow(body: NewWorkflow, caller: Caller, once: Once, response: Response) -> Any:
    """Creates a workflow with its first version, a draft."""
    return result_of(await service.create_workflow(caller, body, once), response)


@router.get("/workflows", operation_id="list_workflows", response_model=list[Workflow])
async def list_workflows(caller: Caller) -> Any:
    """The tenant's workflows, newest first."""
    return await service.list_workflows(caller)


@router.get("/workflows/{slug}/versions", operation_id="list_workflow_versions", response_model=list[WorkflowVersion])
async def list_versions(slug: str, caller: Caller) -> Any:
    """The versions of a workflow, newest first, with where each stands in its review."""
    return await service.list_versions(caller, slug)


@router.post(
    "/workflows/{slug}/versions",
    status_code=201,
    operation_id="create_workflow_version",
    response_model=WorkflowVersion,
)
async def create_version(slug: str, body: NewVersion, caller: Caller, once: Once, response: Response) -> Any:
    """Drafts the next version of a workflow; the live one stays live until this one is approved."""
    return result_of(await service.create_version(caller, slug, body, once), response)


@router.post(
    "/workflows/{slug}/versions/{version}/submit",
    operation_id="submit_workflow_version",
    response_model=WorkflowVersion,
)
async def submit(slug: str, version: int, caller: Caller, once: Once, response: Response) -> Any:
    """Hands a draft to a reviewer."""
    return result_of(await service.submit(caller, slug, version, once), response)


@router.post(
    "/workflows/{slug}/versions/{version}/approve",
    operation_id="approve_workflow_version",
    response_model=WorkflowVersion,
)
async def approve(slug: str, version: int, body: Approval, caller: Caller, once: Once, response: Response) -> Any:
    """Puts a version live. Its author cannot; with `spec_digest`, no spec but that one."""
    return result_of(await service.approve(caller, slug, version, body, once), response)


@router.post(
    "/workflows/{slug}/versions/{version}/withdraw",
    operation_id="withdraw_workflow_version",
    response_model=WorkflowVersion,
)
async def withdraw(slug: str, version: int, caller: Caller, once: Once, response: Response) -> Any:
    """Takes a version back out of review; it is a draft again."""
    return result_of(await service.withdraw(caller, slug, version, once), response)


@router.post(
    "/workflows/{slug}/versions/{version}/reject",
    operation_id="reject_workflow_version",
    response_model=WorkflowVersion,
)
async def reject(slug: str, version: int, body: Rejection, caller: Caller, once: Once, response: Response) -> Any:
    """Sends a version back to its author, with the reason; it is a draft again."""
    return result_of(await service.reject(caller, slug, version, body, once), response)


@router.get(
    "/workflows/{slug}/versions/{version}/diff",
    operation_id="compare_workflow_versions",
    response_model=Difference,
)
async def compare(
    slug: str, version: int, caller: Caller, earlier: Annotated[int | None, Query(alias="from", ge=1)] = None
) -> Any:
    """What a version permits beyond another one: beyond the live one, unless told otherwise."""
    return await service.compare(caller, slug, version, earlier)


@router.get(
    "/workflows/{slug}/access-spec",
    operation_id="get_access_spec",
    response_model=AccessSpecDocument,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def get_access_spec(
    slug: str,
    caller: Caller,
    version: Annotated[int | None, Query(ge=1)] = None,
    wanted: Annotated[Literal["json", "html"] | None, Query(alias="format", description="overrules `Accept`")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """The document that a reviewer reads, as JSON or as a page.

    Of the version asked for, else the live one, else the newest.
    """
    document = await service.access_spec(caller, slug, version)
    if wanted == "html" or (wanted is None and page.is_preferred(accept)):
        return HTMLResponse(page.render(document), headers=page.HEADERS)
    return document


@router.get("/workflows/{slug}/readiness", operation_id="get_readiness", response_model=Readiness)
async def get_readiness(slug: str, caller: Caller, version: Annotated[int | None, Query(ge=1)] = None) -> Any:
    """The nine controls, each verified by looking, with the evidence or what is missing; go-live needs all of them.

    Of the version asked for, else the live one, else the newest.
    """
    return await service.readiness(caller, slug, version)


@router.get("/workflows/{slug}/stage", operation_id="get_stage_record", response_model=StageRecord)
async def get_stage_record(slug: str, caller: Caller, days: Annotated[int, Query(ge=1, le=365)] = 30) -> Any:
    """What the workflow would have done without its stage, tool by tool, and how often people agreed with that."""
    return await service.stage_record(caller, slug, days)


@router.post("/kill-switches", status_code=201, operation_id="engage_kill_switch", response_model=KillSwitchDetail)
async def engage(body: NewKillSwitch, caller: Caller, once: Once, response: Response) -> Any:
    """Stops a tenant, workflow, connection, tool or service account at once, and answers what it stopped."""
    return result_of(await service.engage(caller, body, once), response)


@router.get("/kill-switches", operation_id="list_kill_switches", response_model=list[KillSwitch])
async def list_kill_switches(caller: Caller, status: Literal["engaged", "released"] | None = None) -> Any:
    """Kill switches, newest first, each with what it stops and what was in flight already."""
    return await service.list_kill_switches(caller, status)


@router.get("/kill-switches/{switch_id}", operation_id="get_kill_switch", response_model=KillSwitchDetail)
async def get_kill_switch(switch_id: UUID, caller: Caller) -> Any:
    """One kill switch: what it stopped, what was in flight and how that ended, and what people do by hand meanwhile."""
    return await service.get_kill_switch(caller, switch_id)


@router.post("/kill-switches/{switch_id}/release", operation_id="release_kill_switch", response_model=KillSwitchDetail)
async def release(switch_id: UUID, body: Release, caller: Caller, once: Once, response: Response) -> Any:
    """Lets it run again, at once or a stage further: a person with a second factor, each time."""
    return result_of(await service.release(caller, switch_id, body, once), response)


@assets_router.get(page.STYLESHEET)
async def get_stylesheet() -> Response:
    """The stylesheet of the page, from our own origin; it says nothing of any tenant."""
    return Response(page.stylesheet(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
