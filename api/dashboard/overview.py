"""The overview: what needs the reader, whether anything is stopped, and what agents did."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response

from api.dashboard import format as formats
from api.dashboard.charts import Series, line, stacked
from api.dashboard.exceptions_inbox import SEVERITIES, said
from api.dashboard.pages import page
from api.dashboard.routing import page_router
from api.dashboard.visitor import Reader, Visitor
from api.exceptions import service as exceptions
from api.exceptions.models import Asked
from api.incidents import service as incidents
from api.monitoring import service
from api.pagination import PageRequest

router = page_router()
#: Days that the charts show, today included.
DAYS = 14
#: As many exceptions, alerts and limits as the page shows; the rest is on pages of their own.
SHOWN = 5
#: What waits for a second person: its name, its address, and the permission to decide it.
WAITING = {
    "workflow_version": ("Workflow to put live", "workflows.approve"),
    "constitution_draft": ("Rules to publish", "constitution.publish"),
    "amendment": ("Rule to adopt", "constitution.publish"),
    "directory_change": ("Change of the directory", "directory.approve"),
}


@router.get("/")
async def show_overview(request: Request, who: Reader) -> Response:
    """The overview, or the first steps where nothing has happened yet."""
    numbers, mine, loose, alerts, going, waiting = await asyncio.gather(
        service.measure(who.principal, DAYS, None, datetime.now(UTC)),
        _open(who, "me"),
        _open(who, "none"),
        _alerts(who),
        _incidents(who),
        service.list_waiting(who.principal, None),
    )
    return page(
        who, "overview.html", request=request, numbers=numbers, mine=mine, loose=loose, alerts=alerts,
        incidents=going, waiting=mine_to_decide(who, waiting), steps=steps(who, numbers), charts_of=_charts(numbers),
        worst=worst(numbers["exceptions"]["by_severity"]), said=said,
        limits=[each | {"text": limit_text(each)} for each in numbers["limits"][:SHOWN]], days=DAYS, shown=SHOWN,
    )  # fmt: skip


async def _open(who: Visitor, assigned: str) -> dict[str, Any]:
    """The open exceptions of the reader, or of nobody, if they may decide them; what ends first is first."""
    if not who.may("exceptions.decide"):
        return {"items": [], "has_more": False}
    asked = Asked(status="open", assigned=assigned, sort="expires_at")
    return await exceptions.list_exceptions(who.principal, PageRequest(SHOWN, None), asked)


async def _alerts(who: Visitor) -> dict[str, Any]:
    if not who.may("alerts.acknowledge"):
        return {"items": [], "has_more": False}
    only = {"status": "open"}
    return await service.list_alerts(who.principal, PageRequest(SHOWN, None), only)


async def _incidents(who: Visitor) -> dict[str, Any]:
    """What is going wrong, for whoever may do something about it."""
    if not who.may("incidents.manage"):
        return {"items": [], "has_more": False}
    return await incidents.list_incidents(who.principal, PageRequest(SHOWN, None), {"status": "unresolved"})


def mine_to_decide(who: Visitor, waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the reader may decide: of others, since nobody is the second person of their own."""
    return [
        each | {"what": WAITING[each["kind"]][0], "href": address(each)}
        for each in waiting
        if who.may(WAITING[each["kind"]][1]) and each["author_id"] != who.user_id
    ]


def address(each: dict[str, Any]) -> str:
    """The page on which it is decided."""
    if each["kind"] == "workflow_version":
        slug, _, version = each["id"].rpartition("/")
        return f"/workflows/{slug}?version={version}"
    places = {"constitution_draft": "/constitution/drafts", "amendment": "/amendments"}
    return f"{places.get(each['kind'], '/directory/changes')}/{each['id']}"


def steps(who: Visitor, numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """The first steps of a tenant in which no agent has done anything yet; empty afterwards."""
    setup = numbers["setup"]
    if setup["actions"]:
        return []
    told = (
        ("connections", "Connect an account", "Your bank, CRM or helpdesk. Agents never see its credentials.",
         "/connections/new", "connections.manage", "owners and admins"),
        ("live_workflows", "Describe a workflow",
         "Which tools, fields and amounts it may use. Another person puts it live.",
         "/new-workflow", "workflows.write", "owners, admins and developers"),
        ("keys", "Give your agent a key", "It proposes actions with it, and can do nothing else.",
         "/team", "service_accounts.manage", "owners, admins and developers"),
    )  # fmt: skip
    return [
        {"done": setup[name] > 0, "title": title, "text": text, "href": href if who.may(permission) else "", "who": can}
        for name, title, text, href, permission, can in told
    ]


def worst(by_severity: dict[str, int]) -> tuple[str, int] | None:
    """The highest severity of which something is open, and how much; None when nothing is."""
    return next(((name, by_severity[name]) for name in SEVERITIES if by_severity[name]), None)


def limit_text(limit: dict[str, Any]) -> str:
    """A limit in words: `9,912.50 EUR of 50,000.00 EUR within 24 hours`, of the ceiling that is nearer."""
    of_amount = limit["amount"] / limit["max_amount"] if limit["max_amount"] else -1.0
    of_count = limit["count"] / limit["max_count"] if limit["max_count"] else -1.0
    if limit["max_amount"] is not None and of_amount >= of_count:
        used = formats.money(limit["amount"], limit["currency"])
        ceiling = formats.money(limit["max_amount"], limit["currency"])
    else:
        used, ceiling = formats.number(limit["count"]), f"{formats.number(limit['max_count'])} actions"
    apart = f", the most of one {' and '.join(limit['per'])}" if limit["per"] else ""
    hours = limit["window_hours"]
    window = f"{hours // 24} days" if hours % 24 == 0 and hours > 24 else f"{hours} hours"
    return f"{used} of {ceiling} within {window}{apart}"


def _charts(numbers: dict[str, Any]) -> dict[str, Any]:
    days = numbers["days"]
    labels = [f"{each['day']:%-d %b}" for each in days]

    def of(name: str, title: str, tone: str) -> Series:
        return Series(title, [each[name] for each in days], tone)

    return {
        "verdicts": stacked("Proposed, by what the gate said", labels, [
            of("allowed", "Allowed", "good"), of("escalated", "People asked", "warn"), of("denied", "Denied", "bad")]),
        "ends": stacked("What became of them", labels, [
            of("succeeded", "Done", "good"), of("failed", "Failed", "neutral"),
            of("unknown", "Outcome unknown", "warn"),
            of("dead_letter", "Given up", "bad")]),
        "rate": line("People asked, of what was proposed", labels, [
            Series("People asked", [round(100 * (each["escalation_rate"] or 0), 1) for each in days], "warn")], "%"),
    }  # fmt: skip
