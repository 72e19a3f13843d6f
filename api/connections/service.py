"""Connections: sign-in at a provider, the tokens' life, and disconnecting; what others use of them."""

from typing import Any
from uuid import UUID

from api.auth import Principal, system
from api.connections import sign_in
from api.connections.binding import bind, bound
from api.connections.credential import is_expiring, open_credential, provider, site_of
from api.connections.disconnect import disconnect, revoke_at_provider
from api.connections.refresh import RefreshBusyError, keep_alive, refresh
from api.connections.rotation import Rotation, rewrap
from api.connections.sign_in import FLOW_MINUTES, begin, complete
from api.db import database
from api.errors import Problem

__all__ = [
    "FLOW_MINUTES", "RefreshBusyError", "Rotation", "begin", "bind", "bound", "complete", "disconnect", "due",
    "get_connection", "is_expiring", "list_connections", "open_credential", "provider", "reconnect", "refresh",
    "rewrap", "site_of", "upkeep",
]  # fmt: skip


async def list_connections(principal: Principal, connection_id: UUID | None = None) -> list[dict[str, Any]]:
    """The tenant's connections, newest first; one when an id is given."""
    result: list[dict[str, Any]] = (
        await database().call(principal, "list_connections_v1", {"id": connection_id})
    ).result
    return result


async def get_connection(principal: Principal, connection_id: UUID) -> dict[str, Any]:
    rows = await list_connections(principal, connection_id)
    if not rows:
        raise Problem(404, "not_found", "There is no such connection.")
    return rows[0]


async def reconnect(principal: Principal, connection_id: UUID) -> tuple[dict[str, Any], str]:
    """Starts a new sign-in for a connection, which stays as it is until then: `authorize_url`, and binding."""
    return await sign_in.begin_again(principal, await get_connection(principal, connection_id))


async def due(limit: int) -> list[dict[str, Any]]:
    """What the schedule has to do for connections of any tenant, as {tenant_id, connection_id, work}."""
    work: list[dict[str, Any]] = await database().claim("claim_connection_upkeep_v1", limit)
    return work


async def upkeep(item: dict[str, Any]) -> bool:
    """Does one piece of that work; False when it came to nothing, and comes back."""
    if item["work"] == "renew":
        return await keep_alive(item["tenant_id"], item["connection_id"])
    if item["work"] == "revoke":
        state = await revoke_at_provider(item["tenant_id"], item["connection_id"], item["provider"])
        return state is not None and state["at_provider"] != "pending"
    executor = system(item["tenant_id"], "refresh_tokens")
    args = {"connection_id": item["connection_id"]}
    if item["work"] == "abandoned":
        return bool((await database().call(executor, "expire_sign_in_v1", args)).result["expired"])
    return (await database().call(executor, "count_down_connection_v1", args)).result["step"] is not None
