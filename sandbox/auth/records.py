"""Rows of schema `auth` as the stand-in reads them, and the JSON that Supabase Auth shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

USER_COLUMNS = """
    id, aud, role, email, encrypted_password, email_confirmed_at, invited_at, confirmation_sent_at,
    recovery_sent_at, email_change, email_change_sent_at, last_sign_in_at, confirmed_at, banned_until,
    deleted_at, is_anonymous, raw_app_meta_data, raw_user_meta_data, created_at, updated_at
"""


@dataclass(frozen=True)
class User:
    """`auth.users`, less what the stand-in has no use for."""

    id: UUID
    aud: str
    role: str
    email: str | None
    encrypted_password: str | None
    email_confirmed_at: datetime | None
    invited_at: datetime | None
    confirmation_sent_at: datetime | None
    recovery_sent_at: datetime | None
    email_change: str | None
    email_change_sent_at: datetime | None
    last_sign_in_at: datetime | None
    confirmed_at: datetime | None
    banned_until: datetime | None
    deleted_at: datetime | None
    is_anonymous: bool
    raw_app_meta_data: dict[str, Any]
    raw_user_meta_data: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    def is_banned(self, now: datetime) -> bool:
        return self.banned_until is not None and now < self.banned_until


@dataclass(frozen=True)
class Identity:
    """`auth.identities`."""

    id: UUID
    provider_id: str
    user_id: UUID
    identity_data: dict[str, Any]
    provider: str
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime
    email: str | None


@dataclass(frozen=True)
class Session:
    """`auth.sessions`."""

    id: UUID
    user_id: UUID
    aal: str
    factor_id: UUID | None
    created_at: datetime
    not_after: datetime | None


@dataclass(frozen=True)
class Factor:
    """`auth.mfa_factors`."""

    id: UUID
    user_id: UUID
    friendly_name: str | None
    factor_type: str
    status: str
    secret: str | None
    created_at: datetime
    updated_at: datetime
    last_challenged_at: datetime | None

    @property
    def is_verified(self) -> bool:
        return self.status == "verified"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, with `Z`, as Go's encoder writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _present(fields: dict[str, datetime | str | None]) -> dict[str, str]:
    return {name: timestamp(value) if isinstance(value, datetime) else value for name, value in fields.items() if value}


def identity_json(identity: Identity) -> dict[str, Any]:
    """An identity as the client's `UserIdentity` reads it: `id` is the provider's id of the person."""
    return {
        "identity_id": str(identity.id),
        "id": identity.provider_id,
        "user_id": str(identity.user_id),
        "identity_data": identity.identity_data,
        "provider": identity.provider,
        "created_at": timestamp(identity.created_at),
        "updated_at": timestamp(identity.updated_at),
        **_present({"last_sign_in_at": identity.last_sign_in_at, "email": identity.email}),
    }


def factor_json(factor: Factor) -> dict[str, Any]:
    """A factor without its secret, which is shown once, at enrolment."""
    return {
        "id": str(factor.id),
        "factor_type": factor.factor_type,
        "status": factor.status,
        "created_at": timestamp(factor.created_at),
        "updated_at": timestamp(factor.updated_at),
        **_present({"friendly_name": factor.friendly_name, "last_challenged_at": factor.last_challenged_at}),
    }


def user_json(user: User, identities: Sequence[Identity], factors: Sequence[Factor]) -> dict[str, Any]:
    """A user as Supabase Auth marshals it: absent times are left out, `factors` too when there are none."""
    body: dict[str, Any] = {
        "id": str(user.id),
        "aud": user.aud,
        "role": user.role,
        "email": user.email or "",
        "phone": "",
        "app_metadata": user.raw_app_meta_data,
        "user_metadata": user.raw_user_meta_data,
        "identities": [identity_json(identity) for identity in identities],
        "created_at": timestamp(user.created_at),
        "updated_at": timestamp(user.updated_at),
        "is_anonymous": user.is_anonymous,
    }
    body |= _present(
        {
            "email_confirmed_at": user.email_confirmed_at,
            "confirmed_at": user.confirmed_at,
            "invited_at": user.invited_at,
            "confirmation_sent_at": user.confirmation_sent_at,
            "recovery_sent_at": user.recovery_sent_at,
            "new_email": user.email_change,
            "email_change_sent_at": user.email_change_sent_at,
            "last_sign_in_at": user.last_sign_in_at,
            "banned_until": user.banned_until,
            "deleted_at": user.deleted_at,
        }
    )
    if factors:
        body["factors"] = [factor_json(factor) for factor in factors]
    return body
