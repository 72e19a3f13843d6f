"""Liveness, alerts, and the door through which a scheduler calls the scheduled functions."""

import hmac
from datetime import UTC, datetime
from importlib import import_module
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query

from api.auth import Caller
from api.config import settings
from api.errors import RESPONSES, Problem
from api.gate.models import Environment
from api.monitoring import service
from api.monitoring.heartbeats import FUNCTIONS as HEARTBEATS
from api.monitoring.models import (
    Acknowledgement,
    Alert,
    AlertCounts,
    AlertEvent,
    AlertState,
    AlertStatus,
    Metrics,
    NewOwner,
    Resolution,
    Severity,
    Waiting,
)
from api.pagination import Page, Paging
from api.routing import slice_router

router = APIRouter(responses=RESPONSES)
alerts = slice_router("monitoring")

#: The scheduled functions that GET /cron/{function} may start, each watched for its heartbeat.
FUNCTIONS = tuple(HEARTBEATS)


@router.get("/v1/health", tags=["monitoring"], operation_id="get_health")
async def get_health() -> dict[str, str]:
    """Liveness: the process answers. It says nothing of the database."""
    return {"status": "ok"}


@router.get("/v1/health/deep", tags=["monitoring"], operation_id="get_deep_health")
async def get_deep_health() -> dict[str, str]:
    """Whether the database answers, every scheduled function has run well lately, and every audit log verifies.

    503 where not, with a `reason` for each thing that is wrong in `errors`. For a watcher outside of this deployment:
    it needs no credential, and names no organisation. An answer is good for ten seconds.
    """
    if wrong := await service.unwell():
        raise Problem(
            503, "not_well", "Something does not run as it has to: errors says what.", [{"reason": r} for r in wrong]
        )
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
    work = import_module(f"functions.{function}").run(datetime.now(UTC))
    result: dict[str, int] = await import_module("functions.runtime").noted(function, work)
    return result


@alerts.get("/metrics", operation_id="get_metrics", response_model=Metrics)
async def get_metrics(
    caller: Caller,
    days: Annotated[int, Query(ge=1, le=90)] = 14,
    environment: Environment | None = None,
) -> Any:
    """What agents proposed on each of the last days and what became of it, what is open, and what money moved.

    Days are those of UTC, today included.
    """
    return await service.measure(caller, days, environment, datetime.now(UTC))


@alerts.get("/waiting", operation_id="list_waiting", response_model=list[Waiting])
async def list_waiting(caller: Caller, environment: Environment | None = None) -> Any:
    """What waits for a second person: versions, drafts, amendments, changes of the directory; the oldest 50."""
    return await service.list_waiting(caller, environment)


@alerts.get("/alerts", operation_id="list_alerts", response_model=Page[Alert])
async def list_alerts(
    caller: Caller,
    page: Paging,
    status: AlertStatus | None = None,
    kind: Annotated[str | None, Query(max_length=100)] = None,
    severity: Severity | None = None,
    environment: Environment | None = None,
) -> Any:
    """What somebody has to know of, newest first; of one status, kind, severity or environment if asked for."""
    only = {"status": status, "kind": kind, "severity": severity, "environment": environment}
    return await service.list_alerts(caller, page, only)


@alerts.get("/alerts/count", operation_id="count_alerts", response_model=AlertCounts)
async def count_alerts(caller: Caller) -> Any:
    """How many alerts are open, and how many somebody is on."""
    return await service.count(caller)


@alerts.get("/alerts/{alert_id}", operation_id="get_alert", response_model=Alert)
async def get_alert(alert_id: UUID, caller: Caller) -> Any:
    """One alert: what it is about, who answers for it, and what became of it."""
    return await service.get_alert(caller, alert_id)


@alerts.get("/alerts/{alert_id}/history", operation_id="get_alert_history", response_model=list[AlertEvent])
async def get_alert_history(alert_id: UUID, caller: Caller) -> Any:
    """What became of one alert, oldest first; the newest hundred events of it."""
    return await service.history(caller, alert_id)


@alerts.post("/alerts/{alert_id}/owner", operation_id="assign_alert", response_model=AlertState)
async def assign_alert(alert_id: UUID, body: NewOwner, caller: Caller) -> Any:
    """Says which member answers for it, or nobody in particular. Once more changes nothing."""
    return await service.assign(caller, alert_id, body)


@alerts.post("/alerts/{alert_id}/acknowledge", operation_id="acknowledge_alert", response_model=AlertState)
async def acknowledge_alert(alert_id: UUID, body: Acknowledgement, caller: Caller) -> Any:
    """Says that a person is on it. Once more changes nothing, so it takes no Idempotency-Key."""
    return await service.acknowledge(caller, alert_id, body)


@alerts.post("/alerts/{alert_id}/resolve", operation_id="resolve_alert", response_model=AlertState)
async def resolve_alert(alert_id: UUID, body: Resolution, caller: Caller) -> Any:
    """Says that it is over. What is well again by itself resolves itself."""
    return await service.resolve(caller, alert_id, body)
