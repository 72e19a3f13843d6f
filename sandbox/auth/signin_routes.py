"""Signing up, signing in with a password, and refreshing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from . import sessions, users
from .errors import AuthError
from .passwords import check_strength, hash_password, verify_password
from .service import Auth, From, Service, now, require_api_key
from .sessions import Caller

router = APIRouter(dependencies=[Depends(require_api_key)])


class Credentials(BaseModel):
    """The body of `/signup` and of the password grant. Captcha and PKCE fields are ignored."""

    email: str | None = None
    phone: str | None = None
    password: str | None = None
    data: dict[str, Any] | None = None


class Grant(Credentials):
    """The body of either grant."""

    refresh_token: str = ""


@router.post("/signup")
def sign_up(body: Credentials, auth: Service, caller: From) -> dict[str, Any]:
    """Creates a confirmed user and signs them in; `user_already_exists` (422) when there is one."""
    if body.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone signups are disabled")
    if not body.email and not body.password:
        raise AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    if not body.password:
        raise AuthError(400, "validation_failed", "Signup requires a valid password")
    email = users.normal_email(body.email or "")
    check_strength(body.password)
    password_hash = hash_password(body.password)
    moment = now()
    with auth.transaction() as conn:
        try:
            user = users.create(
                conn, moment, email=email, password_hash=password_hash, user_metadata=body.data or {},
                app_metadata={}, confirmed=True,
            )  # fmt: skip
        except AuthError as error:
            raise AuthError(422, "user_already_exists", "User already registered") from error
        told = {"sub": str(user.id), "email": email, "email_verified": True, "phone_verified": False}
        metadata = users.merged(user.raw_user_meta_data, told)
        user = users.update(conn, user, moment, {"raw_user_meta_data": metadata})
        return auth.sign_in(conn, user, "password", caller, moment)


@router.post("/token")
def token(body: Grant, auth: Service, caller: From, grant_type: str = "") -> dict[str, Any]:
    """The token endpoint; `grant_type` is `password` or `refresh_token`."""
    if grant_type == "password":
        return _password_grant(auth, caller, body, now())
    if grant_type == "refresh_token":
        return _refresh_grant(auth, caller, body, now())
    raise AuthError(400, "invalid_credentials", "unsupported_grant_type")


def _password_grant(auth: Auth, caller: Caller, body: Grant, moment: datetime) -> dict[str, Any]:
    if body.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone logins are disabled")
    email = (body.email or "").strip().lower()
    with auth.transaction() as conn:
        known = users.find_by_email(conn, email)
    # Outside the transaction: hashing takes a fraction of a second on purpose.
    correct = verify_password(body.password or "", known.encrypted_password if known else None)
    if known is None or not correct:
        raise AuthError(400, "invalid_credentials", "Invalid login credentials")
    with auth.transaction() as conn:
        user = users.find(conn, known.id, lock=True)
        if user is None or user.encrypted_password != known.encrypted_password:
            raise AuthError(400, "invalid_credentials", "Invalid login credentials")
        if user.is_banned(moment):
            raise AuthError(400, "user_banned", "User is banned")
        if user.email_confirmed_at is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return auth.sign_in(conn, user, "password", caller, moment)


def _refresh_grant(auth: Auth, caller: Caller, body: Grant, moment: datetime) -> dict[str, Any]:
    if not body.refresh_token:
        raise AuthError(400, "validation_failed", "refresh_token required")
    with auth.transaction() as conn:
        outcome = sessions.refresh(conn, body.refresh_token, caller, moment)
        if not isinstance(outcome, AuthError):
            return auth.answer(conn, outcome, moment)
    raise outcome
