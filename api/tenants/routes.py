"""Identity: who am I, tenants, members, invitations, service accounts, keys."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.auth import Caller
from api.errors import documented
from api.etag import IfMatch, tagged
from api.idempotency import Once, result_of
from api.routing import slice_router
from api.tenants import service
from api.tenants.models import (
    Acceptance,
    CurrentTenant,
    Description,
    Invitation,
    Joined,
    Key,
    Me,
    Member,
    MyInvitation,
    NewInvitation,
    NewKey,
    NewServiceAccount,
    NewTenant,
    Permission,
    Removed,
    RoleChange,
    Rotation,
    Scopes,
    ServiceAccount,
    Tenant,
    TenantChange,
    Transfer,
    Transferred,
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


@router.get("/tenant", operation_id="get_tenant", response_model=CurrentTenant)
async def get_tenant(caller: Caller, response: Response) -> Any:
    """The current tenant and its settings, with the `ETag` that a change needs."""
    shown = await service.tenant(caller)
    tagged(shown["etag"], response)
    return shown


@router.patch("/tenant", operation_id="change_tenant", response_model=CurrentTenant, responses=documented(412, 428))
async def change_tenant(body: TenantChange, caller: Caller, if_match: IfMatch, response: Response) -> Any:
    """Renames the tenant or changes its settings. To lift a protection needs a reason, which is kept."""
    shown = await service.change_tenant(caller, body, if_match)
    tagged(shown["etag"], response)
    return shown


@router.post("/tenant/transfer-ownership", operation_id="transfer_ownership", response_model=Transferred)
async def transfer_ownership(body: Transfer, caller: Caller) -> Any:
    """Makes a member an owner and the caller what `keep_role` says, at once or not at all."""
    return await service.transfer_ownership(caller, body)


@router.get("/permissions", operation_id="list_permissions", response_model=list[Permission])
async def list_permissions(caller: Caller) -> Any:
    """Every permission: the roles, keys and functions that hold it, and what it means."""
    return await service.list_permissions(caller)


@router.get("/members", operation_id="list_members", response_model=list[Member])
async def list_members(caller: Caller) -> Any:
    """The tenant's people and their roles."""
    return await service.list_members(caller)


@router.patch("/members/{user_id:uuid}", operation_id="change_member", response_model=Member)
async def change_member(user_id: UUID, body: RoleChange, caller: Caller) -> Any:
    """Changes a member's role, which counts from their next call on. Nobody changes his own."""
    return await service.change_role(caller, user_id, body.role)


@router.delete("/members/me", operation_id="leave_tenant", response_model=Removed)
async def leave_tenant(caller: Caller) -> Any:
    """Leaves the tenant. The last owner hands it over first."""
    return await service.leave(caller)


@router.delete("/members/{user_id}", operation_id="delete_member", response_model=Removed)
async def delete_member(user_id: UUID, caller: Caller) -> Any:
    """Takes a person out of the tenant, at once. Names the keys that they issued, which go on working."""
    return await service.remove_member(caller, user_id)


@router.post(
    "/invitations",
    status_code=201,
    operation_id="create_invitation",
    response_model=Invitation,
    responses=documented(429),
)
async def create_invitation(body: NewInvitation, caller: Caller, once: Once, response: Response) -> Any:
    """Invites a person by e-mail, for seven days; 50 in a day. Only an owner invites owners and approvers."""
    return result_of(await service.invite(caller, body, once), response)


@router.get("/invitations", operation_id="list_invitations", response_model=list[Invitation])
async def list_invitations(caller: Caller) -> Any:
    """The tenant's invitations, the newest first."""
    return await service.list_invitations(caller)


@router.delete("/invitations/{invitation_id}", operation_id="withdraw_invitation", response_model=Invitation)
async def withdraw_invitation(invitation_id: UUID, caller: Caller) -> Any:
    """Takes an invitation back: nobody joins with it any more."""
    return await service.withdraw_invitation(caller, invitation_id)


@router.post(
    "/invitations/{invitation_id}/resend",
    operation_id="resend_invitation",
    response_model=Invitation,
    responses=documented(429),
)
async def resend_invitation(invitation_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Mails an open invitation again, in the caller's name, with seven new days; once a minute, five times a day."""
    return result_of(await service.resend_invitation(caller, invitation_id, once), response)


@router.get("/me/invitations", operation_id="list_my_invitations", response_model=list[MyInvitation])
async def list_my_invitations(caller: Caller) -> Any:
    """What the caller can accept, in any tenant: invitations to the address that Supabase Auth has confirmed."""
    return await service.list_my_invitations(caller)


@router.post("/invitations/{invitation_id}/accept", operation_id="accept_invitation", response_model=Joined)
async def accept_invitation(invitation_id: UUID, body: Acceptance, caller: Caller) -> Any:
    """Joins the tenant. Needs no membership and no secret: the address counts that Supabase Auth has confirmed."""
    return await service.accept_invitation(caller, invitation_id, body)


@router.get("/service-accounts", operation_id="list_service_accounts", response_model=list[ServiceAccount])
async def list_service_accounts(caller: Caller) -> Any:
    """The tenant's service accounts."""
    return await service.list_service_accounts(caller)


@router.post("/service-accounts", status_code=201, operation_id="create_service_account", response_model=ServiceAccount)
async def create_service_account(body: NewServiceAccount, caller: Caller, once: Once, response: Response) -> Any:
    """Creates a service account, which can do nothing until it is given a key."""
    return result_of(await service.create_service_account(caller, body, once), response)


@router.patch("/service-accounts/{account_id}", operation_id="change_service_account", response_model=ServiceAccount)
async def change_service_account(account_id: UUID, body: Description, caller: Caller) -> Any:
    """Says what a service account is for."""
    return await service.describe_service_account(caller, account_id, body)


@router.delete("/service-accounts/{account_id}", operation_id="disable_service_account", response_model=ServiceAccount)
async def disable_service_account(account_id: UUID, caller: Caller) -> Any:
    """Ends a service account for good: all its keys stop at once."""
    return await service.disable_service_account(caller, account_id)


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


@router.patch("/keys/{key_id}", operation_id="narrow_key", response_model=Key)
async def narrow_key(key_id: UUID, body: Scopes, caller: Caller) -> Any:
    """Takes scopes away from a key, at once. None can be added: for that there are new keys."""
    return await service.narrow_key(caller, key_id, body)


@router.delete("/keys/{key_id}", operation_id="revoke_key")
async def revoke_key(key_id: UUID, caller: Caller) -> Any:
    """Revokes a key at once: the next database call refuses it, whatever a warm function holds in memory."""
    return await service.revoke_key(caller, key_id)
