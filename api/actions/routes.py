"""Proposing actions and following them."""

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import BackgroundTasks, Header, Query, Response

from api.actions import service
from api.actions.models import Action, ActionSummary, Cancellation, NewAction, Proposed
from api.auth import Caller
from api.execution import service as execution
from api.execution.models import Reconciliation, Requeue, Requeued
from api.gate.models import Decision
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router
from api.workflows import facts as workflow_facts

router = slice_router("actions")


def _wait_seconds(prefer: str | None) -> float:
    """`Prefer: wait=N` (RFC 7240 section 4.3), at most 25 seconds."""
    match = re.search(r"(?:^|[,;\s])wait=(\d{1,3})(?:$|[,;\s])", prefer or "")
    return min(float(match[1]), 25.0) if match else 0.0


@router.post("/actions", status_code=201, operation_id="create_action", response_model=Proposed)
async def create_action(
    body: NewAction, caller: Caller, once: Once, response: Response, background: BackgroundTasks
) -> Any:
    """Proposes one tool call. What the gate allows is executed at once; what it escalates waits for people."""
    answer = await service.propose(caller, body, once)
    if answer.result["status"] == "authorized" and not answer.replayed:
        facts, _ = await workflow_facts.get(caller, body.workflow)  # in memory since the decision
        contract = facts.contracts.get(body.tool)
        if contract is None or contract.execution.mode == "http":  # else the client executes it itself
            background.add_task(execution.execute_soon, caller, answer.result["id"], facts.tenant_id)
    return result_of(answer, response)


@router.post("/gate/evaluate", operation_id="evaluate_action", response_model=dict[str, Decision])
async def evaluate(body: NewAction, caller: Caller, once: Once, response: Response) -> Any:
    """The decision that this proposal would get; nothing is done and only the evaluation is recorded."""
    answer = await service.evaluate(caller, body, once)
    return {"decision": result_of(answer, response)["decision"]}


@router.get("/actions", operation_id="list_actions", response_model=Page[ActionSummary])
async def list_actions(
    caller: Caller,
    page: Paging,
    status: Annotated[str | None, Query(max_length=30)] = None,
    run_id: UUID | None = None,
    workflow: Annotated[str | None, Query(max_length=63)] = None,
    tool: Annotated[str | None, Query(max_length=120)] = None,
    effect: Annotated[str | None, Query(max_length=30)] = None,
) -> Any:
    """Actions, newest first, of one status, run, workflow, tool or effect if asked for."""
    return await service.list_actions(caller, page, status, run_id, workflow=workflow, tool=tool, effect=effect)


@router.get("/actions/{action_id}", operation_id="get_action", response_model=Action)
async def get_action(
    action_id: UUID, caller: Caller, response: Response, prefer: Annotated[str | None, Header()] = None
) -> Any:
    """One action. `Prefer: wait=N` waits up to N seconds (25 at most) for its status to change."""
    seconds = _wait_seconds(prefer)
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        return await service.wait(caller, action_id, seconds)
    return await service.get(caller, action_id)


@router.post("/actions/{action_id}/cancel", operation_id="cancel_action")
async def cancel_action(action_id: UUID, body: Cancellation, caller: Caller, once: Once, response: Response) -> Any:
    """Cancels what has not started."""
    return result_of(await service.cancel(caller, action_id, body.reason, once), response)


@router.post("/actions/{action_id}/reconcile", operation_id="reconcile_action")
async def reconcile_action(
    action_id: UUID, body: Reconciliation, caller: Caller, once: Once, response: Response
) -> Any:
    """Closes an unknown outcome: by reading the world back, or with what a person found out."""
    return result_of(await execution.reconcile(caller, action_id, body, once), response)


@router.post("/actions/{action_id}/requeue", operation_id="requeue_action", response_model=Requeued)
async def requeue_action(
    action_id: UUID,
    body: Requeue,
    caller: Caller,
    once: Once,
    response: Response,
    background: BackgroundTasks,
) -> Any:
    """Takes an action out of the dead letters; where something has moved since, it is decided anew as a new action."""
    answer = await execution.requeue(caller, action_id, body.reason, once)
    if answer.result["status"] == "authorized" and not answer.replayed:
        background.add_task(execution.execute_soon, caller, answer.result["id"])
    return result_of(answer, response)
