"""The pages of actions: the list, and one with its decision, attempts and changes, and what may be done about it."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import BackgroundTasks, Query, Request, Response

from api.actions import service
from api.actions.models import Cancellation
from api.dashboard import people
from api.dashboard.exception_brief import money
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.lists import narrowed, slugs, titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.execution import service as execution
from api.execution.models import Compensation, Reconciliation
from api.pagination import Paging
from api.tools import service as tools

router = page_router()
Filter = Annotated[str, Query(max_length=120)]
#: What a person found out about an action of which nobody knew the end; '' has the provider asked.
FOUND = {"provider": None, "succeeded": "succeeded", "failed": "failed"}


@router.get("/actions")
async def show_actions(
    request: Request, who: Reader, asked: Paging, status: Filter = "", workflow: Filter = "", tool: Filter = "",
    effect: Filter = "",
) -> Response:  # fmt: skip
    """Actions, the newest first."""
    narrow = {"workflow": workflow or None, "tool": tool or None, "effect": effect or None}
    listed, names = await asyncio.gather(
        service.list_actions(who.principal, asked, status or None, None, **narrow), _workflows(who)
    )
    filters = {"status": status, "workflow": workflow, "tool": tool, "effect": effect}
    return page(
        who, "actions.html", request=request, listed=listed, filters=filters, workflows=names,
        titles=await titles_of(who.principal, {each["tool"] for each in listed["items"]}),
        here=narrowed("/actions", filters), later=asked.after is not None,
    )  # fmt: skip


@router.get("/actions/{action_id:uuid}")
async def show_action(request: Request, action_id: UUID, who: Reader) -> Response:
    return await _page(request, who, action_id)


@router.post("/actions/{action_id:uuid}/cancel")
async def cancel(request: Request, action_id: UUID, who: Reader, form: Sent) -> Response:
    """Cancels what has not started, or was given up."""
    try:
        body = filled(Cancellation, {"reason": form.text("reason")})
        await service.cancel(who.principal, action_id, body.reason, form.once)
    except Exception as error:
        return await _page(request, who, action_id, problem=problem_of(error), typed=form)
    return to(f"/actions/{action_id}?done=cancelled")


@router.post("/actions/{action_id:uuid}/undo")
async def undo(request: Request, action_id: UUID, who: Reader, form: Sent, background: BackgroundTasks) -> Response:
    """Proposes the undo of an action; what the gate allows is carried out at once."""
    try:
        body = filled(Compensation, {"reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        answer = await execution.compensate(who.principal, action_id, body.reason, form.once)
    except Exception as error:
        return await _page(request, who, action_id, problem=problem_of(error), typed=form)
    if answer.result["status"] == "authorized" and not answer.replayed:
        background.add_task(execution.execute_soon, who.principal, answer.result["id"])
    return to(f"/actions/{answer.result['id']}?done=undo_proposed")


@router.post("/actions/{action_id:uuid}/reconcile")
async def reconcile(request: Request, action_id: UUID, who: Reader, form: Sent) -> Response:
    """Closes an unknown outcome: asks the provider, or records what a person found out there."""
    try:
        body = filled(Reconciliation, {"outcome": FOUND.get(form.text("outcome")), "reason": _reason(form)})
        if form.text("outcome") not in FOUND:
            raise Problem(422, "invalid_request", "Say whether it happened, or have the provider asked.")
        who = await stepped_up(who, form, request)
        answer = await execution.reconcile(who.principal, action_id, body, form.once)
    except Exception as error:
        return await _page(request, who, action_id, problem=problem_of(error), typed=form)
    return to(f"/actions/{action_id}?done=reconciled_{answer.result['status']}")


def _reason(form: Form) -> str:
    """What was found, with where at the provider it is to be seen."""
    reference = form.text("reference")
    return form.text("reason") + (f" (reference at the provider: {reference})" if reference else "")


async def _workflows(who: Visitor) -> list[str]:
    return await slugs(who.principal) if who.may("workflows.read") else []


async def _page(
    request: Request, who: Visitor, action_id: UUID, *, problem: Problem | None = None, typed: Form | None = None
) -> Response:
    shown: dict[str, Any] = await service.get(who.principal, action_id)
    contracts, members = await asyncio.gather(tools.contracts_of(who.principal, [shown["tool"]]), people.names(who))
    contract = contracts.get(shown["tool"])
    return page(
        who, "action.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, shown=shown, contract=contract, members=members,
        money=money(contract, shown["args"]),
    )  # fmt: skip
