"""Alerts: what somebody has to know of and do something about; one with its history, and what people do about it."""

import asyncio
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from api.dashboard import words
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.incidents import service as incidents
from api.incidents.models import Link
from api.monitoring import service
from api.monitoring.models import Acknowledgement, AlertStatus, NewOwner, Resolution
from api.pagination import PageRequest
from api.tenants import service as tenants

router = page_router()
#: As many as a page shows.
SHOWN = 50
#: As many incidents as an alert names.
RELATED = 5
STATUSES = get_args(AlertStatus)
#: The page of what an alert is about, where it has one.
PAGES = {
    "action": "/actions/{}",
    "run": "/runs/{}",
    "exception": "/exceptions/{}",
    "amendment": "/amendments/{}",
    "incident": "/incidents/{}",
}


@router.get("/alerts")
async def show_alerts(request: Request, who: Reader) -> Response:
    """What is open, unless another tab is asked for; filtered if asked for."""
    asked = request.query_params
    tab = asked.get("status") if asked.get("status") in (*STATUSES, "all") else "open"
    only = {
        "status": None if tab == "all" else tab,
        "severity": _one_of("severity", asked.get("severity")),
        "kind": _one_of("alert_kind", asked.get("kind")),
        "environment": _one_of("environment", asked.get("environment")),
    }
    cursor = asked.get("cursor")
    listed, counts = await asyncio.gather(
        service.list_alerts(who.principal, PageRequest(SHOWN, cursor), only), service.count(who.principal)
    )
    filters = {name: value for name, value in only.items() if value and name != "status"}
    tabs: list[tuple[Any, ...]] = [
        (words.text("alert", name), f"/alerts?status={name}", name == tab, counts[name])
        for name in STATUSES
        if name != "resolved"
    ]
    tabs += [("Resolved", "/alerts?status=resolved", tab == "resolved"), ("All", "/alerts?status=all", tab == "all")]
    return page(
        who, "alerts.html", request=request, listed=listed, tabs=tabs, tab=tab, filtered=bool(filters),
        address="/alerts?" + urlencode({"status": tab} | filters), rows=_filters(str(tab), only), beginning=not cursor,
    )  # fmt: skip


@router.get("/alerts/{alert_id:uuid}")
async def show_alert(request: Request, alert_id: UUID, who: Reader) -> Response:
    return await _one(request, who, alert_id)


@router.post("/alerts/{alert_id:uuid}/acknowledge")
async def acknowledge(request: Request, alert_id: UUID, who: Reader, form: Sent) -> Response:
    """Says that the visitor is on it."""
    try:
        body = filled(Acknowledgement, {"note": form.text("note")})
        await service.acknowledge(who.principal, alert_id, body)
    except Exception as error:
        return await _one(request, who, alert_id, typed=form, problem=problem_of(error))
    return to(f"/alerts/{alert_id}?done=acknowledged")


@router.post("/alerts/{alert_id:uuid}/resolve")
async def resolve(request: Request, alert_id: UUID, who: Reader, form: Sent) -> Response:
    """Says that it is over, and why."""
    try:
        await service.resolve(who.principal, alert_id, filled(Resolution, {"reason": form.text("reason")}))
    except Exception as error:
        return await _one(request, who, alert_id, typed=form, problem=problem_of(error))
    return to(f"/alerts/{alert_id}?done=resolved")


@router.post("/alerts/{alert_id:uuid}/owner")
async def hand_over(request: Request, alert_id: UUID, who: Reader, form: Sent) -> Response:
    """Says who answers for it."""
    try:
        body = filled(NewOwner, {"user_id": form.text("user_id") or None})
        await service.assign(who.principal, alert_id, body)
    except Exception as error:
        return await _one(request, who, alert_id, typed=form, problem=problem_of(error))
    return to(f"/alerts/{alert_id}?done=assigned")


async def _one(
    request: Request, who: Visitor, alert_id: UUID, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    about_it = {"about": Link(type="alert", id=alert_id)}
    shown, history, related, members = await asyncio.gather(
        service.get_alert(who.principal, alert_id),
        service.history(who.principal, alert_id),
        incidents.list_incidents(who.principal, PageRequest(RELATED, None), about_it),
        tenants.list_members(who.principal) if who.may("members.read") else _nobody(),
    )
    known = {str(each["user_id"]): each.get("name") or each["email"] for each in members}
    people = {str(who.user_id): who.name} | known
    if shown["owner"]["user_id"]:
        people.setdefault(str(shown["owner"]["user_id"]), shown["owner"]["name"] or "")
    names = {each["by"].rpartition(":")[2]: each["by_name"] for each in history if each["by_name"]} | people
    about = PAGES.get(shown["subject"]["type"], "").format(shown["subject"]["id"])
    return page(
        who, "alert.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, shown=shown, history=history, about=about, people=sorted(people.items(), key=lambda one: one[1]),
        name_of=lambda acting: name_of(acting, names), incidents=related["items"],
    )  # fmt: skip


def name_of(acting: Any, names: dict[str, str]) -> str:
    """Who `user:<id>`, `service:<id>` or `system:<function>` is, in words; a bare id is a person's."""
    if acting is None:
        return "nobody"
    kind, _, name = str(acting).rpartition(":")
    if kind == "system":
        return f"Countersign ({name.replace('_', ' ')})"
    known = names.get(name, name[:8])
    return f"Service account {known}" if kind == "service" else known


def _one_of(kind: str, value: str | None) -> str | None:
    return value if value and value in dict(words.options(kind)) else None


def _filters(tab: str, only: dict[str, str | None]) -> list[dict[str, Any]]:
    severities = [(name, words.text("severity", name)) for name in ("critical", "warning", "info")]
    return [
        {"name": "status", "label": "", "value": tab, "type": "hidden"},
        {"name": "severity", "label": "Severity", "value": only["severity"], "options": severities},
        {"name": "kind", "label": "Kind", "value": only["kind"], "options": words.options("alert_kind")},
        {"name": "environment", "label": "Environment", "value": only["environment"],
         "options": words.options("environment")},
    ]  # fmt: skip


async def _nobody() -> list[dict[str, Any]]:
    return []
