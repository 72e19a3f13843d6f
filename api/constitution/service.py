"""The constitution: what is in force, its history, and publishing the next version."""

from typing import Any

from api.auth import Principal
from api.constitution.models import NewConstitution
from api.db import Answer, Idempotency, database
from api.sql import query


async def list_versions(principal: Principal, limit: int) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        cursor = await connection.execute(query("constitution/list_versions"), {"limit": limit})
        return await cursor.fetchall()


async def publish(principal: Principal, body: NewConstitution, once: Idempotency) -> Answer:
    """Publishes the next version; 412 when another was published since it was written."""
    return await database().call(principal, "publish_constitution_v1", body.model_dump(mode="json"), once)
