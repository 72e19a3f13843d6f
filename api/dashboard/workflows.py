"""Workflows: what each may do, whether it is ready, and its way from a draft to being live through a second person."""

import asyncio
from typing import Any, Literal

from fastapi import Request, Response

from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.json_places import written
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.workflows import service
from api.workflows.models import Approval, Rejection

router = page_router()
#: How many versions a page lists.
VERSIONS = 30
_DONE = {"submit": "submitted", "withdraw": "withdrawn", "reject": "sent_back", "approve": "live"}


@router.get("/workflows")
async def show_workflows(request: Request, who: Reader) -> Response:
    return page(who, "workflows.html", request=request, workflows=await service.list_workflows(who.principal))


@router.get("/workflows/{slug}")
async def show_workflow(request: Request, slug: str, who: Reader, version: int | None = None) -> Response:
    """The version asked for, else one that waits for a reviewer, else the live one, else the newest."""
    return await _page(request, who, slug, version)


@router.post("/workflows/{slug}/versions/{version}/{move}")
async def move_version(
    request: Request,
    slug: str,
    version: int,
    move: Literal["submit", "withdraw", "reject", "approve"],
    who: Reader,
    form: Sent,
) -> Response:
    """A version's next step: to a reviewer, back to its author, or live."""
    try:
        if move == "approve":
            who = await stepped_up(who, form, request)
        await _moved(who, slug, version, move, form)
    except Exception as error:
        return await _page(request, who, slug, version, typed=form, problem=problem_of(error))
    return to(f"/workflows/{slug}?version={version}&done={_DONE[move]}")


async def _moved(who: Visitor, slug: str, version: int, move: str, form: Form) -> None:
    reason = form.text("reason")
    if move == "approve":
        live = form.text("compared_with")
        read = {"spec_digest": form.text("spec_digest"), "compared_with": int(live) if live.isdecimal() else None}
        body = filled(Approval, {"reason": reason} | read)
        await service.approve(who.principal, slug, version, body, form.once)
    elif move == "reject":
        sent_back = filled(Rejection, {"reason": reason})
        await service.reject(who.principal, slug, version, sent_back, form.once)
    elif move == "submit":
        await service.submit(who.principal, slug, version, form.once)
    else:
        await service.withdraw(who.principal, slug, version, form.once)


async def _page(
    request: Request, who: Visitor, slug: str, version: int | None, *, typed: Form | None = None,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    rows = await service.list_versions(who.principal, slug, version)
    chosen = version or _first_to_read(rows)
    document, stopped = await asyncio.gather(
        service.access_spec(who.principal, slug, chosen, rows), service.stopping(who.principal, rows[0]["id"])
    )
    row = next(each for each in rows if each["version"] == chosen)
    mine = str(row["author"]) == str(who.user_id)
    return page(
        who, "workflow.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, document=document, row=row, rows=rows[:VERSIONS], mine=mine,
        stopped=stopped, kinds=_by_kind(document["changes"]),
        written=written(document["spec"]),
    )  # fmt: skip


def _first_to_read(rows: list[dict[str, Any]]) -> int:
    """What a person who opens a workflow wants to see: what waits for a reviewer, else what is in force."""
    for status in ("in_review", "live"):
        for row in rows:
            if row["status"] == status:
                return int(row["version"])
    return int(rows[0]["version"])


def _by_kind(changes: list[Any]) -> list[tuple[str, list[Any]]]:
    """The changes of an access spec, what widens first."""
    kinds = ("widened", "narrowed", "changed")
    return [(kind, found) for kind in kinds if (found := [each for each in changes if each.kind == kind])]
