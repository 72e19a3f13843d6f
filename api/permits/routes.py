"""Permits, their outcomes, and the public keys that verify them."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from api.auth import Caller
from api.errors import documented
from api.idempotency import Once, result_of
from api.permits import service
from api.permits.models import NewOutcome, Permit, PublicKeys, Reported
from api.routing import slice_router

router = slice_router("permits")
keys_router = APIRouter(tags=["permits"])
#: Verifiers keep the keys this long; a new key is published for at least as long before it signs.
KEYS_KEPT_SECONDS = 300


@router.post("/actions/{action_id}/permit", status_code=201, operation_id="issue_permit", response_model=Permit)
async def issue_permit(action_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Leave to execute an authorized action of a tool that the client executes itself: once, and soon."""
    return result_of(await service.issue(caller, action_id, once), response)


@router.post("/actions/{action_id}/outcome", operation_id="report_outcome", response_model=Reported)
async def report_outcome(action_id: UUID, body: NewOutcome, caller: Caller, once: Once, response: Response) -> Any:
    """What came of a permit. Whoever does not report by the deadline leaves the action `unknown`."""
    return result_of(await service.report(caller, action_id, body, once), response)


@keys_router.get(
    "/.well-known/jwks.json",
    operation_id="get_signing_keys",
    response_model=PublicKeys,
    responses=documented(500, 503),
)
async def get_signing_keys(response: Response) -> Any:
    """The public keys that verify permits (RFC 7517); no credential is needed."""
    keys = service.key_set()
    response.headers["Cache-Control"] = f"public, max-age={KEYS_KEPT_SECONDS}"
    return keys
