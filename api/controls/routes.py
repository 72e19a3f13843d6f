"""The nine controls over the whole organisation."""

from typing import Any

from api.auth import Caller
from api.controls import service
from api.controls.models import Controls
from api.routing import slice_router

router = slice_router("controls")


@router.get("/controls", operation_id="get_controls", response_model=Controls)
async def get_controls(caller: Caller) -> Any:
    """The nine controls, looked at now in every live workflow, with what the log of the last 30 days shows of each."""
    return await service.controls(caller)
