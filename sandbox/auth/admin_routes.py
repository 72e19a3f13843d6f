"""User administration with the secret key: what `supabase.auth.admin` calls."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Response
from psycopg import Connection
from pydantic import BaseModel

from . import onetime, sessions, users
from .errors import AuthError
from .onetime import Link
from .passwords import check_strength, hash_password
from .records import User, factor_json
from .service import Auth, Service, now, parse_id, require_admin, require_api_key

router = APIRouter(dependencies=[Depends(require_api_key), Depends(require_admin)])

_MAX_PAGE = 1000
_GO_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class UserAttributes(BaseModel):
    """The body of `POST /admin/users` and `PUT /admin/users/{id}`."""

    id: UUID | None = None
    email: str | None = None
    phone: str | None = None
    password: str | None = None
    password_hash: str | None = None
    email_confirm: bool = False
    user_metadata: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None
    ban_duration: str | None = None
    role: str | None = None


class Invitation(BaseModel):
    """The body of `POST /invite`."""

    email: str
    data: dict[str, Any] | None = None


class LinkRequest(Invitation):
    """The body of `POST /admin/generate_link`."""

    type: str
    password: str | None = None


def _refuse_unsupported(body: UserAttributes) -> None:
    if body.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone numbers are disabled")
    if body.password_hash:
        raise AuthError(400, "validation_failed", "password_hash is not supported, send a password")


def _banned_until(duration: str, moment: datetime) -> datetime | None:
    if duration == "none":
        return None
    if not _GO_DURATION.fullmatch(duration):
        message = f'invalid format for ban duration: time: invalid duration "{duration}"'
        raise AuthError(400, "validation_failed", message)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", duration)
    try:
        return moment + timedelta(seconds=sum(float(number) * _GO_UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise AuthError(400, "validation_failed", "invalid format for ban duration: too long") from None


def _hash_or_none(password: str | None) -> str | None:
    if not password:
        return None
    check_strength(password)
    return hash_password(password)


@router.post("/admin/users")
def create_user(body: UserAttributes, auth: Service) -> dict[str, Any]:
    """Creates a user, unconfirmed unless `email_confirm`. Without a password they cannot sign in with one."""
    _refuse_unsupported(body)
    if not body.email:
        message = "Cannot create a user without either an email or phone"
        raise AuthError(400, "validation_failed", message)
    email, password_hash, moment = users.normal_email(body.email), _hash_or_none(body.password), now()
    metadata = dict(body.user_metadata or {})
    if body.email_confirm:
        metadata["email_verified"] = True
    with auth.transaction() as conn:
        user = users.create(
            conn, moment, email=email, password_hash=password_hash, user_metadata=metadata,
            app_metadata=body.app_metadata or {}, confirmed=body.email_confirm, user_id=body.id,
            role=body.role or users.AUDIENCE,
        )  # fmt: skip
        if body.ban_duration:
            banned = _banned_until(body.ban_duration, moment)
            user = users.update(conn, user, moment, {"banned_until": banned})
        return users.to_json(conn, user)


def _positive(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not int(text[:9]) > 0:
        raise AuthError(400, "validation_failed", f"Bad Pagination Parameters: {text[:20]!r}")
    return int(text[:9])


@router.get("/admin/users")
def list_users(auth: Service, response: Response, page: str = "", per_page: str = "") -> dict[str, Any]:
    """A page of users, the newest first; 50 unless asked otherwise, at most 1000.

    The client sends both parameters empty when it has no wish.
    """
    number, size = _positive(page, 1), min(_positive(per_page, 50), _MAX_PAGE)
    with auth.transaction() as conn:
        found, total = users.page(conn, number, size)
        listed = [users.to_json(conn, user) for user in found]
    last = max(1, -(-total // size))
    relations = [("next", number + 1)] if number < last else []
    links = [
        f'<{auth.public_url}/auth/v1/admin/users?page={target}&per_page={size}>; rel="{relation}"'
        for relation, target in [*relations, ("last", last)]
    ]
    response.headers["X-Total-Count"] = str(total)
    response.headers["Link"] = ", ".join(links)
    return {"users": listed, "aud": users.AUDIENCE}


@router.get("/admin/users/{user_id}")
def get_user(user_id: str, auth: Service) -> dict[str, Any]:
    """One user, or `user_not_found` (404)."""
    with auth.transaction() as conn:
        return users.to_json(conn, users.get(conn, parse_id(user_id, "user_id")))


@router.put("/admin/users/{user_id}")
def update_user(user_id: str, body: UserAttributes, auth: Service) -> dict[str, Any]:
    """Changes a user without asking them; metadata is merged, a new address counts at once."""
    _refuse_unsupported(body)
    wanted, moment = parse_id(user_id, "user_id"), now()
    changes: dict[str, object] = {}
    if body.email:
        changes["email"] = users.normal_email(body.email)
    if body.password:
        changes["encrypted_password"] = _hash_or_none(body.password)
    if body.role:
        changes["role"] = body.role
    if body.ban_duration:
        changes["banned_until"] = _banned_until(body.ban_duration, moment)
    with auth.transaction() as conn:
        user = users.get(conn, wanted, lock=True)
        if body.email_confirm and user.email_confirmed_at is None:
            changes["email_confirmed_at"] = moment
        if body.user_metadata is not None:
            changes["raw_user_meta_data"] = users.merged(user.raw_user_meta_data, body.user_metadata)
        if body.app_metadata is not None:
            changes["raw_app_meta_data"] = users.merged(user.raw_app_meta_data, body.app_metadata)
        return users.to_json(conn, users.update(conn, user, moment, changes))


@router.delete("/admin/users/{user_id}")
def delete_user(
    user_id: str, auth: Service, should_soft_delete: Annotated[bool, Body(embed=True)] = False
) -> dict[str, Any]:
    """Deletes a user, or (`should_soft_delete`) keeps an unrecognisable row of them."""
    with auth.transaction() as conn:
        user = users.get(conn, parse_id(user_id, "user_id"), lock=True)
        if not should_soft_delete:
            users.delete(conn, user)
        elif user.deleted_at is None:
            users.soft_delete(conn, user, now())
    return {}


@router.get("/admin/users/{user_id}/factors")
def list_factors(user_id: str, auth: Service) -> list[dict[str, Any]]:
    """A user's factors, without their secrets."""
    with auth.transaction() as conn:
        user = users.get(conn, parse_id(user_id, "user_id"))
        return [factor_json(factor) for factor in users.factors_of(conn, user.id)]


@router.delete("/admin/users/{user_id}/factors/{factor_id}")
def delete_factor(user_id: str, factor_id: str, auth: Service) -> dict[str, Any]:
    """Takes a factor away, for someone who lost their authenticator."""
    wanted = parse_id(factor_id, "factor_id")
    with auth.transaction() as conn:
        user = users.get(conn, parse_id(user_id, "user_id"), lock=True)
        for factor in users.factors_of(conn, user.id):
            if factor.id == wanted:
                sessions.lower_to_aal1(conn, factor.id)
                conn.execute("delete from auth.mfa_factors where id = %s", (factor.id,))
                return factor_json(factor)
    raise AuthError(404, "mfa_factor_not_found", "Factor not found")


def _invite(
    conn: Connection, auth: Auth, body: Invitation, redirect_to: str | None, moment: datetime
) -> tuple[User, Link]:
    email = users.normal_email(body.email)
    user = users.find_by_email(conn, email, lock=True)
    if user is not None and user.email_confirmed_at is not None:
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message)
    if user is None:
        user = users.create(
            conn, moment, email=email, password_hash=None, user_metadata=body.data or {}, app_metadata={},
            confirmed=False,
        )  # fmt: skip
    user = users.update(conn, user, moment, {"invited_at": moment, "confirmation_sent_at": moment})
    return user, onetime.create(conn, auth, user, "invite", email, redirect_to)


@router.post("/invite")
def invite(body: Invitation, auth: Service, redirect_to: str | None = None) -> dict[str, Any]:
    """Creates the user if there is none and mails an invitation; a confirmed user is `email_exists` (422)."""
    moment = now()
    with auth.transaction() as conn:
        user, link = _invite(conn, auth, body, redirect_to, moment)
        answer = users.to_json(conn, user)
    onetime.send(auth, link, moment)
    return answer


@router.post("/admin/generate_link")
def generate_link(body: LinkRequest, auth: Service, redirect_to: str | None = None) -> dict[str, Any]:
    """A link of type `signup`, `invite`, `magiclink` or `recovery`, for whoever sends their own mail."""
    moment = now()
    password_hash = _hash_or_none(body.password) if body.type == "signup" else None
    with auth.transaction() as conn:
        if body.type == "invite":
            user, link = _invite(conn, auth, body, redirect_to, moment)
        elif body.type == "signup":
            if password_hash is None:
                raise AuthError(400, "validation_failed", "Signup requires a valid password")
            user = users.create(
                conn, moment, email=users.normal_email(body.email), password_hash=password_hash,
                user_metadata=body.data or {}, app_metadata={}, confirmed=False,
            )  # fmt: skip
            link = onetime.create(conn, auth, user, "signup", user.email or "", redirect_to)
        elif body.type in {"magiclink", "recovery"}:
            known = users.find_by_email(conn, users.normal_email(body.email), lock=True)
            if known is None:
                raise AuthError(404, "user_not_found", "User with this email not found")
            user = users.update(conn, known, moment, {"recovery_sent_at": moment})
            link = onetime.create(conn, auth, user, body.type, user.email or "", redirect_to)
        else:
            raise AuthError(400, "validation_failed", f"Invalid email action link type requested: {body.type}")
        return {
            **users.to_json(conn, user),
            "action_link": link.action_link,
            "email_otp": link.email_otp,
            "hashed_token": link.hashed_token,
            "redirect_to": link.redirect_to,
            "verification_type": body.type,
        }
