"""Runs and observations."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.routing import slice_router
from api.runs import service
from api.runs.models import NewObservation, NewRun, Observation, Run, RunTrace

router = slice_router("runs")


@router.post("/runs", status_code=201, operation_id="create_run", response_model=Run)
async def create_run(body: NewRun, caller: Caller, once: Once, response: Response) -> Any:
    """Starts a run of the workflow's live version."""
    return result_of(await service.start(caller, body, once), response)


@router.get("/runs/{run_id}", operation_id="get_run", response_model=RunTrace)
async def get_run(run_id: UUID, caller: Caller) -> Any:
    """A run with everything that was observed and proposed in it."""
    return await service.get(caller, run_id)


@router.post(
    "/runs/{run_id}/observations",
    status_code=201,
    operation_id="create_observation",
    response_model=Observation,
)
async def create_observation(run_id: UUID, body: NewObservation, caller: Caller, once: Once, response: Response) -> Any:
    """Reads through the gateway; with `result`, takes what the client read itself."""
    return result_of(await service.observe(caller, run_id, body, once), response)
