"""Tenants, members, service accounts and keys as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Environment, Role, Strict


class NewTenant(Strict):
    name: str = Field(min_length=1, max_length=200)
    user_name: str = Field(default="", max_length=200)


class Tenant(BaseModel):
    id: UUID
    name: str
    role: str | None = None


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


class NewMember(Strict):
    user_id: UUID
    role: Role
    email: str = Field(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")
    name: str = Field(default="", max_length=200)


class Member(BaseModel):
    user_id: UUID
    role: Role
    email: str
    name: str


class NewServiceAccount(Strict):
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)


class ServiceAccount(BaseModel):
    id: UUID
    name: str
    description: str


class NewKey(Strict):
    environment: Environment
    scopes: list[str] = Field(min_length=1, max_length=50)
    expires_in_days: int = Field(default=90, ge=1, le=365)


class Rotation(Strict):
    grace_seconds: int = Field(default=0, ge=0, le=7 * 24 * 3600)


class Key(BaseModel):
    """`secret` is present in the answer that issues the key and never again."""

    id: UUID
    service_account_id: UUID
    environment: Environment
    prefix: str
    scopes: list[str]
    expires_at: datetime
    revoked_at: datetime | None = None
    secret: str | None = None
