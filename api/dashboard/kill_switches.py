"""The kill switch: what is stopped and the proof of it, stopping more, and letting go in stages."""

import asyncio
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.connections import service as connections
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.lists import titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.providers import service as providers
from api.tenants import service as tenants
from api.workflows import service
from api.workflows.models import NewKillSwitch, Release

router = page_router()
#: How many released switches, and how many actions of one part of a proof, a page shows.
SHOWN = 50
#: How far a switch can be let go, in order, and what each stage means for what it covers.
STAGES = (
    ("drafts", "What is proposed waits for people, also what rules would allow. Nothing is executed."),
    ("one_at_a_time", "Proposals are decided as ever. One action runs, and the next when it is over."),
    ("released", "Everything runs as before, beginning with what waited."),
)
#: What a switch found, in the order in which it matters to people: name in the proof, title, what it means.
PARTS = (
    ("in_flight", "Could not be stopped any more", "Sent already, or a permit was given out. Look at how each ended."),
    ("unsettled", "May have happened before", "Sent earlier, and nobody knows yet whether it happened."),
    ("leased", "Stopped just before it was sent", "It was being prepared, and provably did not leave. It waits again."),
    ("queued", "Stopped before it began", "Authorized, and held until this is released."),
    ("waiting", "Still waits for people", "It can be decided meanwhile, and is not executed."),
)


@router.get("/kill-switches")
async def show_kill_switches(request: Request, who: Reader) -> Response:
    return await _overview(request, who)


@router.post("/kill-switches")
async def engage(request: Request, who: Reader, form: Sent) -> Response:
    """Stops what was chosen, at once, and shows the proof of it."""
    scope, _, target = form.text("what").partition(":")
    try:
        if not scope:
            raise Problem(422, "target_missing", "Choose what to stop.")
        body = filled(NewKillSwitch, {"scope": scope, "target": target or None, "reason": form.text("reason")})
        made = (await service.engage(who.principal, body, form.once)).result
    except Exception as error:
        return await _overview(request, who, typed=form, problem=problem_of(error))
    return to(f"/kill-switches/{made['id']}?done=stopped")


@router.get("/kill-switches/{switch_id:uuid}")
async def show_kill_switch(request: Request, switch_id: UUID, who: Reader) -> Response:
    return await _one(request, who, switch_id)


@router.post("/kill-switches/{switch_id:uuid}/release")
async def release(request: Request, switch_id: UUID, who: Reader, form: Sent) -> Response:
    """A stage further, by a person with a second factor."""
    try:
        body = filled(Release, {"stage": form.text("stage"), "reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        await service.release(who.principal, switch_id, body, form.once)
    except Exception as error:
        return await _one(request, who, switch_id, typed=form, problem=problem_of(error))
    return to(f"/kill-switches/{switch_id}?done={'released' if body.stage == 'released' else 'staged'}")


async def _overview(
    request: Request, who: Visitor, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    switches, choices = await asyncio.gather(service.count_kill_switches(who.principal), targets(who))
    engaged = [each for each in switches if each["status"] == "engaged"]
    released = [each for each in switches if each["status"] == "released"]
    return page(
        who, "kill_switches.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, engaged=engaged, released=released[:SHOWN], more=len(released) - SHOWN, choices=choices,
        name_of=_namer(choices), asked=request.query_params.get("stop", ""),
    )  # fmt: skip


async def _one(
    request: Request, who: Visitor, switch_id: UUID, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    shown, choices = await asyncio.gather(service.outline_kill_switch(who.principal, switch_id, SHOWN), targets(who))
    tools = {each["tool"] for name, _, _ in PARTS for each in (shown["proof"] or {}).get(name, {}).get("first", [])}
    order = [name for name, _ in STAGES]
    reached = order.index(shown["stage"]) + 1 if shown["stage"] in order else 0
    return page(
        who, "kill_switch.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, shown=shown, parts=PARTS, stages=STAGES, ahead=STAGES[reached:],
        name_of=_namer(choices), titles=await titles_of(who.principal, tools),
    )  # fmt: skip


async def targets(who: Visitor) -> list[tuple[str, list[tuple[str, str]]]]:
    """What can be stopped, in groups, each as `scope:target` with its name; only what the visitor may see."""
    flows, bound, accounts = await asyncio.gather(
        service.list_workflows(who.principal) if who.may("workflows.read") else _nothing(),
        connections.list_connections(who.principal) if who.may("connections.read") else _nothing(),
        tenants.list_service_accounts(who.principal) if who.may("service_accounts.read") else _nothing(),
    )
    tools = await titles_of(who.principal, {tool for each in flows for tool in each["tools"]})
    by_title = sorted((title, name) for name, title in tools.items())
    names = {each.name: each.title for each in providers.list_providers()}
    used = [each for each in bound if each["status"] not in ("revoked", "expired")]
    return [
        ("Everything", [(f"tenant:{who.tenant_id}", f"Everything at {who.tenant_name}")]),
        ("One workflow", [(f"workflow:{each['id']}", f"{each['title']} ({each['environment']})") for each in flows]),
        ("One connection", [(f"connection:{each['id']}", _connection(each, names)) for each in used]),
        ("One tool, in every workflow", [(f"tool:{name}", _tool(name, title)) for title, name in by_title]),
        ("One service account", [(f"service_account:{each['id']}", each["name"]) for each in accounts]),
    ]


def _tool(name: str, title: str) -> str:
    return name if title == name else f"{title} ({name})"


def _connection(row: dict[str, Any], providers: dict[str, str]) -> str:
    label = (row.get("account") or {}).get("label") or ""
    access = "reading and writing" if row["access"] == "write" else "reading"
    name = providers.get(row["provider"], row["provider"])
    return " ".join(filter(None, (name, label and f"({label})", f"for {access}, {row['environment']}")))


def _namer(choices: list[tuple[str, list[tuple[str, str]]]]) -> Any:
    """Answers the name of what a switch stops: the id of a tool that no workflow uses now, and '' of what is gone."""
    known = {value: name for _, group in choices for value, name in group}

    def name_of(switch: dict[str, Any]) -> str:
        gone = switch["target"] if switch["scope"] == "tool" else ""
        return known.get(f"{switch['scope']}:{switch['target']}", gone)

    return name_of


async def _nothing() -> list[dict[str, Any]]:
    return []
