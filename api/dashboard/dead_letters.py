"""The pages of dead letters: what was not done and is not tried again by itself, and what a person does about it."""

from typing import Annotated
from uuid import UUID

from fastapi import BackgroundTasks, Query, Request, Response

from api.actions import service as actions
from api.actions.models import Cancellation
from api.dashboard import people
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.lists import narrowed, titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.execution import service
from api.execution.models import Requeue
from api.pagination import Paging
from api.tools import service as tools

router = page_router()
Filter = Annotated[str, Query(max_length=120)]


@router.get("/dead-letters")
async def show_dead_letters(
    request: Request, who: Reader, asked: Paging, workflow: Filter = "", tool: Filter = ""
) -> Response:
    """What was not done, the newest first."""
    listed = await service.list_dead_letters(who.principal, asked, workflow or None, tool or None, None)
    filters = {"workflow": workflow, "tool": tool}
    return page(
        who, "dead_letters.html", request=request, listed=listed, filters=filters,
        titles=await titles_of(who.principal, {each["tool"] for each in listed["items"]}),
        here=narrowed("/dead-letters", filters), later=asked.after is not None,
    )  # fmt: skip


@router.get("/dead-letters/{action_id:uuid}")
async def show_dead_letter(request: Request, action_id: UUID, who: Reader) -> Response:
    return await _page(request, who, action_id)


@router.post("/dead-letters/{action_id:uuid}/requeue")
async def requeue(request: Request, action_id: UUID, who: Reader, form: Sent, background: BackgroundTasks) -> Response:
    """Tries it again: as it was decided, or through the gate as a new action where something has moved since."""
    try:
        body = filled(Requeue, {"reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        answer = await service.requeue(who.principal, action_id, body.reason, form.once)
    except Exception as error:
        return await _page(request, who, action_id, asked="requeue", problem=problem_of(error), typed=form)
    result = answer.result
    if result["status"] == "authorized" and not answer.replayed:
        background.add_task(service.execute_soon, who.principal, result["id"])
    done = "requeued" if str(result["id"]) == str(action_id) else "requeued_anew"
    return to(f"/actions/{result['id']}?done={done}")


@router.post("/dead-letters/{action_id:uuid}/cancel")
async def cancel(request: Request, action_id: UUID, who: Reader, form: Sent) -> Response:
    """Gives it up for good."""
    try:
        body = filled(Cancellation, {"reason": form.text("reason")})
        await actions.cancel(who.principal, action_id, body.reason, form.once)
    except Exception as error:
        return await _page(request, who, action_id, asked="cancel", problem=problem_of(error), typed=form)
    return to(f"/actions/{action_id}?done=cancelled")


async def _page(
    request: Request, who: Visitor, action_id: UUID, *, asked: str = "", problem: Problem | None = None,
    typed: Form | None = None,
) -> Response:  # fmt: skip
    """asked: what was asked for in vain, "requeue" or "cancel"; what was typed for it stands in its form again."""
    try:
        shown = await service.get_dead_letter(who.principal, action_id)
    except Exception as error:
        if problem_of(error).status_code != 404:
            raise
        return to(f"/actions/{action_id}")  # somebody has dealt with it already
    contracts = await tools.contracts_of(who.principal, [shown["tool"]])
    return page(
        who, "dead_letter.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        asked=asked, typed=typed, shown=shown, contract=contracts.get(shown["tool"]), members=await people.names(who),
    )  # fmt: skip
