"""Alerts: what somebody has to know and do something about."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.monitoring.heartbeats import Watcher
from api.monitoring.metrics import Rows, assembled, window
from api.monitoring.models import Acknowledgement, NewOwner, Resolution
from api.pagination import PageRequest
from api.sql import query

_watcher = Watcher()


async def unwell() -> list[str]:
    """What is wrong with what runs by schedule, a sentence each, as of a moment ago. Never raises."""
    return await _watcher.told(lambda: database().claim("read_heartbeats_v1"))


async def measure(principal: Principal, days: int, environment: str | None, now: datetime) -> dict[str, Any]:
    """The numbers of the last `days` days (UTC), today included, as models.Metrics; of one environment if asked for."""
    since, today = window(days, now)
    asked = {
        "since": since, "today": today, "environment": environment,
        "user_id": principal.claims["sub"] if principal.kind == "user" else None,
    }  # fmt: skip
    rows: dict[str, Rows] = {}
    async with database().tenant_transaction(principal, "actions.read") as connection:
        for name in ("days", "now", "money", "limits"):
            rows[name] = await (await connection.execute(query(f"monitoring/metrics_{name}"), asked)).fetchall()
    return assembled(rows, since, days, now)


async def list_waiting(principal: Principal, environment: str | None) -> list[dict[str, Any]]:
    """What waits for a second person, the oldest first and at most 50; of one environment if asked for."""
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        cursor = await connection.execute(query("monitoring/list_waiting"), {"environment": environment})
        return await cursor.fetchall()


async def list_alerts(principal: Principal, page: PageRequest, only: dict[str, Any]) -> dict[str, Any]:
    """The tenant's alerts, newest first; `only` may name a status, kind, severity and environment."""
    rows = await _rows(principal, page.key() | only)
    cut = page.page(rows, "raised_at", "id")
    return cut | {"items": [_shown(row) for row in cut["items"]]}


async def get_alert(principal: Principal, alert_id: UUID) -> dict[str, Any]:
    """One alert; Problem 404 when there is none that the principal may see."""
    rows = await _rows(principal, {"id": alert_id, "after_at": None, "after_id": None, "limit": 1})
    if not rows:
        raise Problem(404, "not_found", "There is no such alert.")
    return _shown(rows[0])


async def _rows(principal: Principal, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    named = dict.fromkeys(("id", "status", "kind", "severity", "environment")) | parameters
    async with database().tenant_transaction(principal, "alerts.read") as connection:
        return await (await connection.execute(query("monitoring/list_alerts"), named)).fetchall()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    owner = {"user_id": row["owner_id"], "name": row["owner_name"], "contact": row["contact"]}
    return row | {"subject": {"type": row["subject_type"], "id": row["subject_id"]}, "owner": owner}


async def acknowledge(principal: Principal, alert_id: UUID, body: Acknowledgement) -> dict[str, Any]:
    """A person takes an alert on; once more changes nothing. psycopg CS409 when it is resolved."""
    args = {"id": alert_id, "note": body.note}
    result: dict[str, Any] = (await database().call(principal, "acknowledge_alert_v1", args)).result
    return result


async def resolve(principal: Principal, alert_id: UUID, body: Resolution) -> dict[str, Any]:
    """A person closes an alert; once more changes nothing."""
    args = {"id": alert_id, "reason": body.reason}
    result: dict[str, Any] = (await database().call(principal, "resolve_alert_v1", args)).result
    return result


async def assign(principal: Principal, alert_id: UUID, body: NewOwner) -> dict[str, Any]:
    """Says who answers for an alert; once more changes nothing. psycopg CS409 when it is over, CS422 for no member."""
    args = {"id": alert_id, "user_id": body.user_id}
    result: dict[str, Any] = (await database().call(principal, "assign_alert_v1", args)).result
    return result


async def history(principal: Principal, alert_id: UUID) -> list[dict[str, Any]]:
    """What became of an alert, oldest first; the newest hundred events of it."""
    result: list[dict[str, Any]] = (await database().call(principal, "alert_history_v1", {"id": alert_id})).result
    return result


async def count(principal: Principal) -> dict[str, int]:
    """How many alerts are open, and how many somebody is on."""
    async with database().tenant_transaction(principal, "alerts.read") as connection:
        row = await (await connection.execute(query("monitoring/count_alerts"))).fetchone()
    return dict(row or {})


async def raise_alert(
    principal: Principal, kind: str, severity: str, subject: tuple[str, str], title: str, **more: Any
) -> UUID:
    """Raises an alert as a scheduled function; again while it is not resolved, counts it. Answers its id.

    kind: `noun.what_happened`. subject: type and id. more: environment, detail (without secrets), owner_id, contact.
    What changes rows raises its alerts itself, in SQL: private.raise_alert.
    """
    args = {"kind": kind, "severity": severity, "subject_type": subject[0], "subject_id": subject[1], "title": title}
    return UUID((await database().call(principal, "raise_alert_v1", args | more)).result["id"])


async def clear_alert(principal: Principal, kind: str, subject: tuple[str, str], resolution: str) -> bool:
    """Resolves what a scheduled function finds to be well again; False when there was nothing to resolve."""
    args = {"kind": kind, "subject_type": subject[0], "subject_id": subject[1], "resolution": resolution}
    return bool((await database().call(principal, "clear_alert_v1", args)).result["resolved"])
