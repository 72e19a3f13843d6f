"""Identity: who am I, tenants, members, service accounts, keys."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.routing import slice_router
from api.tenants import service
from api.tenants.models import (
    Key,
    Me,
    Member,
    NewKey,
    NewMember,
    NewServiceAccount,
    NewTenant,
    Rotation,
    ServiceAccount,
    Tenant,
)

router = slice_router("identity")


@router.get("/me", operation_id="get_me", response_model=Me)
async def get_me(caller: Caller) -> Any:
    """The principal as the database sees it now."""
    return await service.me(caller)


@router.post("/tenants", status_code=201, operation_id="create_tenant", response_model=Tenant)
async def create_tenant(body: NewTenant, caller: Caller, once: Once, response: Response) -> Any:
    """Creates a tenant with the starter constitution; the caller becomes its owner."""
    return result_of(await service.create_tenant(caller, body, once), response)


@router.get("/tenants", operation_id="list_tenants", response_model=list[Tenant])
async def list_tenants(caller: Caller) -> Any:
    """The tenants that the caller belongs to, each with the caller's role in it."""
    return await service.list_tenants(caller)


@router.get("/members", operation_id="list_members", response_model=list[Member])
async def list_members(caller: Caller) -> Any:
    """The tenant's people and their roles."""
    return await service.list_members(caller)


@router.post("/members", status_code=201, operation_id="put_member", response_model=Member)
async def put_member(body: NewMember, caller: Caller, once: Once, response: Response) -> Any:
    """Adds a person who has signed up, or changes the role of one who is a member."""
    return result_of(await service.put_member(caller, body, once), response)


@router.delete("/members/{user_id}", operation_id="delete_member")
async def delete_member(user_id: UUID, caller: Caller) -> Any:
    """Takes a person out of the tenant: their next call finds it closed."""
    return await service.remove_member(caller, user_id)


@router.get("/service-accounts", operation_id="list_service_accounts", response_model=list[ServiceAccount])
async def list_service_accounts(caller: Caller) -> Any:
    """The tenant's service accounts."""
    return await service.list_service_accounts(caller)


@router.post("/service-accounts", status_code=201, operation_id="create_service_account", response_model=ServiceAccount)
async def create_service_account(body: NewServiceAccount, caller: Caller, once: Once, response: Response) -> Any:
    """Creates a service account, which can do nothing until it is given a key."""
    return result_of(await service.create_service_account(caller, body, once), response)


@router.get("/service-accounts/{account_id}/keys", operation_id="list_keys", response_model=list[Key])
async def list_keys(account_id: UUID, caller: Caller) -> Any:
    """The keys of a service account, without anything that could be used."""
    return await service.list_keys(caller, account_id)


@router.post("/service-accounts/{account_id}/keys", status_code=201, operation_id="create_key", response_model=Key)
async def create_key(account_id: UUID, body: NewKey, caller: Caller, once: Once, response: Response) -> Any:
    """Issues a key. The secret is shown in this answer and never again."""
    response.headers["Cache-Control"] = "no-store"
    return result_of(await service.create_key(caller, account_id, body, once), response)


@router.post("/keys/{key_id}/rotate", status_code=201, operation_id="rotate_key", response_model=Key)
async def rotate_key(key_id: UUID, body: Rotation, caller: Caller, once: Once, response: Response) -> Any:
    """Issues the successor of a key; the old one works for `grace_seconds` more. The secret is shown here only."""
    response.headers["Cache-Control"] = "no-store"
    return result_of(await service.rotate_key(caller, key_id, body, once), response)


@router.delete("/keys/{key_id}", operation_id="revoke_key")
async def revoke_key(key_id: UUID, caller: Caller) -> Any:
    """Revokes a key at once: the next database call refuses it, whatever a warm function holds in memory."""
    return await service.revoke_key(caller, key_id)
