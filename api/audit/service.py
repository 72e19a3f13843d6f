"""Searching and verifying the audit log."""

from collections.abc import AsyncIterator
from typing import Any

from api.audit.export import MEDIA, Format, pieces
from api.audit.search import Search
from api.audit.watch import due as due_watches
from api.audit.watch import look
from api.auth import Principal
from api.db import database
from api.pagination import PageRequest
from api.sql import query

__all__ = [
    "MEDIA", "Format", "Search", "due_watches", "export", "get_event", "list_checkpoints", "list_events", "list_types",
    "look", "verify", "verify_part",
]  # fmt: skip


async def list_events(principal: Principal, page: PageRequest, search: Search) -> dict[str, Any]:
    """Events newest first."""
    parameters = search.parameters() | {"before": page.before(), "limit": page.limit + 1}
    async with database().tenant_transaction(principal, "audit.read") as connection:
        rows = await (await connection.execute(query("audit/list_events"), parameters)).fetchall()
    return page.page(rows, "seq")


async def list_checkpoints(principal: Principal, page: PageRequest) -> dict[str, Any]:
    """Signed heads of the log, newest first."""
    async with database().tenant_transaction(principal, "audit.read") as connection:
        parameters = {"before": page.before(), "limit": page.limit + 1}
        rows = await (await connection.execute(query("audit/list_checkpoints"), parameters)).fetchall()
    return page.page(rows, "seq")


async def list_types(principal: Principal) -> list[str]:
    """The types of events that the log has, in order."""
    async with database().tenant_transaction(principal, "audit.read") as connection:
        rows = await (await connection.execute(query("audit/list_types"))).fetchall()
    return [row["type"] for row in rows]


async def export(principal: Principal, search: Search, form: Format, after: int) -> AsyncIterator[str]:
    """The log as a file in pieces, from the event after `after`; psycopg CS403 for whoever may not read it."""

    async def read(last: int, limit: int) -> list[dict[str, Any]]:
        parameters = search.parameters() | {"after": last, "limit": limit}
        async with database().tenant_transaction(principal, "audit.read") as connection:
            return await (await connection.execute(query("audit/export_events"), parameters)).fetchall()

    return await pieces(read, form, after)


async def get_event(principal: Principal, seq: int) -> Any:
    """One event with its place in the chain; psycopg CS404 when there is none that the principal may see."""
    return (await database().call(principal, "audit_event_v1", {"seq": seq})).result


async def verify(principal: Principal) -> Any:
    """Recomputes the tenant's whole chain from the stored bytes."""
    return (await database().call(principal, "verify_audit_v1", {})).result


async def verify_part(principal: Principal, after: int, limit: int) -> Any:
    """Recomputes a part of the chain: the events after `after`, at most `limit` of them."""
    return (await database().call(principal, "verify_audit_part_v1", {"after": after, "limit": limit})).result
