"""Amendments: how a decision becomes a rule, what it would have changed, and its adoption by a second person."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.amendments import service
from api.amendments.models import Adoption, NewAmendment, Rejection, Status, Withdrawal
from api.dashboard import rule_form
from api.dashboard.constitution import colleagues
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.lists import titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.exceptions import service as exceptions
from api.pagination import PageRequest, Paging

router = page_router()
#: What is shown of a list at once.
SHOWN = 30


@router.get("/amendments")
async def show_amendments(request: Request, who: Reader, paging: Paging, status: Status | None = None) -> Response:
    """Amendments, newest first; those that wait for somebody when nothing else is asked for is one tab."""
    paging.limit = min(paging.limit, SHOWN)
    listed, members = await asyncio.gather(
        service.list_amendments(who.principal, paging, status, None), colleagues(who)
    )  # fmt: skip
    return page(who, "amendments.html", request=request, listed=listed, only=status, members=members)


@router.get("/amendments/{amendment_id:uuid}")
async def show_amendment(request: Request, amendment_id: UUID, who: Reader) -> Response:
    return await _one(request, who, amendment_id)


@router.get("/exceptions/{exception_id:uuid}/amendment")
async def show_proposal(request: Request, exception_id: UUID, who: Reader) -> Response:
    return await _proposal(request, who, exception_id)


@router.post("/exceptions/{exception_id:uuid}/amendment")
async def propose(request: Request, exception_id: UUID, who: Reader, form: Sent) -> Response:
    """Proposes the narrowest rule that the decision speaks for, and tries it at once on what was decided before."""
    try:
        body = filled(NewAmendment, {"reason": form.text("reason"), "bounds": _wanted(form)} | _end(form))
        made = (await service.propose(who.principal, exception_id, body, form.once)).result
    except Exception as error:
        return await _proposal(request, who, exception_id, typed=form, problem=problem_of(error))
    return to(f"/amendments/{made['id']}?done=rule_proposed")


@router.post("/amendments/{amendment_id:uuid}/backtest")
async def backtest(request: Request, amendment_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        await service.backtest(who.principal, amendment_id, form.once)
    except Exception as error:
        return await _one(request, who, amendment_id, typed=form, problem=problem_of(error))
    return to(f"/amendments/{amendment_id}?done=rule_tried")


@router.post("/amendments/{amendment_id:uuid}/adopt")
async def adopt(request: Request, amendment_id: UUID, who: Reader, form: Sent) -> Response:
    """Puts exactly the rule that was read in force, beside the rules that it was tried with."""
    try:
        body = filled(Adoption, {
            "digest": form.text("digest"), "expected_version": form.text("version") or None,
            "acknowledge_contradictions": form.text("acknowledge") == "yes", "reason": form.text("reason"),
        })  # fmt: skip
        who = await stepped_up(who, form, request)
        await service.adopt(who.principal, amendment_id, body, form.once)
    except Exception as error:
        return await _one(request, who, amendment_id, typed=form, problem=problem_of(error))
    return to(f"/amendments/{amendment_id}?done=rule_adopted")


@router.post("/amendments/{amendment_id:uuid}/reject")
async def reject(request: Request, amendment_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        body = filled(Rejection, {"reason": form.text("reason")})
        who = await stepped_up(who, form, request)
        await service.reject(who.principal, amendment_id, body.reason, form.once)
    except Exception as error:
        return await _one(request, who, amendment_id, typed=form, problem=problem_of(error))
    return to(f"/amendments/{amendment_id}?done=rule_rejected")


@router.post("/amendments/{amendment_id:uuid}/withdraw")
async def withdraw(request: Request, amendment_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        body = filled(Withdrawal, {"reason": form.text("reason")})
        await service.withdraw(who.principal, amendment_id, body.reason, form.once)
    except Exception as error:
        return await _one(request, who, amendment_id, typed=form, problem=problem_of(error))
    return to(f"/amendments/{amendment_id}?done=rule_withdrawn")


def _end(form: Form) -> dict[str, datetime | str]:
    """The end of the rule: of the day that was chosen; without one it is left to the service."""
    day = form.text("expires_at")
    return {"expires_at": f"{day}T23:59:59Z"} if day else {}


def _wanted(form: Form) -> dict[str, Any]:
    """The bounds of the form: of each currency the end that the verdict leaves open, and the counterparties ticked."""
    amounts: dict[str, tuple[Any, Any]] = {}
    for currency, [*_, typed] in form.starting("most:").items():
        amounts[currency] = (0, rule_form.minor(typed, currency))
    for currency, [*_, typed] in form.starting("least:").items():
        amounts[currency] = (rule_form.minor(typed, currency), form.text(f"top:{currency}"))
    return {"amounts": amounts or None, "counterparties": form.all("counterparties") if form.text("several") else None}


async def _one(
    request: Request, who: Visitor, amendment_id: UUID, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    shown, members = await asyncio.gather(service.get(who.principal, amendment_id), colleagues(who))
    flips = shown["backtest"]["flips"] if shown["backtest"] else []
    return page(
        who, "amendment.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, shown=shown | {"rule": rule_form.whole(shown["rule"])}, members=members,
        own=shown["proposed_by"] == who.user_id, tried=shown["backtest"],
        titles=await titles_of(who.principal, {flip["tool"] for flip in flips}),
    )  # fmt: skip


async def _proposal(
    request: Request, who: Visitor, exception_id: UUID, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    shown = await exceptions.get(who.principal, exception_id)
    listed: dict[str, Any] = {"items": []}
    if shown["class_key"] and who.may("constitution.read"):
        first = PageRequest(limit=5, cursor=None)
        listed = await service.list_amendments(who.principal, first, None, shown["class_key"])
    rule: dict[str, Any] | None = None
    open_one = any(each["status"] == "proposed" for each in listed["items"])
    if who.may("amendments.propose") and shown["status"] in ("approved", "rejected") and not open_one:
        try:
            rule = await service.narrowest(who.principal, exception_id)
            rule |= {"rule": rule_form.whole(rule["rule"])}
        except Problem as refused:
            problem = problem or refused
    return page(
        who, "amendment_new.html", request=request, status=problem.status_code if problem and typed else 200,
        problem=problem, typed=typed, shown=shown, earlier=listed["items"], proposed=rule,
    )  # fmt: skip
