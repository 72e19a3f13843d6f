"""Tenants, members, invitations, service accounts and keys as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Environment, Name, Remark, Role, Strict, Title


class NewTenant(Strict):
    name: Title
    user_name: Name = ""


class Tenant(BaseModel):
    id: UUID
    name: str
    role: str | None = None


class Settings(BaseModel):
    """What a tenant decides about itself; `separation_of_duties` keeps who made an agent from approving for it."""

    separation_of_duties: bool


class CurrentTenant(Tenant):
    created_at: datetime
    settings: Settings


class SettingsChange(Strict):
    separation_of_duties: bool | None = None


class TenantChange(Strict):
    """What is left out stays. `reason` goes into the audit log; lifting a protection needs one."""

    name: Title | None = None
    settings: SettingsChange = SettingsChange()
    reason: Remark = ""


class Transfer(Strict):
    """`keep_role` is what the caller becomes."""

    user_id: UUID
    keep_role: Literal["admin", "approver", "operator", "developer", "auditor"] = "admin"


class Transferred(BaseModel):
    owner: UUID
    user_id: UUID
    role: Role


class Permission(BaseModel):
    """Who may: people by role, API keys (`service`), scheduled functions (`system`); `aal2` needs a second factor."""

    permission: str
    roles: list[Role]
    service: bool
    system: bool
    aal2: bool
    meaning: str


class Me(BaseModel):
    kind: str
    id: UUID | None
    role: str | None
    aal: str | None
    environment: Environment | None
    key_id: UUID | None
    permissions: list[str]
    tenant: dict[str, Any]
    name: str | None
    email: str | None


class RoleChange(Strict):
    role: Role


class Member(BaseModel):
    user_id: UUID
    role: Role
    email: str
    name: str


class IssuedKey(BaseModel):
    id: UUID
    service_account_id: UUID
    environment: Environment
    prefix: str
    expires_at: datetime


class Removed(BaseModel):
    """`keys` still work: the ones that the person issued. Rotate or revoke those that should not."""

    user_id: UUID
    removed: bool
    keys: list[IssuedKey]


class NewInvitation(Strict):
    """`email` in ASCII, as Supabase Auth takes addresses: of two letters that look alike, one is not an address."""

    email: str = Field(min_length=3, max_length=320, pattern=r"^[!-?A-~]+@[!-?A-~]+$")
    role: Role
    name: Name = ""


class Invitation(BaseModel):
    """`void`: whoever invited may not do so any more. `mail` says whether Supabase Auth took the mail."""

    id: UUID
    email: str
    role: Role
    name: str
    invited_by: UUID
    status: Literal["open", "accepted", "withdrawn", "expired", "void"]
    mail: Literal["pending", "sent", "failed"]
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None


class MyInvitation(BaseModel):
    id: UUID
    tenant: dict[str, Any]
    role: Role
    invited_by: str
    expires_at: datetime


class Acceptance(Strict):
    """`name`: how the person wants to be called here, when not as they were invited."""

    name: Name = ""


class Joined(Member):
    tenant: dict[str, Any]


class NewServiceAccount(Strict):
    name: Title
    description: Remark = ""


class Description(Strict):
    description: Remark


class ServiceAccount(BaseModel):
    """`disabled_at`: when it ended, with all its keys. `keys_expiring_soon` end within 14 days."""

    id: UUID
    name: str
    description: str
    created_by: UUID | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    active_keys: int = 0
    keys_expiring_soon: int = 0
    last_used_at: datetime | None = None


class NewKey(Strict):
    environment: Environment
    scopes: list[str] = Field(min_length=1, max_length=50)
    expires_in_days: int = Field(default=90, ge=1, le=365)


class Rotation(Strict):
    grace_seconds: int = Field(default=0, ge=0, le=7 * 24 * 3600)


class Scopes(Strict):
    """The scopes that a key keeps."""

    scopes: list[str] = Field(min_length=1, max_length=50)


class Key(BaseModel):
    """`secret` is present in the answer that issues the key and never again.

    `last_used_at` is right to the minute, and of calls that were not refused. `expires_soon`: within 14 days.
    `issuer_left_at`: since when the person who issued it is gone from the tenant.
    """

    id: UUID
    service_account_id: UUID
    environment: Environment
    prefix: str
    scopes: list[str]
    expires_at: datetime
    revoked_at: datetime | None = None
    active: bool = True
    expires_soon: bool = False
    last_used_at: datetime | None = None
    issued_by: UUID | None = None
    issuer_left_at: datetime | None = None
    secret: str | None = None
