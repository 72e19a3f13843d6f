"""Undoing what was done, and dealing with what was not."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import BackgroundTasks, Query, Response

from api.auth import Caller
from api.execution import service
from api.execution.dead_letter_models import DeadLetter, DeadLetterDetail, RequeuedMany, RequeueMany
from api.execution.look_models import Target
from api.execution.models import Compensation
from api.execution.undo_models import PlannedUndo, ProposedUndo, UndoPreview, UndoReport
from api.gate.models import Slug, ToolName
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("execution")


@router.post(
    "/actions/{action_id}/compensate",
    status_code=201,
    operation_id="compensate_action",
    response_model=ProposedUndo,
)
async def compensate_action(
    action_id: UUID, body: Compensation, caller: Caller, once: Once, response: Response, background: BackgroundTasks
) -> Any:
    """Proposes the undo of an action that succeeded, by its contract's compensating tool.

    The undo is an action like any other: the gate decides it, and what is a hard gate waits for a person.
    """
    answer = await service.compensate(caller, action_id, body.reason, once)
    if answer.result["status"] == "authorized" and not answer.replayed:
        background.add_task(service.execute_soon, caller, answer.result["id"])
    return result_of(answer, response)


@router.post("/runs/{run_id}/compensate", status_code=202, operation_id="compensate_run", response_model=PlannedUndo)
async def compensate_run(
    run_id: UUID, body: Compensation, caller: Caller, once: Once, response: Response, background: BackgroundTasks
) -> Any:
    """Undoes what a run wrote, the last write first, each when the undo before it has ended."""
    answer = await service.undo_run(caller, run_id, body.reason, once)
    if not answer.replayed:
        background.add_task(service.pursue_soon, answer.result["tenant_id"], answer.result["id"])
    response.headers["Location"] = f"/v1/runs/{run_id}/compensation"
    return result_of(answer, response)


@router.get("/runs/{run_id}/compensation", operation_id="get_run_compensation", response_model=UndoReport)
async def get_run_compensation(run_id: UUID, caller: Caller) -> Any:
    """What became of undoing a run: of every write whether it was undone, by which action, or why not."""
    return await service.undo_report(caller, run_id)


@router.get("/runs/{run_id}/compensation/preview", operation_id="preview_run_compensation", response_model=UndoPreview)
async def preview_run_compensation(run_id: UUID, caller: Caller) -> Any:
    """What undoing a run would do: of every write by which tool it would be undone, or why it cannot be."""
    return await service.undo_preview(caller, run_id)


@router.get("/exceptions/{exception_id}/target", operation_id="get_exception_target", response_model=Target)
async def get_target(exception_id: UUID, caller: Caller) -> Any:
    """What was read last of what the action would change, and what it rests on that has moved. For people alone."""
    return await service.target(caller, exception_id)


@router.post("/exceptions/{exception_id}/look", operation_id="look_at_exception_target", response_model=Target)
async def look_at_target(exception_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Looks at it once more through the gateway, with what the workflow may read. It decides and blocks nothing."""
    return result_of(await service.look(caller, exception_id, once), response)


@router.get("/dead-letters", operation_id="list_dead_letters", response_model=Page[DeadLetter])
async def list_dead_letters(
    caller: Caller,
    page: Paging,
    workflow: Slug | None = None,
    tool: ToolName | None = None,
    older_than: Annotated[int | None, Query(ge=0, le=10 * 365 * 86400, description="Dead for so many seconds.")] = None,
) -> Any:
    """What was not done and is not tried again by itself, the newest first."""
    return await service.list_dead_letters(caller, page, workflow, tool, older_than)


@router.post("/dead-letters/requeue", operation_id="requeue_dead_letters", response_model=RequeuedMany)
async def requeue_dead_letters(
    body: RequeueMany, caller: Caller, once: Once, response: Response, background: BackgroundTasks
) -> Any:
    """Requeues several dead letters, and says of each what came of it."""
    answer = await service.requeue_many(caller, body.ids, body.reason, once)
    for one in answer.result["results"]:
        if one.get("status") == "authorized" and not answer.replayed:
            background.add_task(service.execute_soon, caller, one["action_id"])
    return result_of(answer, response)


@router.get("/dead-letters/{action_id:uuid}", operation_id="get_dead_letter", response_model=DeadLetterDetail)
async def get_dead_letter(action_id: UUID, caller: Caller) -> Any:
    """One dead letter: every attempt, why it ended here, what has moved since, and what can be done now."""
    return await service.get_dead_letter(caller, action_id)
