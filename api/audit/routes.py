"""The audit log."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from api.audit import service
from api.audit.models import AuditEvent, Verification
from api.auth import Caller
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("audit")


@router.get("/audit/events", operation_id="list_audit_events", response_model=Page[AuditEvent])
async def list_audit_events(
    caller: Caller,
    page: Paging,
    type: Annotated[str | None, Query(max_length=100)] = None,  # noqa: A002 - the name of the field
    action_id: UUID | None = None,
    run_id: UUID | None = None,
    subject_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Any:
    """Events, newest first."""
    filters = {
        "type": type,
        "action_id": str(action_id) if action_id else None,
        "run_id": str(run_id) if run_id else None,
        "subject_id": subject_id,
    }
    return await service.list_events(caller, page, filters)


@router.get("/audit/verify", operation_id="verify_audit", response_model=Verification)
async def verify_audit(caller: Caller) -> Any:
    """Recomputes the whole chain from the stored bytes."""
    return await service.verify(caller)
