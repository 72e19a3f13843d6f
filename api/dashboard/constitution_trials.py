"""Trying a draft of the rules: on one proposal, and on everything that was decided before. Nothing is recorded."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from api.actions import service as actions
from api.constitution import service
from api.constitution.models import Simulation
from api.dashboard.constitution_drafts import DRAFTS
from api.dashboard.forms import Form, Sent, filled
from api.dashboard.lists import titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.replay import service as replay
from api.replay.models import Backtest

router = page_router()
#: Decisions that a draft is tried on at once, so that the page is there at once, and on each press of a button after
#: that: each takes two milliseconds.
FIRST, TRIED = 15, 300
#: What a proposal is made of, as far as an action keeps it.
_KEPT = ("workflow", "run_id", "tool", "args", "confidence", "rationale", "citations", "subject")


@router.get(f"{DRAFTS}/{{draft_id:uuid}}/simulate")
async def show_simulation(request: Request, draft_id: UUID, who: Reader) -> Response:
    return await _simulation(request, who, draft_id)


@router.post(f"{DRAFTS}/{{draft_id:uuid}}/simulate")
async def simulate(request: Request, draft_id: UUID, who: Reader, form: Sent) -> Response:
    """The decision on a proposal that was pasted, or on that of an earlier action, on the facts of now."""
    try:
        proposal = await _proposal(who, form)
        simulated = await service.simulate(
            who.principal, filled(Simulation, {"proposal": proposal, "draft_id": draft_id})
        )  # fmt: skip
    except Exception as error:
        return await _simulation(request, who, draft_id, typed=form, problem=problem_of(error))
    return await _simulation(request, who, draft_id, typed=form, simulated=simulated, proposal=proposal)


@router.get(f"{DRAFTS}/{{draft_id:uuid}}/backtest")
async def backtest(
    request: Request, draft_id: UUID, who: Reader, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> Response:
    """What the draft would have decided otherwise, newest first: a few decisions, then some hundred at a time."""
    draft = await service.get_draft(who.principal, draft_id)
    report = await replay.backtest(
        who.principal, Backtest(draft_id=draft_id, limit=TRIED if cursor else FIRST, cursor=cursor)
    )
    flips = sorted(report.flips, key=lambda flip: not flip.contradicts)
    return page(
        who, "constitution_backtest.html", request=request, draft=draft, report=report, flips=flips, cursor=cursor,
        more=TRIED, titles=await titles_of(who.principal, {flip.tool for flip in flips}),
    )  # fmt: skip


async def _proposal(who: Visitor, form: Form) -> dict[str, Any]:
    """What was pasted, or the proposal of the action that was named. Raises Problem 422 for neither."""
    named, pasted = form.text("action_id"), form.raw("proposal").strip()
    if named:
        try:
            action = await actions.get(who.principal, UUID(named))
        except ValueError:
            raise Problem(
                422, "invalid_request", "That is no id of an action; copy it from the action's page."
            ) from None
        evidence = [{"observation_id": str(each["observation_id"])} for each in action["evidence"]]
        return {name: action[name] for name in _KEPT} | {"evidence": evidence}
    try:
        found = json.loads(pasted)
    except (ValueError, RecursionError):
        raise Problem(422, "invalid_request", "Paste a proposal as JSON, or name an earlier action.") from None
    if not isinstance(found, dict):
        raise Problem(422, "invalid_request", "A proposal is an object of JSON, as POST /v1/actions takes it.")
    return found


async def _simulation(
    request: Request, who: Visitor, draft_id: UUID, *, typed: Form | None = None, problem: Problem | None = None,
    simulated: dict[str, Any] | None = None, proposal: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    draft = await service.get_draft(who.principal, draft_id)
    return page(
        who, "constitution_simulate.html", request=request, status=problem.status_code if problem else 200,
        problem=problem, typed=typed, draft=draft, simulated=simulated, proposal=proposal,
    )  # fmt: skip
