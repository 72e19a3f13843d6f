"""The page of one exception: everything that it takes to decide it, and what a person may do with it."""

import asyncio
import json
from typing import Any
from uuid import UUID

from fastapi import BackgroundTasks, Request, Response

from api.actions import service as actions
from api.dashboard import schema_form
from api.dashboard.exception_brief import brief, money, place
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.exceptions import service
from api.exceptions.models import Asked, Assignment, NewComment, Repropose, Verdict
from api.execution import service as execution
from api.gate.models import Contract
from api.pagination import PageRequest
from api.tenants import service as tenants
from api.tools import service as tools

router = page_router()
#: Why people reject, so that a tired person need not write it. What is chosen is the reason that is recorded.
REJECTIONS = (
    "Wrong amount",
    "Wrong recipient or account",
    "Duplicate: this was done already",
    "Not agreed or not ordered",
    "Looks like fraud",
    "The agent misread what it saw",
)
#: How many earlier cases of the same class are shown.
SIMILAR = 5


@router.get("/exceptions/{exception_id:uuid}")
async def show_exception(request: Request, exception_id: UUID, who: Reader) -> Response:
    return await _page(request, who, exception_id)


@router.get("/exceptions/{exception_id:uuid}/payload")
async def show_payload(exception_id: UUID, who: Reader) -> Response:
    """All that would be done, as JSON in plain ASCII: nothing is left out of it, and nothing in it is unseen."""
    shown = await service.get(who.principal, exception_id)
    written = json.dumps({"tool": shown["tool"], "args": shown["args"]}, indent=2)
    return Response(written, media_type="text/plain; charset=utf-8")


@router.post("/exceptions/{exception_id:uuid}/decision")
async def decide(
    request: Request, exception_id: UUID, who: Reader, form: Sent, background: BackgroundTasks
) -> Response:
    """Approve, reject, or say that it was done by hand; what was approved by everybody is executed at once."""
    try:
        body = filled(Verdict, _verdict(form))
        if body.verdict == "approve" and form.text("cut") and not form.text("whole"):
            raise Problem(422, "not_read", "Read the whole payload first, and say that you did: the page shows a part.")
        who = await stepped_up(who, form, request)
        answer = await service.decide(who.principal, exception_id, body, form.once)
    except Exception as error:
        return await _refused(request, who, exception_id, form, error)
    action = answer.result["action"]
    if action["status"] == "authorized" and action["executed_by"] == "executor" and not answer.replayed:
        background.add_task(execution.execute_soon, who.principal, action["id"])
    return to(f"/exceptions/{exception_id}?done={_done(body.verdict, answer.result)}")


@router.get("/exceptions/{exception_id:uuid}/edit")
async def show_edit(request: Request, exception_id: UUID, who: Reader) -> Response:
    return await _edit_page(request, who, exception_id)


@router.post("/exceptions/{exception_id:uuid}/edit")
async def edit(request: Request, exception_id: UUID, who: Reader, form: Sent) -> Response:
    """Replaces the payload. The edited one goes through the gate again and needs somebody else's approval."""
    shown = await service.get(who.principal, exception_id)
    contract = (await tools.contracts_of(who.principal, [shown["tool"]]))[shown["tool"]]
    args = shown["args"]
    try:
        args, wrong = schema_form.taken(contract.input_schema, form.starting("args"), shown["args"], contract)
        if wrong:
            raise Problem(422, "invalid_request", "Some of this cannot be taken as it is.", list(wrong))
        if args == shown["args"]:
            raise Problem(422, "unchanged", "Nothing was changed. Approve it as it is, or change something first.")
        verdict = {"verdict": "edit", "digest": form.text("digest"), "args": args, "reason": form.text("reason")}
        who = await stepped_up(who, form, request)
        answer = await service.decide(who.principal, exception_id, filled(Verdict, verdict), form.once)
    except Problem as problem:
        return await _edit_page(request, who, exception_id, args=args, problem=problem, reason=form.text("reason"))
    return to(f"/exceptions/{_next(answer.result, exception_id)}?done=edited")


@router.post("/exceptions/{exception_id:uuid}/assign")
async def assign(request: Request, exception_id: UUID, who: Reader, form: Sent) -> Response:
    """Hands it to a colleague, or back to nobody."""
    try:
        wanted = filled(Assignment, {"user_id": form.text("user_id") or None})
        await service.assign(who.principal, exception_id, wanted.user_id, form.once)
    except Exception as error:
        return await _refused(request, who, exception_id, form, error)
    return to(f"/exceptions/{exception_id}?done={'assigned' if wanted.user_id else 'unassigned'}")


@router.post("/exceptions/{exception_id:uuid}/look")
async def look(request: Request, exception_id: UUID, who: Reader, form: Sent) -> Response:
    """Looks at what it would change once more, at the provider; what cannot be read keeps nobody from deciding."""
    try:
        await execution.look(who.principal, exception_id, form.once)
    except Exception as error:
        return await _refused(request, who, exception_id, form, error)
    return to(f"/exceptions/{exception_id}?done=looked#there")


@router.post("/exceptions/{exception_id:uuid}/comments")
async def comment(exception_id: UUID, who: Reader, form: Sent) -> Response:
    await service.comment(who.principal, exception_id, filled(NewComment, {"text": form.text("text")}), form.once)
    return to(f"/exceptions/{exception_id}?done=commented#comments")


@router.post("/exceptions/{exception_id:uuid}/repropose")
async def repropose(
    request: Request, exception_id: UUID, who: Reader, form: Sent, background: BackgroundTasks
) -> Response:
    """Proposes again, in the person's own name, what a kill switch stopped."""
    try:
        body = filled(Repropose, {"digest": form.text("digest"), "reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        answer = await service.repropose(who.principal, exception_id, body, form.once)
    except Exception as error:
        return await _refused(request, who, exception_id, form, error)
    if answer.result["status"] == "authorized" and answer.result["executed_by"] == "executor" and not answer.replayed:
        background.add_task(execution.execute_soon, who.principal, answer.result["id"])
    return to(f"/actions/{answer.result['id']}?done=reproposed")


def _verdict(form: Form) -> dict[str, Any]:
    """What was chosen: a preset is the reason, and what is written beside it is added."""
    parts = [form.text("preset"), form.text("reason")]
    given = {"verdict": form.text("verdict"), "digest": form.text("digest"), "reason": ". ".join(filter(None, parts))}
    reference = form.text("provider_reference")
    return given | ({"provider_reference": reference} if reference else {})


def _done(verdict: str, result: dict[str, Any]) -> str:
    if verdict == "approve" and result["status"] == "open":
        return "approved_one"
    return {"approve": "approved", "reject": "rejected", "answer": "answered"}[verdict]


def _next(result: dict[str, Any], exception_id: UUID) -> Any:
    """The exception of the edited action, where it waits; the old one when it waits for nobody."""
    return ((result.get("superseded_by") or {}).get("exception") or {}).get("id", exception_id)


async def _refused(request: Request, who: Visitor, exception_id: UUID, form: Form, error: Exception) -> Response:
    """The page as it is now, with why the verdict was refused: perhaps somebody else was faster."""
    problem = problem_of(error)
    return await _page(request, who, exception_id, problem=problem, typed=form, status=problem.status_code)


async def _page(
    request: Request, who: Visitor, exception_id: UUID, *, problem: Problem | None = None, typed: Form | None = None,
    status: int = 200,
) -> Response:  # fmt: skip
    shown = await service.get(who.principal, exception_id)
    contracts = await tools.contracts_of(who.principal, [shown["tool"]])
    contract = contracts.get(shown["tool"])
    members, comments, similar, target, onward = await asyncio.gather(
        people(who),
        service.list_comments(who.principal, exception_id),
        _similar(who, shown),
        _target(who, contract, shown),
        _next_one(who, shown),
    )
    before = await actions.get(who.principal, shown["supersedes"]) if shown["supersedes"] else None
    return page(
        who, "exception.html", request=request, status=status, problem=problem, typed=typed, shown=shown,
        contract=contract, contracts=contracts, members=members, comments=comments, similar=similar, before=before,
        rejections=REJECTIONS, target=target, short=brief(shown, contract, target),
        money=money(contract, shown["args"]), onward=onward, place=place,
    )  # fmt: skip


async def _target(who: Visitor, contract: Contract | None, shown: dict[str, Any]) -> dict[str, Any] | None:
    """What is known of what it would change; None where its contract does not say how to look, so nothing is asked."""
    if not execution.has_a_way(contract, shown["args"]):
        return None
    return await execution.target(who.principal, shown["id"])


async def _next_one(who: Visitor, shown: dict[str, Any]) -> dict[str, Any] | None:
    """What waits for somebody like the visitor and ends first, once they have decided this one; None before."""
    said = any(each["user_id"] == str(who.user_id) for each in shown["approvals"])
    if (shown["status"] == "open" and not said) or not who.may("exceptions.decide"):
        return None
    listed = await service.list_exceptions(
        who.principal, PageRequest(limit=1, cursor=None), Asked(status="open", sort="expires_at", of_others=who.user_id)
    )
    return next(iter(listed["items"]), None)


async def people(who: Visitor) -> dict[str, dict[str, Any]]:
    """The members by their ids, as far as the visitor may see them, and the visitor in any case."""
    seen = await tenants.list_members(who.principal) if who.may("members.read") else []
    me = {str(who.user_id): {"name": who.name, "email": who.email}}
    return me | {str(each["user_id"]): each for each in seen}


async def _similar(who: Visitor, shown: dict[str, Any]) -> list[dict[str, Any]]:
    """The latest other cases of the same class, newest first."""
    if not shown["class_key"]:
        return []
    first = PageRequest(limit=SIMILAR + 1, cursor=None)
    listed = await service.list_exceptions(who.principal, first, Asked(class_key=shown["class_key"]))
    return [each for each in listed["items"] if each["id"] != shown["id"]][:SIMILAR]


async def _edit_page(
    request: Request, who: Visitor, exception_id: UUID, *, args: Any = None, problem: Problem | None = None,
    reason: str = "",
) -> Response:  # fmt: skip
    shown = await service.get(who.principal, exception_id)
    contract = (await tools.contracts_of(who.principal, [shown["tool"]])).get(shown["tool"])
    return page(
        who, "exception_edit.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        shown=shown, contract=contract, args=shown["args"] if args is None else args, reason=reason,
    )  # fmt: skip
