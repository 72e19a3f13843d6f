"""A draft that another publication overtook: what came since, what the draft keeps, and whose a rule in conflict is."""

import asyncio
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.constitution import service
from api.constitution.models import Rebasing
from api.dashboard import rule_form
from api.dashboard.forms import Sent, filled
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem

router = page_router()
REBASE = "/constitution/drafts/{draft_id:uuid}/rebase"
#: A choice of the form, by the name of its rule.
_CHOICE = "keep:"
_SIDES = ("mine", "theirs")


@router.get(REBASE)
async def show_rebase(request: Request, draft_id: UUID, who: Reader) -> Response:
    """What was published since, and what the draft would change of it."""
    return await _page(request, who, draft_id)


@router.post(REBASE)
async def rebase(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    """Brings the draft up to what is in force; only shows what it would be when that is the button that was pressed.

    What was chosen so far is what the page shows, also of a form that is refused.
    """
    keep = {name: values[-1] for name, values in form.starting(_CHOICE).items()}
    chosen: dict[str, Any] = {name: side for name, side in keep.items() if side in _SIDES}
    try:
        body = filled(Rebasing, {"to_version": form.text("to_version"), "keep": keep})
        if form.text("go") == "look":
            return await _page(request, who, draft_id, chosen)
        made = (await service.rebase(who.principal, draft_id, body, form.once)).result
    except Exception as error:
        return await _page(request, who, draft_id, chosen, problem=problem_of(error))
    return to(f"/constitution/drafts/{made['id']}?done=rules_rebased")


async def _page(
    request: Request, who: Visitor, draft_id: UUID, chosen: dict[str, Any] | None = None, *,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    """What the draft would be, with whose a rule in conflict is as `chosen` says so far."""
    chosen = chosen or {}
    draft, told = await asyncio.gather(
        service.get_draft(who.principal, draft_id), service.preview_rebase(who.principal, draft_id, chosen)
    )
    left = {each["rule_id"] for each in told["conflicts"]}
    chosen = {name: side for name, side in chosen.items() if name in left}
    sides = [
        each | {side: rule_form.whole(each[side]) if each[side] else None for side in ("mine", "theirs")}
        for each in told["conflicts"]
    ]
    return page(
        who, "constitution_rebase.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, draft=draft, told=told, conflicts=sides, chosen=chosen, own=draft["author"] == who.user_id,
        is_open=draft["status"] in ("draft", "in_review"),
    )  # fmt: skip
