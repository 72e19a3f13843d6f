"""Runs and observations."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router
from api.runs import service
from api.runs.history import service as history
from api.runs.loop import service as loop
from api.runs.models import Ending, NewObservation, NewRun, Observation, Restart, Run, RunEnded, RunSummary, RunTrace

router = slice_router("runs")


@router.post("/runs", status_code=201, operation_id="create_run", response_model=Run)
async def create_run(body: NewRun, caller: Caller, once: Once, response: Response) -> Any:
    """Starts a run of the workflow's live version, for the client to work in; or queues one for the workflow's loop."""
    start = loop.queue if body.drive == "loop" else service.start
    return result_of(await start(caller, body, once), response)


@router.get("/runs", operation_id="list_runs", response_model=Page[RunSummary])
async def list_runs(
    caller: Caller,
    page: Paging,
    workflow: Annotated[str | None, Query(max_length=63)] = None,
    status: Annotated[str | None, Query(max_length=30)] = None,
    trigger: Annotated[str | None, Query(max_length=30)] = None,
) -> Any:
    """Runs, newest first, of one workflow, status or trigger if asked for."""
    return await history.list_runs(caller, page, workflow, status, trigger)


@router.get("/runs/{run_id}", operation_id="get_run", response_model=RunTrace)
async def get_run(run_id: UUID, caller: Caller) -> Any:
    """The whole trace of a run: who started it, its steps, what was read, thought, proposed, approved and done."""
    return await history.trace(caller, run_id)


@router.get("/runs/{run_id}/observations/{observation_id}", operation_id="get_observation", response_model=Observation)
async def get_observation(run_id: UUID, observation_id: UUID, caller: Caller) -> Any:
    """One read of a run: its arguments, what is kept of the answer, and how far each part of it is trusted."""
    return await history.observation(caller, run_id, observation_id)


@router.post("/runs/{run_id}/complete", operation_id="complete_run", response_model=RunEnded)
async def complete_run(run_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Ends a run that its client drives: nothing more is observed or proposed in it."""
    return result_of(await loop.complete(caller, run_id, once), response)


@router.post("/runs/{run_id}/cancel", operation_id="cancel_run", response_model=RunEnded)
async def cancel_run(run_id: UUID, body: Ending, caller: Caller, once: Once, response: Response) -> Any:
    """Ends a run that its workflow's loop drives. What it has proposed already is cancelled one by one."""
    return result_of(await loop.cancel(caller, run_id, body.reason, once), response)


@router.post("/runs/{run_id}/restart", status_code=201, operation_id="restart_run", response_model=Run)
async def restart_run(run_id: UUID, body: Restart, caller: Caller, once: Once, response: Response) -> Any:
    """Queues a run for what a failed one was for: a person, once, and not where that has done anything."""
    return result_of(await loop.restart(caller, run_id, body.reason, once), response)


@router.post(
    "/runs/{run_id}/observations",
    status_code=201,
    operation_id="create_observation",
    response_model=Observation,
)
async def create_observation(run_id: UUID, body: NewObservation, caller: Caller, once: Once, response: Response) -> Any:
    """Reads through the gateway; with `result`, takes what the client read itself."""
    return result_of(await service.observe(caller, run_id, body, once), response)
