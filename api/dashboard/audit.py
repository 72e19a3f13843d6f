"""The audit log: search, one event with its place in the chain, verifying it part by part, and taking it along."""

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.audit import service
from api.audit.service import Search
from api.dashboard import words
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.pagination import PageRequest
from api.tenants import service as tenants

router = page_router()
SHOWN = 50
#: Events of one step of verifying: few enough for a page to be there at once, whatever the length of the log.
STEP = 2_500
NAMES = ("type", "who", "subject", "since", "until")
#: What is looked for first: one type of event each, which an index answers in a log of any length.
FIRST = {
    "": "Everything", "action.denied": "Refused by the gate", "exception.opened": "Put to people",
    "exception.approved": "Approved", "exception.rejected": "Rejected", "kill_switch.engaged": "Stopped",
    "alert.raised": "Alerts", "constitution.published": "Rules published", "member.added": "People added",
}  # fmt: skip
#: The types of events in groups, by the first part of their names. What is in none comes last.
GROUPS = {
    "What was done": ("action", "attempt", "permit", "late_answer", "requeue", "undo_plan", "undo_step"),
    "What was read and decided": ("run", "run_key", "run_step", "observation", "decision", "model_call"),
    "What people decided": ("exception", "approval", "comment", "amendment"),
    "What went wrong, and was stopped": (
        "alert", "incident", "incident_entry", "incident_review", "incident_follow_up", "kill_switch",
        "kill_switch_proof",
    ),
    "Rules and workflows": (
        "constitution", "constitution_draft", "workflow", "workflow_version", "tool", "confidence",
        "confidence_threshold", "webhook_trigger",
    ),
    "People, keys and settings": (
        "member", "invitation", "service_account", "key", "tenant", "tenant_settings", "model_provider", "model_key",
        "sealed_key",
    ),
    "Connections and the directory": (
        "connection", "connection_flow", "credential", "disconnection", "directory_entry", "directory_detail",
        "directory_change", "directory_settings",
    ),
}  # fmt: skip
#: The pages of what events are about, by the kind of subject.
PAGES = {
    "action": "/actions/{}", "run": "/runs/{}", "exception": "/exceptions/{}", "alert": "/alerts/{}",
    "amendment": "/amendments/{}", "kill_switch": "/kill-switches/{}", "incident": "/incidents/{}",
    "connection": "/connections/{}", "constitution": "/constitution/versions/{}",
    "constitution_draft": "/constitution/drafts/{}", "directory_entry": "/directory/{}",
    "directory_change": "/directory/changes/{}", "service_account": "/team/accounts/{}",
    "channel": "/settings/channels/{}",
}  # fmt: skip


@router.get("/audit")
async def show_audit(request: Request, who: Reader) -> Response:
    """The newest events, or those that are searched for."""
    chosen = {name: (request.query_params.get(name) or "").strip()[:200] for name in NAMES}
    filters = {name: value for name, value in chosen.items() if value}
    cursor, problem, listed = request.query_params.get("cursor"), None, None
    types, people = await asyncio.gather(service.list_types(who.principal), principals(who))
    try:
        listed = await service.list_events(who.principal, PageRequest(SHOWN, cursor), searched(chosen))
    except Exception as error:
        problem = problem_of(error)
    address = "/audit?" + urlencode(filters) if filters else "/audit"
    return page(
        who, "audit.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        listed=listed, filters=filters, address=address, beginning=not cursor, rows=_rows(chosen, types, people),
        name_of=_namer(people), export=urlencode(filters), pages=PAGES,
        tabs=[(told, f"/audit?type={kind}" if kind else "/audit", kind == chosen["type"])
              for kind, told in FIRST.items()],
    )  # fmt: skip


@router.get("/audit/events/{seq:int}")
async def show_event(request: Request, seq: int, who: Reader) -> Response:
    """One event, with the hash of the one before and its own recomputed."""
    shown, people = await asyncio.gather(service.get_event(who.principal, seq), principals(who))
    return page(who, "audit_event.html", request=request, shown=shown, name_of=_namer(people), pages=PAGES)


@router.get("/audit/verify")
async def verify(request: Request, who: Reader) -> Response:
    """Recomputes one part of the chain and goes on to the next, until the head: by the browser, without JavaScript.

    The address carries how far it got, signed for this session: nobody is told that what they left out holds.
    """
    asked = request.query_params
    after = int(asked["after"]) if asked.get("after", "").isdecimal() and len(asked["after"]) < 16 else 0
    if not hmac.compare_digest(asked.get("proof", ""), _proof(who, after)):
        after = 0
    part = await service.verify_part(who.principal, after, STEP)
    answer = page(who, "audit_verify.html", request=request, part=part)
    if part["ok"] and not part["done"]:
        onward = urlencode({"after": part["last"], "proof": _proof(who, part["last"])})
        answer.headers["Refresh"] = f"0; url=/audit/verify?{onward}"
    return answer


@router.get("/audit/export")
async def export(request: Request, who: Reader) -> Response:
    """What was searched for as a file."""
    chosen = {name: (request.query_params.get(name) or "").strip()[:200] for name in NAMES}
    form: service.Format = "csv" if request.query_params.get("format") == "csv" else "jsonl"
    pieces = await service.export(who.principal, searched(chosen), form, 0)
    named = {"Content-Disposition": f'attachment; filename="audit-{datetime.now(UTC):%Y-%m-%d}.{form}"'}
    return StreamingResponse(pieces, media_type=service.MEDIA[form], headers=named)


def searched(chosen: dict[str, str]) -> Search:
    """What the form asks for. An id may be of an action or run, or of anything else. Raises Problem 422 for no time."""
    since, until = (_time(chosen[name], name) for name in ("since", "until"))
    kind, _, subject = chosen["subject"].rpartition(":")
    found: dict[str, Any] = {"subject_id": subject or None}
    if kind in ("action", "run"):
        try:
            found = {f"{kind}_id": UUID(subject)}
        except ValueError:
            raise Problem(422, "invalid_request", f"After {kind}: goes the whole id of the {kind}.") from None
    return Search(
        type=chosen["type"] or None, principal_id=chosen["who"] or None, since=since, until=until, **found,
    )  # fmt: skip


def _time(value: str, name: str) -> datetime | None:
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise Problem(
            422, "invalid_request", f"The time of `{name}` is none: write 2026-11-28 or 2026-11-28T08:30."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def principals(who: Visitor) -> list[tuple[str, list[tuple[str, str]]]]:
    """Who is in the log, in groups, as far as the visitor may see them."""
    members, accounts = await asyncio.gather(
        tenants.list_members(who.principal) if who.may("members.read") else _nothing(),
        tenants.list_service_accounts(who.principal) if who.may("service_accounts.read") else _nothing(),
    )
    functions = ("execute_actions", "advance_runs", "expire_exceptions", "refresh_tokens", "rotate_keys",
                 "purge_expired", "calibrate")  # fmt: skip
    return [
        ("People", [(str(each["user_id"]), each.get("name") or each["email"]) for each in members]),
        ("Service accounts", [(str(each["id"]), each["name"]) for each in accounts]),
        ("Scheduled functions", [(name, name.replace("_", " ")) for name in functions]),
    ]


def _namer(people: list[tuple[str, list[tuple[str, str]]]]) -> Any:
    """Answers the name of an event's principal; the beginning of its id where it is not known any more."""
    known = {value: name for _, group in people for value, name in group}
    return lambda principal: known.get(str(principal.get("id")), str(principal.get("id"))[:8])


def _rows(
    chosen: dict[str, str], types: list[str], people: list[tuple[str, list[tuple[str, str]]]]
) -> list[dict[str, Any]]:
    # What is searched for is among them, also where the log has none of it.
    kinds = grouped(sorted({*types, chosen["type"]} - {""}))
    return [
        {"name": "type", "label": "What", "value": chosen["type"], "options": kinds},
        {"name": "who", "label": "Who", "value": chosen["who"], "options": people},
        {"name": "subject", "label": "Id (or action:id, run:id)", "value": chosen["subject"]},
        {"name": "since", "label": "From (UTC)", "value": _local(chosen["since"]), "type": "datetime-local"},
        {"name": "until", "label": "Before (UTC)", "value": _local(chosen["until"]), "type": "datetime-local"},
    ]  # fmt: skip


def grouped(types: list[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The types with their titles, in groups that have any; each type is in one."""
    group_of = {noun: title for title, nouns in GROUPS.items() for noun in nouns}
    found: dict[str, list[tuple[str, str]]] = {title: [] for title in (*GROUPS, "Everything else")}
    for name in types:
        found[group_of.get(name.partition(".")[0], "Everything else")].append((name, words.event(name)))
    return [(title, sorted(rows, key=lambda row: row[1])) for title, rows in found.items() if rows]


def _local(value: str) -> str:
    """A time as the field for one takes it; '' for what is none."""
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%dT%H:%M")
    except ValueError:
        return ""


def _proof(who: Visitor, after: int) -> str:
    return hmac.new(who.csrf.encode(), f"verified {who.tenant_id} {after}".encode(), hashlib.sha256).hexdigest()


async def _nothing() -> list[dict[str, Any]]:
    return []
