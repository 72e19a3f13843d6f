"""The pages of runs: the list, the trace of one as a timeline, what was read in it, and undoing all that it wrote."""

import asyncio
import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import BackgroundTasks, Query, Request, Response

from api.dashboard import people, run_timeline
from api.dashboard.forms import Sent, filled, stepped_up
from api.dashboard.lists import narrowed, slugs, titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.execution import service as execution
from api.execution.models import Compensation
from api.pagination import Paging
from api.runs.history import service as history
from api.runs.loop import service as loop
from api.runs.models import Ending, Restart

router = page_router()
#: Events of a run on one page; of the reads among them, how large one may be, as it is kept, and all of them together,
#: to be told there and not on a page of their own. In bytes.
EVENTS, READ, READS = 60, 4_000, 12_000
_OPEN = ("queued", "running", "waiting")
Filter = Annotated[str, Query(max_length=63)]


@router.get("/runs")
async def show_runs(
    request: Request, who: Reader, asked: Paging, status: Filter = "", workflow: Filter = "", trigger: Filter = ""
) -> Response:
    """Runs, the newest first."""
    listed, names = await asyncio.gather(
        history.list_runs(who.principal, asked, workflow or None, status or None, trigger or None), _workflows(who)
    )
    filters = {"status": status, "workflow": workflow, "trigger": trigger}
    return page(
        who, "runs.html", request=request, listed=listed, filters=filters, workflows=names,
        here=narrowed("/runs", filters), later=asked.after is not None,
    )  # fmt: skip


@router.get("/runs/{run_id:uuid}")
async def show_run(
    request: Request, run_id: UUID, who: Reader, start: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> Response:
    return await _run(request, who, run_id, start=start)


@router.get("/runs/{run_id:uuid}/observations/{observation_id:uuid}")
async def show_observation(request: Request, run_id: UUID, observation_id: UUID, who: Reader) -> Response:
    """One read, whole."""
    seen = await history.observation(who.principal, run_id, observation_id)
    titles = await titles_of(who.principal, [seen["tool"]])
    return page(who, "run_observation.html", request=request, seen=seen, titles=titles, run_id=run_id)


@router.post("/runs/{run_id:uuid}/cancel")
async def cancel(request: Request, run_id: UUID, who: Reader, form: Sent) -> Response:
    """Ends a run that its workflow's loop drives."""
    try:
        body = filled(Ending, {"reason": form.text("reason")})
        await loop.cancel(who.principal, run_id, body.reason, form.once)
    except Exception as error:
        return await _run(request, who, run_id, problem=problem_of(error))
    return to(f"/runs/{run_id}?done=run_cancelled")


@router.post("/runs/{run_id:uuid}/restart")
async def restart(request: Request, run_id: UUID, who: Reader, form: Sent) -> Response:
    """Has another run do what a failed one was for."""
    try:
        body = filled(Restart, {"reason": form.text("reason")})
        answer = await loop.restart(who.principal, run_id, body.reason, form.once)
    except Exception as error:
        return await _run(request, who, run_id, problem=problem_of(error))
    return to(f"/runs/{answer.result['id']}?done=run_again")


@router.get("/runs/{run_id:uuid}/undo")
async def show_undo(request: Request, run_id: UUID, who: Reader) -> Response:
    """What undoing the run would do, and what became of it where somebody has asked for it."""
    return await _undo(request, who, run_id)


@router.post("/runs/{run_id:uuid}/undo")
async def undo(request: Request, run_id: UUID, who: Reader, form: Sent, background: BackgroundTasks) -> Response:
    """Undoes what the run wrote, the last write first; each undo goes through the gate."""
    try:
        body = filled(Compensation, {"reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        answer = await execution.undo_run(who.principal, run_id, body.reason, form.once)
    except Exception as error:
        return await _undo(request, who, run_id, problem=problem_of(error), reason=form.text("reason"))
    if not answer.replayed:
        background.add_task(execution.pursue_soon, answer.result["tenant_id"], answer.result["id"])
    return to(f"/runs/{run_id}/undo?done=run_undo")


async def _workflows(who: Visitor) -> list[str]:
    return await slugs(who.principal) if who.may("workflows.read") else []


async def _run(
    request: Request, who: Visitor, run_id: UUID, *, start: int = 0, problem: Problem | None = None
) -> Response:
    trace, members, report = await asyncio.gather(
        history.trace(who.principal, run_id), people.names(who), _report(who, run_id)
    )
    events = run_timeline.events(trace)
    shown = events[start : start + EVENTS]
    reads, titles = await asyncio.gather(
        _small_reads(who, run_id, [event for event in shown if event.kind == "read"]),
        titles_of(who.principal, {each["tool"] for each in (*trace["actions"], *trace["observations"])}),
    )
    return page(
        who, "run.html", request=request, status=problem.status_code if problem else 200, problem=problem, run=trace,
        events=shown, start=start, total=len(events), size=EVENTS, reads=reads, titles=titles, members=members,
        changes=run_timeline.changes(reads, trace), totals=run_timeline.totals(trace), cost=run_timeline.cost,
        report=report, cancellable=trace["driven_by"] == "loop" and trace["status"] in _OPEN,
        restartable=trace["driven_by"] == "loop" and trace["status"] == "failed",
    )  # fmt: skip


async def _small_reads(who: Visitor, run_id: UUID, events: list[run_timeline.Event]) -> dict[str, dict[str, Any]]:
    """What was read, by id, as far as all of it together is small enough for a page."""
    ids = [UUID(str(event.of["id"])) for event in events]
    if not ids:
        return {}
    reads, left = {}, READS
    for seen in await history.observations(who.principal, run_id, ids, READ):
        left -= len(json.dumps(seen["result"]))
        if left < 0:
            break
        reads[str(seen["id"])] = seen
    return reads


async def _report(who: Visitor, run_id: UUID) -> dict[str, Any] | None:
    """What became of undoing the run; None where nobody asked for it, or the visitor may not see it."""
    if not who.may("actions.read"):
        return None
    try:
        return await execution.undo_report(who.principal, run_id)
    except Problem as problem:
        if problem.status_code != 404:
            raise
    return None


async def _undo(
    request: Request, who: Visitor, run_id: UUID, *, problem: Problem | None = None, reason: str = ""
) -> Response:
    plan, report = await asyncio.gather(execution.undo_preview(who.principal, run_id), _report(who, run_id))
    steps = [*plan["steps"], *(report["steps"] if report else [])]
    names = {each["action"]["tool"] for each in steps} | {each["tool"] for each in plan["steps"] if each["tool"]}
    return page(
        who, "run_undo.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        run_id=run_id, plan=plan, report=report, titles=await titles_of(who.principal, names), reason=reason,
    )  # fmt: skip
