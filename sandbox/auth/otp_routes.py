"""Asking for a mail to sign in with, instead of a password, or to choose a new one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from . import onetime, users
from .errors import AuthError
from .service import Service, now, require_api_key

router = APIRouter(dependencies=[Depends(require_api_key)])


class Request(BaseModel):
    """The body of `POST /otp`. Captcha and PKCE fields are ignored."""

    email: str | None = None
    phone: str | None = None
    create_user: bool = True
    data: dict[str, Any] | None = None


@router.post("/otp")
def send_link(body: Request, auth: Service, redirect_to: str | None = None) -> dict[str, Any]:
    """Mails a magic link; to who has not confirmed the address yet, one that does.

    `otp_disabled` (422) for an unknown address when `create_user` is false. The answer is empty.
    """
    if body.phone or not body.email:
        raise AuthError(400, "validation_failed", "Only an email address can be sent a link here")
    email, moment = users.normal_email(body.email), now()
    with auth.transaction() as conn:
        user = users.find_by_email(conn, email, lock=True)
        if user is None and not body.create_user:
            raise AuthError(422, "otp_disabled", "Signups not allowed for otp")
        if user is None:
            user = users.create(
                conn, moment, email=email, password_hash=None, user_metadata=body.data or {}, app_metadata={},
                confirmed=False,
            )  # fmt: skip
        kind = "magiclink" if user.email_confirmed_at else "signup"
        user = users.update(conn, user, moment, {"recovery_sent_at": moment})
        link = onetime.create(conn, auth, user, kind, email, redirect_to)
    onetime.send(auth, link, moment)
    return {}


class Recovery(BaseModel):
    """The body of `POST /recover`. Captcha and PKCE fields are ignored."""

    email: str = ""


@router.post("/recover")
def recover(body: Recovery, auth: Service, redirect_to: str | None = None) -> dict[str, Any]:
    """Mails a link to choose a new password after. The answer is empty for an unknown address, too."""
    if not body.email:
        raise AuthError(400, "validation_failed", "Password recovery requires an email")
    email, moment = users.normal_email(body.email), now()
    with auth.transaction() as conn:
        user = users.find_by_email(conn, email, lock=True)
        if user is None:
            return {}
        user = users.update(conn, user, moment, {"recovery_sent_at": moment})
        link = onetime.create(conn, auth, user, "recovery", email, redirect_to)
    onetime.send(auth, link, moment)
    return {}
