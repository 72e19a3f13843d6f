"""Incidents: what went wrong, who answers for it, what was done, what comes next, and what was learned."""

import asyncio
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from api.dashboard import incident_forms, words
from api.dashboard.alerts import name_of
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.incidents import service
from api.incidents.models import Closing, Link, NewIncident, Severity
from api.pagination import PageRequest
from api.tenants import service as tenants

router = page_router()
#: As many incidents, and follow-ups, as a page shows.
SHOWN = 50
#: Tabs of the list: name, what is shown of it, what it is called.
TABS = (
    ("unresolved", "Going on"), ("resolved", "To be reviewed"), ("reviewed", "Reviewed"), ("all", "All"),
    ("follow-ups", "Follow-ups"),
)  # fmt: skip
#: The page of what an incident is about or an entry names, where it has one.
PAGES = {
    "action": "/actions/{}", "run": "/runs/{}", "exception": "/exceptions/{}", "alert": "/alerts/{}",
    "amendment": "/amendments/{}", "connection": "/connections/{}", "kill_switch": "/kill-switches/{}",
    "incident": "/incidents/{}",
}  # fmt: skip


@router.get("/incidents")
async def show_incidents(request: Request, who: Reader) -> Response:
    """What goes on, unless another tab is asked for; filtered if asked for."""
    asked = request.query_params
    tab = str(asked.get("tab") if asked.get("tab") in dict(TABS) else "unresolved")
    only = {
        "severity": asked.get("severity") if asked.get("severity") in get_args(Severity) else None,
        "environment": asked.get("environment") if asked.get("environment") in ("sandbox", "production") else None,
        "owner": "me" if asked.get("owner") == "me" else None,
    }
    mine = {"owner_id": who.user_id if only["owner"] else None}
    paging = PageRequest(SHOWN, asked.get("cursor"))
    if tab == "follow-ups":
        reading = service.list_follow_ups(who.principal, paging, mine | {"status": "open"})
    else:
        named = {name: only[name] for name in ("severity", "environment")}
        reading = service.list_incidents(
            who.principal, paging, named | mine | {"status": None if tab == "all" else tab, "about": None}
        )
    listed, counts = await asyncio.gather(reading, service.count(who.principal))
    filters = {name: value for name, value in only.items() if value}
    return page(
        who, "incidents.html", request=request, listed=listed, tab=tab, tabs=_tabs(tab, counts),
        filtered=bool(filters), rows=_filters(tab, only), beginning=not asked.get("cursor"),
        address="/incidents?" + urlencode({"tab": tab} | filters),
    )  # fmt: skip


def _tabs(tab: str, counts: dict[str, int]) -> list[tuple[Any, ...]]:
    many = {
        "unresolved": counts["open"] + counts["acknowledged"] + counts["contained"], "resolved": counts["resolved"],
        "follow-ups": counts["follow_ups_open"],
    }  # fmt: skip
    return [(text, f"/incidents?tab={name}", name == tab, many.get(name)) for name, text in TABS]


def _filters(tab: str, only: dict[str, str | None]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"name": "tab", "label": "", "value": tab, "type": "hidden"}]
    if tab != "follow-ups":
        rows += [
            {"name": "severity", "label": "Severity", "value": only["severity"], "options": _severities()},
            {"name": "environment", "label": "Environment", "value": only["environment"],
             "options": words.options("environment")},
        ]  # fmt: skip
    return [
        *rows,
        {"name": "owner", "label": "Who answers for it", "value": only["owner"], "options": [("me", "I do")]},
    ]


def _severities() -> list[tuple[str, str]]:
    return [(name, words.text("severity", name)) for name in reversed(get_args(Severity))]


@router.get("/incidents/new")
async def show_new(request: Request, who: Reader) -> Response:
    """The form that opens one, about what `about` names (`action:<id>`), if anything."""
    return await _new(request, who, request.query_params.get("about", ""))


@router.post("/incidents/new")
async def open_one(request: Request, who: Reader, form: Sent) -> Response:
    """Opens it; when one about the same goes on already, says which."""
    about = incident_forms.about(form.text("about"))
    try:
        body = filled(NewIncident, {
            "title": form.text("title"), "description": form.text("description"), "severity": form.text("severity"),
            "environment": None if about else form.text("environment") or None,
            "owner_id": form.text("owner_id") or None, "about": about.model_dump() if about else None,
        })  # fmt: skip
        made = (await service.open_incident(who.principal, body, form.once)).result
    except Exception as error:
        return await _new(request, who, form.text("about"), typed=form, problem=problem_of(error))
    return to(f"/incidents/{made['id']}?done=incident_opened")


async def _new(
    request: Request, who: Visitor, about: str, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    link, going = incident_forms.about(about), None
    if link:
        only = {"status": "unresolved", "about": link}
        found = await service.list_incidents(who.principal, PageRequest(1, None), only)
        going = next(iter(found["items"]), None)
    return page(
        who, "incident_new.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, link=link, going=going, severities=_severities(), people=_choice(who, await _members(who)),
        page_of=page_of,
    )  # fmt: skip


def page_of(subject: dict[str, Any] | Link | None) -> str:
    """The address of the page of something, '' where it has none."""
    if subject is None:
        return ""
    kind, named = (subject.type, subject.id) if isinstance(subject, Link) else (subject["type"], subject["id"])
    return PAGES.get(kind, "").format(named)


@router.get("/incidents/{incident_id:uuid}")
async def show_incident(request: Request, incident_id: UUID, who: Reader) -> Response:
    return await _one(request, who, incident_id)


@router.post("/incidents/{incident_id:uuid}/acknowledge")
async def acknowledge(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says that the visitor is on it."""
    return await _done(request, who, incident_id, form, incident_forms.acknowledge, "acknowledged")


@router.post("/incidents/{incident_id:uuid}/contain")
async def contain(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says that it gets no worse, and how that was done."""
    return await _done(request, who, incident_id, form, incident_forms.contain, "incident_contained")


@router.post("/incidents/{incident_id:uuid}/resolve")
async def resolve(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says that it is over, and why."""
    return await _done(request, who, incident_id, form, incident_forms.resolve, "incident_resolved")


@router.post("/incidents/{incident_id:uuid}/notes")
async def note(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Adds what is known by now."""
    return await _done(request, who, incident_id, form, incident_forms.note, "incident_noted")


@router.post("/incidents/{incident_id:uuid}/owner")
async def hand_over(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says who answers for it."""
    return await _done(request, who, incident_id, form, incident_forms.hand_over, "assigned")


@router.post("/incidents/{incident_id:uuid}/severity")
async def grade(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says how bad it is."""
    return await _done(request, who, incident_id, form, incident_forms.grade, "saved")


@router.post("/incidents/{incident_id:uuid}/review")
async def review(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Says what was learned, and what is to be done."""
    return await _done(request, who, incident_id, form, incident_forms.review, "incident_reviewed")


@router.post("/incidents/{incident_id:uuid}/follow-ups")
async def add_follow_up(request: Request, incident_id: UUID, who: Reader, form: Sent) -> Response:
    """Adds something to be done."""
    return await _done(request, who, incident_id, form, incident_forms.add_follow_up, "follow_up_added")


@router.post("/incidents/{incident_id:uuid}/follow-ups/{follow_up_id:uuid}/close")
async def close_follow_up(request: Request, incident_id: UUID, follow_up_id: UUID, who: Reader, form: Sent) -> Response:
    """Says what was done."""
    try:
        body = filled(Closing, {"note": form.text("note")})
        await service.close_follow_up(who.principal, incident_id, follow_up_id, body, form.once)
    except Exception as error:
        return await _one(request, who, incident_id, typed=form, problem=problem_of(error), asked=str(follow_up_id))
    return to(f"/incidents/{incident_id}?done=follow_up_closed")


async def _done(
    request: Request, who: Visitor, incident_id: UUID, form: Form, act: incident_forms.Act, done: str
) -> Response:
    """Does what a form asks for; shows the page again, with what was typed, when it is refused."""
    try:
        await act(who, incident_id, form)
    except Exception as error:
        asked = act.__name__
        return await _one(request, who, incident_id, typed=form, problem=problem_of(error), asked=asked)
    return to(f"/incidents/{incident_id}?done={done}")


async def _one(
    request: Request,
    who: Visitor,
    incident_id: UUID,
    *,
    typed: Form | None = None,
    problem: Problem | None = None,
    asked: str = "",
) -> Response:
    shown, members = await asyncio.gather(service.get(who.principal, incident_id), _members(who))
    known = {f"user:{each['user_id']}": each.get("name") or each["email"] for each in members}
    known |= {each["written_by"]: each["written_by_name"] for each in shown["entries"] if each["written_by_name"]}
    if shown["owner"]["name"]:
        known[f"user:{shown['owner']['user_id']}"] = shown["owner"]["name"]
    known[f"user:{who.user_id}"] = who.name
    names = {acting.rpartition(":")[2]: name for acting, name in known.items()}
    people = [(acting.rpartition(":")[2], name) for acting, name in known.items() if acting.startswith("user:")]
    mine = shown["resolved_by"] == f"user:{who.user_id}"
    return page(
        who, "incident.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, asked=asked, shown=shown, people=sorted(people, key=lambda one: one[1]), mine=mine,
        severities=_severities(), page_of=page_of, rows=incident_forms.ROWS,
        name_of=lambda acting: name_of(acting, names),
    )  # fmt: skip


async def _members(who: Visitor) -> list[dict[str, Any]]:
    return await tenants.list_members(who.principal) if who.may("members.read") else []


def _choice(who: Visitor, members: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Members to choose from; only the visitor where they may not see the others."""
    known = {str(each["user_id"]): each.get("name") or each["email"] for each in members}
    return sorted((known | {str(who.user_id): who.name}).items(), key=lambda one: one[1])
