"""Tenants, people, service accounts and their keys."""

import hashlib
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from api.auth import Principal
from api.constitution.starter import STARTER_RULES
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.ids import new_id
from api.sql import query
from api.tenants.models import NewKey, NewMember, NewServiceAccount, NewTenant, Rotation

_PREFIX = {"sandbox": "cs_sandbox", "production": "cs_live"}


async def create_tenant(principal: Principal, body: NewTenant, once: Idempotency) -> Answer:
    """Creates a tenant with the starter constitution; the caller becomes its owner.

    The id follows from person and Idempotency-Key, because a person without a tenant has nowhere to keep a key.
    """
    if principal.kind != "user":
        raise Problem(403, "people_only", "Only a person can create a tenant.")
    answer = await database().call(
        Principal(principal.claims | {"tenant_id": None}, principal.request_id),
        "create_tenant_v1",
        {
            "id": uuid.uuid5(uuid.UUID(principal.claims["sub"]), once.key),
            "name": body.name,
            "user_name": body.user_name,
            "email": principal.email or "unknown@invalid",
            "constitution": {
                "rules": [rule.model_dump(mode="json") for rule in STARTER_RULES],
                "reason": "The rules that every tenant starts with.",
            },
        },
    )
    return Answer(answer.result, replayed=answer.result.pop("replayed", False))


async def list_tenants(principal: Principal) -> Any:
    return (await database().call(principal, "list_tenants_v1", {})).result


async def me(principal: Principal) -> Any:
    return (await database().call(principal, "me_v1", {})).result


async def put_member(principal: Principal, body: NewMember, once: Idempotency) -> Answer:
    return await database().call(principal, "put_member_v1", body.model_dump(mode="json"), once)


async def remove_member(principal: Principal, user_id: uuid.UUID) -> Any:
    return (await database().call(principal, "remove_member_v1", {"user_id": user_id})).result


async def _list(principal: Principal, permission: str, name: str, **parameters: Any) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, permission) as connection:
        return await (await connection.execute(query(f"tenants/{name}"), parameters)).fetchall()


async def list_members(principal: Principal) -> list[dict[str, Any]]:
    return await _list(principal, "members.read", "list_members")


async def list_service_accounts(principal: Principal) -> list[dict[str, Any]]:
    return await _list(principal, "service_accounts.read", "list_service_accounts")


async def list_keys(principal: Principal, service_account_id: uuid.UUID) -> list[dict[str, Any]]:
    """The account's keys, without anything that could be used; Problem 404 when the tenant has no such account."""
    rows = await _list(principal, "service_accounts.read", "list_keys", service_account_id=service_account_id)
    if not rows:
        raise Problem(404, "not_found", "There is no such service account.")
    return [row for row in rows if row["id"] is not None]


async def create_service_account(principal: Principal, body: NewServiceAccount, once: Idempotency) -> Answer:
    args = {"id": new_id()} | body.model_dump()
    return await database().call(principal, "create_service_account_v1", args, once)


def _new_secret(key_id: uuid.UUID, environment: str) -> tuple[str, dict[str, Any]]:
    """A key's text, and what of it may be stored."""
    secret = secrets.token_urlsafe(32)
    prefix = f"{_PREFIX[environment]}_{key_id.hex}"
    return f"{prefix}_{secret}", {
        "id": key_id,
        "prefix": prefix[:20],
        "secret_hash": hashlib.sha256(secret.encode()).hexdigest(),
    }


async def create_key(principal: Principal, service_account_id: uuid.UUID, body: NewKey, once: Idempotency) -> Answer:
    """Issues a key. Its secret is in this answer only: a repeated request gets the same key without it."""
    secret, stored = _new_secret(new_id(), body.environment)
    args = stored | {
        "service_account_id": service_account_id,
        "environment": body.environment,
        "scopes": sorted(set(body.scopes)),
        "expires_at": datetime.now(UTC) + timedelta(days=body.expires_in_days),
    }
    answer = await database().call(principal, "create_api_key_v1", args, once)
    return answer if answer.replayed else Answer(answer.result | {"secret": secret}, replayed=False)


async def rotate_key(principal: Principal, key_id: uuid.UUID, body: Rotation, once: Idempotency) -> Answer:
    """Issues the successor of a key, which works at once; the old one works for `grace_seconds` more."""
    environment = await _environment_of(principal, key_id)
    secret, stored = _new_secret(new_id(), environment)
    args = stored | {"old_id": key_id, "grace_seconds": body.grace_seconds}
    answer = await database().call(principal, "rotate_api_key_v1", args, once)
    return answer if answer.replayed else Answer(answer.result | {"secret": secret}, replayed=False)


async def _environment_of(principal: Principal, key_id: uuid.UUID) -> str:
    async with database().tenant_transaction(principal, "service_accounts.read") as connection:
        cursor = await connection.execute("select environment from app.api_keys where id = %s", (key_id,))
        row = await cursor.fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such key.")
    return str(row["environment"])


async def revoke_key(principal: Principal, key_id: uuid.UUID) -> Any:
    return (await database().call(principal, "revoke_api_key_v1", {"id": key_id})).result
