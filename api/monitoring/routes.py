"""Liveness, and the door through which a scheduler calls the scheduled functions."""

import hmac
from datetime import UTC, datetime
from importlib import import_module
from typing import Annotated

from fastapi import APIRouter, Header

from api.config import settings
from api.errors import RESPONSES, Problem

router = APIRouter(responses=RESPONSES)

#: The scheduled functions that GET /cron/{function} may start.
FUNCTIONS = ("execute_actions", "expire_exceptions")


@router.get("/v1/health", tags=["monitoring"], operation_id="get_health")
async def get_health() -> dict[str, str]:
    """Liveness: the process answers. It says nothing of the database."""
    return {"status": "ok"}


@router.get("/cron/{function}", include_in_schema=False)
async def cron(function: str, authorization: Annotated[str, Header()] = "") -> dict[str, int]:
    """Runs a scheduled function. It may be called twice for one tick, and is safe to."""
    expected = f"Bearer {settings().cron_secret}"
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise Problem(
            401,
            "unauthenticated",
            "Scheduled functions are called with the scheduler's secret.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if function not in FUNCTIONS:
        raise Problem(404, "not_found", "There is no such scheduled function.")
    result: dict[str, int] = await import_module(f"functions.{function}").run(datetime.now(UTC))
    return result
