"""Tenants, people and how they join, service accounts and their keys."""

import hashlib
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from api.auth import Principal
from api.constitution.starter import STARTER_RULES
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.models import Role
from api.ids import new_id
from api.sql import query
from api.tenants import identities
from api.tenants.models import (
    Acceptance,
    Description,
    NewInvitation,
    NewKey,
    NewServiceAccount,
    NewTenant,
    Rotation,
    Scopes,
    TenantChange,
    Transfer,
)

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


async def tenant(principal: Principal) -> Any:
    return (await database().call(principal, "get_tenant_v1", {})).result


async def change_tenant(principal: Principal, body: TenantChange, if_match: list[str] | None) -> Any:
    """Changes what the body names; Problem 412 when the tenant is not what the caller read."""
    args = {
        "if_match": if_match,
        "name": body.name,
        "separation_of_duties": body.settings.separation_of_duties,
        "reason": body.reason,
    }
    return (await database().call(principal, "update_tenant_v1", args)).result


async def transfer_ownership(principal: Principal, body: Transfer) -> Any:
    return (await database().call(principal, "transfer_ownership_v1", body.model_dump(mode="json"))).result


async def list_permissions(principal: Principal) -> Any:
    return (await database().call(principal, "list_permissions_v1", {})).result


async def change_role(principal: Principal, user_id: uuid.UUID, role: Role) -> Any:
    return (await database().call(principal, "change_role_v1", {"user_id": user_id, "role": role})).result


async def remove_member(principal: Principal, user_id: uuid.UUID) -> Any:
    return (await database().call(principal, "remove_member_v1", {"user_id": user_id})).result


async def leave(principal: Principal) -> Any:
    return (await database().call(principal, "leave_tenant_v1", {})).result


async def invite(principal: Principal, body: NewInvitation, once: Idempotency) -> Answer:
    """Opens an invitation and mails it; it stays open when the mail fails, and says so."""
    args = {"id": new_id()} | body.model_dump()
    return await _mailed(principal, await database().call(principal, "invite_v1", args, once))


async def resend_invitation(principal: Principal, invitation_id: uuid.UUID, once: Idempotency) -> Answer:
    """Gives an invitation its whole time again, in the caller's name, and mails it once more."""
    return await _mailed(
        principal, await database().call(principal, "resend_invitation_v1", {"id": invitation_id}, once)
    )


async def _mailed(principal: Principal, answer: Answer) -> Answer:
    """Mails what was just opened. A repeated request mails nothing: it is answered with what stands now."""
    if answer.replayed:
        listed = await list_invitations(principal)
        return Answer(next((i for i in listed if i["id"] == answer.result["id"]), answer.result), replayed=True)
    sent = await identities.send_invitation(answer.result["email"])
    args = {"id": answer.result["id"], "mail": "sent" if sent else "failed"}
    return await database().call(principal, "note_invitation_mail_v1", args)


async def list_invitations(principal: Principal) -> Any:
    return (await database().call(principal, "list_invitations_v1", {})).result


async def withdraw_invitation(principal: Principal, invitation_id: uuid.UUID) -> Any:
    return (await database().call(principal, "withdraw_invitation_v1", {"id": invitation_id})).result


async def _known(principal: Principal) -> Principal:
    """The person with the address that Supabase Auth has confirmed, outside of any tenant."""
    if principal.kind != "user":
        raise Problem(403, "people_only", "Only a person is invited.")
    verified = await identities.verified_email(principal.claims["sub"])
    return Principal(principal.claims | {"tenant_id": None, "verified_email": verified}, principal.request_id)


async def list_my_invitations(principal: Principal) -> Any:
    return (await database().call(await _known(principal), "list_my_invitations_v1", {})).result


async def accept_invitation(principal: Principal, invitation_id: uuid.UUID, body: Acceptance) -> Any:
    """Makes the caller a member, if the invitation is to an address that is confirmed to be his."""
    args = {"id": invitation_id, "name": body.name}
    return (await database().call(await _known(principal), "accept_invitation_v1", args)).result


async def _list(principal: Principal, permission: str, name: str, **parameters: Any) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, permission) as connection:
        return await (await connection.execute(query(f"tenants/{name}"), parameters)).fetchall()


async def list_members(principal: Principal) -> list[dict[str, Any]]:
    return await _list(principal, "members.read", "list_members")


async def list_service_accounts(principal: Principal) -> Any:
    return (await database().call(principal, "list_service_accounts_v1", {})).result


async def list_keys(principal: Principal, service_account_id: uuid.UUID) -> list[dict[str, Any]]:
    """The account's keys, without anything that could be used; Problem 404 when the tenant has no such account."""
    rows = await _list(principal, "service_accounts.read", "list_keys", service_account_id=service_account_id)
    if not rows:
        raise Problem(404, "not_found", "There is no such service account.")
    return [row for row in rows if row["id"] is not None]


async def create_service_account(principal: Principal, body: NewServiceAccount, once: Idempotency) -> Answer:
    args = {"id": new_id()} | body.model_dump()
    return await database().call(principal, "create_service_account_v1", args, once)


async def describe_service_account(principal: Principal, account_id: uuid.UUID, body: Description) -> Any:
    args = {"id": account_id} | body.model_dump()
    return (await database().call(principal, "describe_service_account_v1", args)).result


async def disable_service_account(principal: Principal, account_id: uuid.UUID) -> Any:
    return (await database().call(principal, "disable_service_account_v1", {"id": account_id})).result


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


async def narrow_key(principal: Principal, key_id: uuid.UUID, body: Scopes) -> Any:
    args = {"id": key_id, "scopes": sorted(set(body.scopes))}
    return (await database().call(principal, "narrow_api_key_v1", args)).result
