"""Registers, changes and ends model providers, and seals their keys before the database sees them."""

from typing import Any
from uuid import UUID

from pydantic import SecretStr

from api.auth import Principal
from api.connections import vault
from api.db import Answer, Idempotency, Row, database
from api.errors import Problem
from api.ids import new_id
from api.model_providers.models import Declares, ModelProviderChange, NewModelProvider
from api.model_providers.rotation import key_context, rewrap
from api.pagination import PageRequest
from api.sql import query

__all__ = ["change", "get", "key_context", "list_all", "register", "revoke", "rewrap"]


async def register(principal: Principal, body: NewModelProvider, once: Idempotency) -> Answer:
    """Registers a provider: a person, at aal2. Raises Problem 422 for one that trains on the data, 409 for its name."""
    stored = await database().stored(principal, "connections.manage", once)
    if stored is not None:
        return stored
    provider_id = new_id()
    tenant_id = await _tenant(principal)
    args = body.model_dump(mode="json", exclude={"api_key", "declares"}) | _promised(body.declares)
    envelope = _sealed(body.api_key, key_context(tenant_id, provider_id, body.environment, 1))
    args |= {"id": provider_id, "envelope": envelope}
    return await database().call(principal, "register_model_provider_v1", args, once)


async def change(principal: Principal, provider_id: UUID, body: ModelProviderChange, once: Idempotency) -> Answer:
    """Changes a provider. Raises Problem 404, and 409 when it is revoked or somebody else was first."""
    stored = await database().stored(principal, "connections.manage", once)
    if stored is not None:
        return stored
    args = body.model_dump(mode="json", exclude_unset=True, exclude={"api_key", "declares"})
    args |= {"id": provider_id} | (_promised(body.declares) if body.declares else {})
    if body.api_key is not None:
        found = await get(principal, provider_id)
        generation = found["key_generation"] + 1
        bound_to = key_context(await _tenant(principal), provider_id, found["environment"], generation)
        args |= {"generation": generation, "envelope": _sealed(body.api_key, bound_to)}
    return await database().call(principal, "change_model_provider_v1", args, once)


async def revoke(principal: Principal, provider_id: UUID, once: Idempotency) -> Answer:
    """Ends a provider, and destroys its key."""
    return await database().call(principal, "revoke_model_provider_v1", {"id": provider_id}, once)


async def list_all(principal: Principal, page: PageRequest) -> Row:
    """Every provider of the tenant that the caller may see, newest first."""
    return page.page(await _rows(principal, page.key() | {"id": None}), "created_at", "id")


async def get(principal: Principal, provider_id: UUID) -> Row:
    """One provider; Problem 404 when this tenant has none of this id."""
    rows = await _rows(principal, {"id": provider_id, "after_at": None, "after_id": None, "limit": 1})
    if not rows:
        raise Problem(404, "not_found", "There is no such model provider.")
    return rows[0]


def _promised(declares: Declares) -> dict[str, Any]:
    return declares.model_dump(mode="json")


def _sealed(key: SecretStr, bound_to: bytes) -> str:
    return vault.seal({"api_key": key.get_secret_value()}, bound_to)


async def _rows(principal: Principal, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "connections.read") as connection:
        return await (await connection.execute(query("model_providers/list_providers"), parameters)).fetchall()


async def _tenant(principal: Principal) -> str:
    """The tenant that the caller acts in, as the database knows it."""
    async with database().tenant_transaction(principal, "connections.manage") as connection:
        row = await (await connection.execute(query("model_providers/tenant"))).fetchone()
    return str((row or {})["id"])
