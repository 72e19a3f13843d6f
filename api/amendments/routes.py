"""Amendments: how a decision on an exception becomes a rule."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from api.amendments import service
from api.amendments.models import (
    Adoption,
    Amendment,
    AmendmentSummary,
    Narrowest,
    NewAmendment,
    Rejection,
    Status,
    Withdrawal,
)
from api.auth import Caller
from api.errors import documented
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("amendments")


@router.post(
    "/exceptions/{exception_id}/amendment",
    status_code=201,
    operation_id="propose_amendment",
    response_model=Amendment,
)
async def propose_amendment(
    exception_id: UUID, body: NewAmendment, caller: Caller, once: Once, response: Response
) -> Any:
    """Proposes the narrowest rule from a decided exception: what was approved is allowed, what was rejected denied.

    It is tried at once on what was decided before. Nothing is in force until it is adopted.
    """
    return result_of(await service.propose(caller, exception_id, body, once), response)


@router.get("/exceptions/{exception_id}/amendment", operation_id="preview_amendment", response_model=Narrowest)
async def preview_amendment(exception_id: UUID, caller: Caller) -> Any:
    """The narrowest rule that a decided exception speaks for, and how far its bounds may be moved; records nothing.

    What no rule lifts answers 422 `nothing_to_lift`, with each finding and what else helps.
    """
    return await service.narrowest(caller, exception_id)


@router.get("/amendments", operation_id="list_amendments", response_model=Page[AmendmentSummary])
async def list_amendments(
    caller: Caller,
    page: Paging,
    status: Status | None = None,
    class_key: Annotated[str | None, Query(alias="class", pattern="^[0-9a-f]{64}$")] = None,
) -> Any:
    """Amendments, newest first, of one status or one class of exceptions if asked for."""
    return await service.list_amendments(caller, page, status, class_key)


@router.get("/amendments/{amendment_id}", operation_id="get_amendment", response_model=Amendment)
async def get_amendment(amendment_id: UUID, caller: Caller) -> Any:
    """One amendment, and each decision that would have been another one under it."""
    return await service.get(caller, amendment_id)


@router.post("/amendments/{amendment_id}/backtest", operation_id="backtest_amendment", response_model=Amendment)
async def backtest_amendment(amendment_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Tries the rule again, beside the rules in force by now."""
    return result_of(await service.backtest(caller, amendment_id, once), response)


@router.post(
    "/amendments/{amendment_id}/adopt",
    operation_id="adopt_amendment",
    response_model=Amendment,
    responses=documented(412),
)
async def adopt_amendment(amendment_id: UUID, body: Adoption, caller: Caller, once: Once, response: Response) -> Any:
    """Publishes the rules in force with this one; what lets more happen needs another person than its proposer."""
    return result_of(await service.adopt(caller, amendment_id, body, once), response)


@router.post("/amendments/{amendment_id}/reject", operation_id="reject_amendment", response_model=Amendment)
async def reject_amendment(amendment_id: UUID, body: Rejection, caller: Caller, once: Once, response: Response) -> Any:
    """Turns a proposal down: somebody else than who made it."""
    return result_of(await service.reject(caller, amendment_id, body.reason, once), response)


@router.post("/amendments/{amendment_id}/withdraw", operation_id="withdraw_amendment", response_model=Amendment)
async def withdraw_amendment(
    amendment_id: UUID, body: Withdrawal, caller: Caller, once: Once, response: Response
) -> Any:
    """Takes a proposal back: who made it."""
    return result_of(await service.withdraw(caller, amendment_id, body.reason, once), response)
