"""The human queue."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import BackgroundTasks, Query, Response
from pydantic import AwareDatetime

from api.actions.models import Proposed
from api.auth import Caller
from api.exceptions import service
from api.exceptions.models import (
    Asked,
    Assignment,
    Classes,
    Comment,
    Counts,
    Decided,
    DecidedTogether,
    ExceptionDetail,
    ExceptionSummary,
    NewComment,
    Repropose,
    Sort,
    Verdict,
    Verdicts,
)
from api.execution import service as execution
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("exceptions")


@router.get("/exceptions", operation_id="list_exceptions", response_model=Page[ExceptionSummary])
async def list_exceptions(
    caller: Caller,
    page: Paging,
    status: Literal["open", "decided", "approved", "rejected", "edited", "answered", "expired"] | None = None,
    kind: Literal["approval", "manual"] | None = None,
    class_key: Annotated[str | None, Query(alias="class", pattern="^[0-9a-f]{64}$")] = None,
    severity: Literal["low", "medium", "high", "critical"] | None = None,
    workflow: Annotated[str | None, Query(pattern="^[a-z0-9][a-z0-9-]{0,62}$")] = None,
    assigned: Annotated[str | None, Query(pattern="^(me|none|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$")] = None,
    created_before: AwareDatetime | None = None,
    sort: Sort = "created_at",
) -> Any:
    """The queue, as it is asked for: newest first, or what ends, weighs or is worth most first.

    `decided` is every status but `open`. `assigned` is `me`, `none`, or a member's id.
    """
    asked = Asked(status, kind, class_key, severity, workflow, assigned, created_before, sort)
    return await service.list_exceptions(caller, page, asked)


@router.get("/exceptions/count", operation_id="count_exceptions", response_model=Counts)
async def count_exceptions(caller: Caller) -> Any:
    """How many exceptions are open: all, those of who asks, and those of nobody."""
    return await service.count(caller)


@router.get("/exceptions/classes", operation_id="list_exception_classes", response_model=Classes)
async def list_classes(
    caller: Caller,
    days: Annotated[int, Query(ge=1, le=366)] = 90,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Any:
    """What keeps waiting for people: classes of exceptions of the last days, the most frequent first."""
    return await service.list_classes(caller, days, limit)


# Of UUIDs alone, so that another method on /exceptions/decisions is told which one there is.
@router.get("/exceptions/{exception_id:uuid}", operation_id="get_exception", response_model=ExceptionDetail)
async def get_exception(exception_id: UUID, caller: Caller) -> Any:
    """What was observed, what is proposed, which rules apply, and why the gate stopped it."""
    return await service.get(caller, exception_id)


@router.post("/exceptions/{exception_id}/decision", operation_id="decide_exception", response_model=Decided)
async def decide_exception(
    exception_id: UUID,
    body: Verdict,
    caller: Caller,
    once: Once,
    response: Response,
    background: BackgroundTasks,
) -> Any:
    """Approve, reject, edit, or answer by hand. The last approval needed executes the action."""
    answer = await service.decide(caller, exception_id, body, once)
    action = answer.result["action"]
    # What the tenant's own client executes waits for it to fetch a permit.
    if action["status"] == "authorized" and action["executed_by"] == "executor" and not answer.replayed:
        background.add_task(execution.execute_soon, caller, action["id"])
    return result_of(answer, response)


@router.post("/exceptions/decisions", operation_id="decide_exceptions", response_model=DecidedTogether)
async def decide_exceptions(body: Verdicts, caller: Caller, once: Once, background: BackgroundTasks) -> Any:
    """Approve or reject several exceptions of one class with one reason. Not what a hard gate stopped.

    Each is decided by itself: some may be refused, such as what somebody else has decided meanwhile, and others not.
    """
    told = await service.decide_together(caller, body, once)
    for action_id in service.to_execute(told):
        background.add_task(execution.execute_soon, caller, action_id)
    return {"items": told}


@router.post(
    "/exceptions/{exception_id}/repropose",
    status_code=201,
    operation_id="repropose_exception",
    response_model=Proposed,
)
async def repropose_exception(
    exception_id: UUID, body: Repropose, caller: Caller, once: Once, response: Response, background: BackgroundTasks
) -> Any:
    """Proposes again, as a person, what a kill switch stopped and nobody did by hand; it is decided anew."""
    answer = await service.repropose(caller, exception_id, body, once)
    # As above: a permit is fetched for what the client executes.
    if answer.result["status"] == "authorized" and answer.result["executed_by"] == "executor" and not answer.replayed:
        background.add_task(execution.execute_soon, caller, answer.result["id"])
    return result_of(answer, response)


@router.post("/exceptions/{exception_id}/assign", operation_id="assign_exception")
async def assign_exception(exception_id: UUID, body: Assignment, caller: Caller, once: Once, response: Response) -> Any:
    """Hands an open exception to a member, or with null to nobody."""
    return result_of(await service.assign(caller, exception_id, body.user_id, once), response)


@router.get("/exceptions/{exception_id}/comments", operation_id="list_exception_comments", response_model=Page[Comment])
async def list_comments(exception_id: UUID, caller: Caller, page: Paging) -> Any:
    """What people said about an exception, newest first. For people alone."""
    return await service.page_of_comments(caller, exception_id, page)


@router.post(
    "/exceptions/{exception_id}/comments",
    status_code=201,
    operation_id="comment_exception",
    response_model=Comment,
)
async def comment_exception(
    exception_id: UUID, body: NewComment, caller: Caller, once: Once, response: Response
) -> Any:
    """Says something to the others who decide. It is never changed, and is erased with the run that it is about."""
    return result_of(await service.comment(caller, exception_id, body, once), response)
