"""The inbox of exceptions: what waits, for whom and until when; and several alike decided with one reason."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import BackgroundTasks, Request, Response
from fastapi.responses import PlainTextResponse

from api.dashboard import words
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.exceptions import service
from api.exceptions.models import Asked, Recipients, Sort, Verdicts
from api.execution import service as execution
from api.gate.models import HARD_GATES
from api.pagination import PageRequest
from api.workflows import service as workflows

router = page_router()
#: As many as are decided together, and as many as a page shows.
SHOWN = 50
#: Characters of arguments that are shown where several are decided; larger ones are looked at on their own page.
SMALL = 2000
#: Why something stopped, by the check that stopped it, in fewer words than a finding has.
REASONS = {
    "kill_switch": "a kill switch is engaged", "contract": "the tool does not take this",
    "scope": "outside what the workflow may do", "connection": "the connection is not healthy",
    "hard_gate": "always needs a person", "outbound": "text or recipient not reviewed",
    "data_class": "data that may not go there", "grounding": "values without a trusted source",
    "injection": "suspicious text was read", "counterparty": "payee unknown or changed",
    "confidence": "the agent is not sure", "value": "amount above the ceiling", "limits": "over a limit",
    "risk": "risk too high", "stage": "the workflow is supervised", "edit": "edited by a person",
    "stale_world": "the world moved meanwhile", "constitution": "your rules ask for it",
}  # fmt: skip
#: The tabs: what each asks for, its name, and the number of `count` that belongs to it.
TABS: dict[str, tuple[dict[str, str], str, str | None]] = {
    "open": ({"status": "open"}, "All open", "open"),
    "mine": ({"status": "open", "assigned": "me"}, "Mine", "mine"),
    "unassigned": ({"status": "open", "assigned": "none"}, "Unassigned", "unassigned"),
    "decided": ({"status": "decided"}, "Decided", None),
}
SEVERITIES = ("critical", "high", "medium", "low")
KINDS = {"approval": "Waits for approval", "manual": "Stopped, to do by hand"}
#: Hours that something has waited at least.
AGES = {"1": "More than an hour", "24": "More than a day", "72": "More than three days"}
SORTS = {
    "expires_at": "What ends first", "severity": "Most severe first", "amount": "Largest amount first",
    "created_at": "Newest first",
}  # fmt: skip
#: What is said where a tab is empty, and where the filters leave nothing.
NOTHING = {
    "mine": ("Nothing waits for you", "What is handed to you is shown here."),
    "unassigned": ("Nothing waits without somebody", "Everything that is open has somebody who looks after it."),
    "open": ("Nothing waits", "What the gate does not let an agent do alone is shown here, for people to decide."),
    "decided": ("Nothing was decided yet", "What people decided is shown here, with what became of it."),
}


@router.get("/exceptions")
async def show_inbox(request: Request, who: Reader) -> Response:
    """The queue, a tab of it, filtered and in the order that is asked for."""
    chosen = _chosen(request)
    filters = {name: value for name, value in chosen.items() if name not in ("tab", "sort") and value}
    asked = Asked(
        **TABS[chosen["tab"]][0],  # type: ignore[arg-type]  # of these names, and all of them texts
        kind=chosen["kind"] or None, severity=chosen["severity"] or None, workflow=chosen["workflow"] or None,
        class_key=chosen["class"] or None, sort=chosen["sort"],  # type: ignore[arg-type]  # one of SORTS
        created_before=datetime.now(UTC) - timedelta(hours=int(chosen["age"])) if chosen["age"] else None,
    )  # fmt: skip
    cursor = request.query_params.get("cursor")
    (listed, goes_to), counts, slugs = await asyncio.gather(
        _listed(who, PageRequest(SHOWN, cursor), asked), service.count(who.principal), _workflows(who)
    )
    address = "/exceptions?" + urlencode({"tab": chosen["tab"], "sort": chosen["sort"]} | filters)
    return page(
        who, "exceptions.html", request=request, listed=listed, chosen=chosen, filtered=bool(filters), address=address,
        tabs=[(name, f"/exceptions?tab={tab}", tab == chosen["tab"], counts.get(key or "") if key else None)
              for tab, (_, name, key) in TABS.items()],
        rows=_filters(chosen, slugs), nothing=NOTHING[chosen["tab"]], stopped=stopped, said=said,
        goes_to=goes_to,
        selectable=[each["id"] for each in listed["items"] if who.may("exceptions.decide") and selectable(each)],
        beginning=cursor is None,
    )  # fmt: skip


async def _listed(who: Visitor, wanted: PageRequest, asked: Asked) -> tuple[dict[str, Any], dict[UUID, Recipients]]:
    """A page of the queue, and whom each of it goes to."""
    listed = await service.list_exceptions(who.principal, wanted, asked)
    found = await service.recipients(who.principal, [each["id"] for each in listed["items"]])
    return listed, {
        each["id"]: found[each["id"]].told(objection=service.objected(each))
        for each in listed["items"] if each["id"] in found
    }  # fmt: skip


@router.get("/exceptions/count")
async def show_count(who: Reader) -> Response:
    """How many are open, as text for the menu; nothing where none is."""
    counts = await service.count(who.principal)
    return PlainTextResponse(f"{counts['open']:,}" if counts["open"] else "")


@router.get("/exceptions/together")
async def show_together(request: Request, who: Reader) -> Response:
    """What was selected, each with its amount and digest, to be decided with one reason."""
    return await _together(request, who, _ids(request.query_params.getlist("id")))


@router.post("/exceptions/together")
async def decide_together(request: Request, who: Reader, form: Sent, background: BackgroundTasks) -> Response:
    """One decision for each of what was shown. The answer says of each what became of it."""
    ids = _ids(form.all("id"))
    try:
        items = [{"id": str(each), "digest": form.text(f"digest:{each}")} for each in ids]
        given = {"class_key": form.text("class_key"), "items": items, "reason": form.text("reason")}
        body = filled(Verdicts, given | {"verdict": form.text("verdict")})
        who = await stepped_up(who, form, request)
        told = await service.decide_together(who.principal, body, form.once)
    except Exception as error:
        problem = problem_of(error)
        return await _together(request, who, ids, problem=problem, typed=form)
    for action_id in service.to_execute(told):
        background.add_task(execution.execute_soon, who.principal, action_id)
    became = {str(each["id"]): each for each in told}
    return await _together(request, who, ids, became=became)


async def _together(
    request: Request, who: Visitor, ids: list[UUID], *, became: dict[str, Any] | None = None,
    problem: Problem | None = None, typed: Form | None = None,
) -> Response:  # fmt: skip
    listed = await service.list_exceptions(who.principal, PageRequest(SHOWN, None), Asked(ids=ids))
    items = listed["items"]
    if not items:
        raise Problem(
            422, "nothing_selected", "Nothing was selected. Go back to the queue, and tick what you want to decide."
        )
    args: dict[UUID, Any] = {}
    refused = False
    if became is None:
        try:
            args = await service.require_alike(who.principal, items[0]["class_key"] or "", [e["id"] for e in items])
        except Problem as found:
            problem, refused = found, True
    status = problem.status_code if problem else 200
    return page(
        who, "exceptions_together.html", request=request, status=status, items=items, became=became, problem=problem,
        typed=typed, stopped=stopped, said=said, totals=_totals(items), refused=refused,
        args={name: each for name, each in args.items() if len(json.dumps(each)) <= SMALL},
    )  # fmt: skip


def stopped(each: dict[str, Any]) -> str:
    """Why something stopped, in a few words; a hard gate first."""
    checks = sorted(each["stopped_by"], key=lambda check: (check != "hard_gate", check))
    told = ", ".join(REASONS.get(check) or words.text("check", check) for check in checks)
    return told[:1].upper() + told[1:] if told else "—"


def said(each: dict[str, Any]) -> str:
    """What it is, in words; without the amount, where that has a place of its own."""
    title, _, _ = each["summary"].rpartition(": ") if each["amount"] else (each["summary"], "", "")
    return str(title or each["summary"])


def selectable(each: dict[str, Any]) -> bool:
    """Whether something may be selected to be decided with others. The service decides it again."""
    gated = each["effect"] in HARD_GATES or "hard_gate" in each["stopped_by"]
    return each["status"] == "open" and each["kind"] == "approval" and bool(each["class_key"]) and not gated


def _totals(items: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """What all of them are worth, by currency."""
    found: dict[str, int] = {}
    for each in items:
        if each["amount"]:
            currency = each["amount"]["currency"]
            found[currency] = found.get(currency, 0) + each["amount"]["amount"]
    return [(amount, currency) for currency, amount in sorted(found.items())]


def _ids(given: list[str]) -> list[UUID]:
    """The exceptions that were selected. Raises Problem 422 for too many, and for what is none."""
    try:
        found = list(dict.fromkeys(UUID(each) for each in given))
    except ValueError:
        raise Problem(422, "invalid_address", "This selection cannot be read. Go back to the queue.") from None
    if len(found) > SHOWN:
        raise Problem(422, "too_many", f"At most {SHOWN} are decided together. Go back, and select fewer.")
    return found


async def _workflows(who: Visitor) -> list[tuple[str, str]]:
    if not who.may("workflows.read"):
        return []
    return [(each["slug"], each["title"]) for each in await workflows.list_workflows(who.principal)]


def _chosen(request: Request) -> dict[str, str]:
    """What the address asks for; what it says that is not known counts as not said."""
    given = request.query_params
    tab = given.get("tab", "") if given.get("tab") in TABS else "open"
    known: dict[str, Any] = {"severity": SEVERITIES, "kind": KINDS, "age": AGES}
    chosen = {name: value if (value := given.get(name, "")) in values else "" for name, values in known.items()}
    sort = given.get("sort", "")
    return chosen | {
        "tab": tab, "sort": sort if sort in get_args(Sort) else _usual(tab), "workflow": given.get("workflow", "")[:63],
        "class": given.get("class", "")[:64],
    }  # fmt: skip


def _usual(tab: str) -> str:
    """The order of a tab when none is asked for."""
    return "created_at" if tab == "decided" else "expires_at"


def _filters(chosen: dict[str, str], slugs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    severities = [(each, words.text("severity", each)) for each in SEVERITIES]
    return [
        {"name": "tab", "type": "hidden", "value": chosen["tab"]},
        {"name": "class", "type": "hidden", "value": chosen["class"]},
        {"name": "severity", "label": "Severity", "value": chosen["severity"], "options": severities},
        *([{"name": "workflow", "label": "Workflow", "value": chosen["workflow"], "options": slugs}] if slugs else []),
        {"name": "kind", "label": "Kind", "value": chosen["kind"], "options": list(KINDS.items())},
        {"name": "age", "label": "Waits for", "value": chosen["age"], "options": list(AGES.items())},
        {
            "name": "sort",
            "label": "Order",
            "value": chosen["sort"],
            "options": list(SORTS.items()),
            "usual": _usual(chosen["tab"]),
        },
    ]
