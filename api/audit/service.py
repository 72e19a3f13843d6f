"""Searching and verifying the audit log."""

from typing import Any

from api.auth import Principal
from api.db import database
from api.pagination import PageRequest
from api.sql import query


async def list_events(principal: Principal, page: PageRequest, filters: dict[str, str | None]) -> dict[str, Any]:
    """Events newest first. `filters`: type, action_id, run_id, subject_id."""
    parameters = filters | {"before": page.before(), "limit": page.limit + 1}
    async with database().tenant_transaction(principal, "audit.read") as connection:
        rows = await (await connection.execute(query("audit/list_events"), parameters)).fetchall()
    return page.page(rows, "seq")


async def verify(principal: Principal) -> Any:
    """Recomputes the tenant's whole chain from the stored bytes."""
    return (await database().call(principal, "verify_audit_v1", {})).result
