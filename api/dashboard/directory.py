"""The directory: whom the company vouches for, and its changes by one person who proposes and another who approves."""

import asyncio
from typing import Any, Literal, get_args
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from api.dashboard import directory_form, words
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.directory import service
from api.directory.models import ChangeStatus, Checked, Kind, NewChange, Refused, Withdrawal
from api.errors import Problem
from api.pagination import PageRequest

router = page_router()
#: As many as a page shows.
SHOWN = 50
_TOLD = {"approve": "directory_approved", "reject": "directory_rejected", "withdraw": "directory_withdrawn"}
#: By what two details are the same one, if with other particulars.
_KEYS = {
    "bank_account": ("iban", "routing_number", "bank_code", "account_number"), "email": ("email",),
    "domain": ("domain",), "phone": ("phone",), "address": ("address",), "external_id": ("system", "id"),
}  # fmt: skip


@router.get("/directory")
async def show_directory(request: Request, who: Reader) -> Response:
    """The entries that are vouched for, or those that were removed, by search and filters."""
    given = request.query_params
    chosen = {
        "search": given.get("search", "").strip()[:320], "kind": _one_of(given.get("kind"), get_args(Kind)),
        "environment": _one_of(given.get("environment"), ("sandbox", "production")),
        "status": "removed" if given.get("status") == "removed" else "active",
    }  # fmt: skip
    cursor = given.get("cursor")
    listed, waiting = await asyncio.gather(
        service.list_entries(
            who.principal, PageRequest(SHOWN, cursor), chosen["search"] or None, chosen["environment"] or None,
            chosen["kind"] or None, chosen["status"],
        ),
        service.list_changes(who.principal, PageRequest(SHOWN, None), "open"),
    )  # fmt: skip
    kept = {name: value for name, value in chosen.items() if value and not (name == "status" and value == "active")}
    return page(
        who, "directory.html", request=request, listed=listed, chosen=chosen, waiting=waiting["items"],
        tabs=_tabs(chosen["status"]), filters=_filters(chosen), address=_address("/directory", kept),
        filtered=any(chosen[name] for name in ("search", "kind", "environment")), beginning=cursor is None,
    )  # fmt: skip


@router.get("/directory/new")
async def show_new(request: Request, who: Reader) -> Response:
    return await _form_page(request, who, None)


@router.post("/directory/new")
async def propose_entry(request: Request, who: Reader, form: Sent) -> Response:
    """Proposes an entry that is not there yet."""
    try:
        body = directory_form.change_of(form, "create", {"environment": form.text("environment") or None})
        made = await service.propose(who.principal, body, form.once)
    except Exception as error:
        return await _form_page(request, who, None, typed=form, problem=problem_of(error))
    return to(f"/directory/changes/{made.result['id']}?done=directory_proposed")


@router.get("/directory/changes")
async def show_changes(request: Request, who: Reader) -> Response:
    """Proposals: those that wait, or all of them."""
    status = _one_of(request.query_params.get("status"), get_args(ChangeStatus))
    cursor = request.query_params.get("cursor")
    listed = await service.list_changes(who.principal, PageRequest(SHOWN, cursor), status or None)
    return page(
        who, "directory_changes.html", request=request, listed=listed, wanted=status, said=said,
        tabs=_tabs("changes"), beginning=cursor is None,
        address=_address("/directory/changes", {"status": status} if status else {}),
    )  # fmt: skip


@router.get("/directory/changes/{change_id}")
async def show_change(request: Request, change_id: UUID, who: Reader) -> Response:
    return await _change(request, who, change_id)


@router.post("/directory/changes/{change_id}/{move}")
async def decide_change(
    request: Request, change_id: UUID, move: Literal["approve", "reject", "withdraw"], who: Reader, form: Sent
) -> Response:
    """A second person's word on a proposal whose digest they saw, or its maker's taking it back."""
    try:
        await _decided(request, who, change_id, move, form)
    except Exception as error:
        return await _change(request, who, change_id, typed=form, problem=problem_of(error))
    return to(f"/directory/changes/{change_id}?done={_TOLD[move]}")


@router.get("/directory/waiting-time")
async def show_settings(request: Request, who: Reader) -> Response:
    return await _settings(request, who)


@router.post("/directory/waiting-time")
async def propose_settings(request: Request, who: Reader, form: Sent) -> Response:
    """Proposes for how long new bank details are not trusted yet."""
    try:
        given = {"version": form.text("version"), "cooling_off_hours": form.text("cooling_off_hours")}
        body = filled(NewChange, given | {"kind": "settings", "reason": form.text("reason")})
        made = await service.propose(who.principal, body, form.once)
    except Exception as error:
        return await _settings(request, who, typed=form, problem=problem_of(error))
    return to(f"/directory/changes/{made.result['id']}?done=directory_proposed")


@router.get("/directory/{entry_id}")
async def show_entry(request: Request, entry_id: UUID, who: Reader) -> Response:
    return await _entry(request, who, entry_id)


@router.get("/directory/{entry_id}/change")
async def show_edit(request: Request, entry_id: UUID, who: Reader) -> Response:
    return await _form_page(request, who, await service.get_entry(who.principal, entry_id))


@router.post("/directory/{entry_id}/{kind}")
async def propose_change(
    request: Request, entry_id: UUID, kind: Literal["change", "remove"], who: Reader, form: Sent
) -> Response:
    """Proposes that an entry becomes what the form says, or that nobody vouches for it any more."""
    try:
        body = directory_form.change_of(form, kind, {"entry_id": str(entry_id), "version": form.text("version")})
        made = await service.propose(who.principal, body, form.once)
    except Exception as error:
        problem = problem_of(error)
        if kind == "remove":
            return await _entry(request, who, entry_id, problem=problem)
        entry = await service.get_entry(who.principal, entry_id)
        return await _form_page(request, who, entry, typed=form, problem=problem)
    return to(f"/directory/changes/{made.result['id']}?done=directory_proposed")


def said(change: dict[str, Any]) -> str:
    """What a change is about, in a few words."""
    entry = change["proposal"]["entry"]
    if change["kind"] == "settings":
        return f"Waiting time of {words.count(change['proposal']['settings']['cooling_off_hours'], 'hour')}"
    if entry:
        return str(entry["name"])
    return "An entry"


def compared(change: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """The details of a change as (added | removed | changed | kept, detail, what it was), what differs first."""
    before = {_key(each): _plain(each) for each in (change["before"] or {}).get("details", [])}
    after = {_key(each["value"]): each["value"] for each in change["proposal"]["details"]}
    rows: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = []
    for key, value in after.items():
        was = before.get(key)
        rows.append(("added" if was is None else "kept" if was == value else "changed", value, was))
    rows += [("removed", value, None) for key, value in before.items() if key not in after]
    order = ("added", "changed", "removed", "kept")
    return sorted(rows, key=lambda row: order.index(row[0]))


def _key(detail: dict[str, Any]) -> tuple[str, ...]:
    return (detail["type"], *(str(detail.get(name)) for name in _KEYS[detail["type"]]))


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if name not in ("trusted_from", "state", "change_id")}


async def _decided(request: Request, who: Visitor, change_id: UUID, move: str, form: Form) -> None:
    reason, digest = form.text("reason"), form.text("digest")
    if move == "withdraw":
        body = filled(Withdrawal, {"reason": reason})
        await service.withdraw(who.principal, change_id, body.reason, form.once)
        return
    told = {"digest": digest, "reason": reason}
    word = filled(Checked, told) if move == "approve" else filled(Refused, told)
    who = await stepped_up(who, form, request)
    await service.decide(who.principal, change_id, move, word.digest, word.reason, form.once)


async def _change(
    request: Request, who: Visitor, change_id: UUID, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    change = await service.get_change(who.principal, change_id)
    return page(
        who, "directory_change.html", request=request, status=problem.status_code if problem else 200, change=change,
        typed=typed, problem=problem, said=said(change), rows=compared(change),
        mine=str(change["proposed_by"]["id"]) == str(who.user_id),
        new_account=any(kind in ("added", "changed") and value["type"] == "bank_account"
                        for kind, value, _ in compared(change)),
    )  # fmt: skip


async def _entry(request: Request, who: Visitor, entry_id: UUID, *, problem: Problem | None = None) -> Response:
    entry = await service.get_entry(who.principal, entry_id)
    return page(
        who, "directory_entry.html", request=request, status=problem.status_code if problem else 200, entry=entry,
        problem=problem,
        cooling=[each for each in entry["details"] if each["state"] == "cooling_off"],
    )  # fmt: skip


async def _form_page(
    request: Request, who: Visitor, entry: dict[str, Any] | None, *, typed: Form | None = None,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    values = directory_form.of_form(typed) if typed else directory_form.of_entry(entry)
    return page(
        who, "directory_form.html", request=request, status=problem.status_code if problem else 200, entry=entry,
        values=values, problem=problem, version=typed.text("version") if typed else (entry or {}).get("version"),
        environment=typed.text("environment") if typed else "",
    )  # fmt: skip


async def _settings(
    request: Request, who: Visitor, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    return page(
        who, "directory_settings.html", request=request, status=problem.status_code if problem else 200,
        settings=await service.get_settings(who.principal), typed=typed, problem=problem, tabs=_tabs("settings"),
    )  # fmt: skip


def _tabs(here: str) -> list[tuple[str, str, bool]]:
    return [
        ("Entries", "/directory", here == "active"), ("Removed", "/directory?status=removed", here == "removed"),
        ("Changes", "/directory/changes", here == "changes"),
        ("Waiting time", "/directory/waiting-time", here == "settings"),
    ]  # fmt: skip


def _filters(chosen: dict[str, str]) -> list[dict[str, Any]]:
    status = "" if chosen["status"] == "active" else chosen["status"]
    return [
        {"name": "status", "type": "hidden", "value": status},
        {"name": "search", "label": "Name, account, address or number", "value": chosen["search"]},
        {"name": "kind", "label": "Kind", "value": chosen["kind"], "options": words.options("directory_kind")},
        {"name": "environment", "label": "Environment", "value": chosen["environment"],
         "options": words.options("environment")},
    ]  # fmt: skip


def _one_of(value: str | None, known: tuple[str, ...]) -> str:
    return value if value in known else ""


def _address(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
