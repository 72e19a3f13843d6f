"""The audit log."""

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse

from api.audit import service
from api.audit.models import AuditEvent, PlacedEvent, SignedHead, Verification, VerifiedPart
from api.audit.search import Searching
from api.auth import Caller
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("audit")
After = Annotated[int, Query(ge=0, le=2**53 - 1)]


@router.get("/audit/events", operation_id="list_audit_events", response_model=Page[AuditEvent])
async def list_audit_events(caller: Caller, page: Paging, search: Searching) -> Any:
    """Events, newest first; of a type, subject, action, run, principal or time if asked for."""
    return await service.list_events(caller, page, search)


@router.get("/audit/events/{seq}", operation_id="get_audit_event", response_model=PlacedEvent)
async def get_audit_event(seq: int, caller: Caller) -> Any:
    """One event with its place in the chain: the hash before it, and its own recomputed now."""
    return await service.get_event(caller, seq)


@router.get("/audit/types", operation_id="list_audit_types", response_model=list[str])
async def list_audit_types(caller: Caller) -> Any:
    """The types of events that the log has."""
    return await service.list_types(caller)


@router.get("/audit/checkpoints", operation_id="list_audit_checkpoints", response_model=Page[SignedHead])
async def list_audit_checkpoints(caller: Caller, page: Paging) -> Any:
    """Heads of the log that were signed after they verified, newest first: what to keep outside of this deployment."""
    return await service.list_checkpoints(caller, page)


@router.get("/audit/verify", operation_id="verify_audit", response_model=Verification)
async def verify_audit(caller: Caller) -> Any:
    """Recomputes the whole chain from the stored bytes."""
    return await service.verify(caller)


@router.get("/audit/verify/part", operation_id="verify_audit_part", response_model=VerifiedPart)
async def verify_audit_part(
    caller: Caller, after: After = 0, limit: Annotated[int, Query(ge=1, le=100_000)] = 50_000
) -> Any:
    """Recomputes a part of a long chain; go on with `after` = `last` until `done`. All parts are the whole."""
    return await service.verify_part(caller, after, limit)


@router.get(
    "/audit/export",
    operation_id="export_audit",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The log.",
            "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in service.MEDIA.values()},
        }
    },
)
async def export_audit(
    caller: Caller,
    search: Searching,
    format: service.Format = "jsonl",  # noqa: A002 - the name of the field
    after: After = 0,
) -> StreamingResponse:
    """The log as a file, oldest event first, at most 200,000 events; go on with `after` = the last `seq`.

    `jsonl` has on each line `seq`, `prev_hash`, `hash` and `record`, the exact bytes that were hashed: whoever has the
    file can check it. `csv` is for reading.
    """
    pieces = await service.export(caller, search, format, after)
    named = {"Content-Disposition": f'attachment; filename="audit.{format}"'}
    return StreamingResponse(pieces, media_type=service.MEDIA[format], headers=named)
