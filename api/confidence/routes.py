"""Calibration of claimed confidence, and the thresholds that follow from it."""

from typing import Annotated, Any

from fastapi import Query, Response

from api.auth import Caller
from api.confidence import service
from api.confidence.models import Calibration, NewThreshold, Threshold
from api.gate.models import Slug, ToolName
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("confidence")


@router.get("/confidence", operation_id="get_confidence", response_model=Calibration)
async def get_confidence(
    caller: Caller,
    workflow: Slug,
    tool: ToolName | None = None,
    days: Annotated[int, Query(ge=1, le=365)] = service.WINDOW,
) -> Any:
    """What agents claimed against what people decided, by tool; and which confidence is asked for, by whom and why."""
    return await service.calibrate(caller, workflow, tool, days)


@router.get("/confidence/thresholds", operation_id="list_confidence_thresholds", response_model=Page[Threshold])
async def list_thresholds(
    caller: Caller, page: Paging, workflow: Slug | None = None, tool: ToolName | None = None
) -> Any:
    """Every threshold that was set, newest first: when, by whom or what, and why."""
    return await service.list_thresholds(caller, page, workflow, tool)


@router.post(
    "/confidence/thresholds", status_code=201, operation_id="set_confidence_threshold", response_model=Threshold
)
async def set_threshold(body: NewThreshold, caller: Caller, once: Once, response: Response) -> Any:
    """Sets what confidence a tool's actions need beside what the access spec says: a person, with a second factor."""
    return result_of(await service.set_threshold(caller, body, once), response)
