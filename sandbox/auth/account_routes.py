"""The signed-in person's own account: reading it, changing it, signing out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response
from psycopg import Connection
from pydantic import BaseModel

from . import onetime, sessions, users
from .errors import AuthError
from .passwords import check_strength, hash_password, verify_password
from .records import User
from .service import Auth, Me, Service, now, require_api_key

router = APIRouter(dependencies=[Depends(require_api_key)])


class UserChange(BaseModel):
    """The body of `PUT /user`."""

    email: str | None = None
    phone: str | None = None
    password: str | None = None
    data: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None


@router.get("/user")
def get_user(auth: Service, me: Me) -> dict[str, Any]:
    """The user behind the access token, while the session stands."""
    with auth.transaction() as conn:
        user, _ = me.load(conn, lock=False)
        return users.to_json(conn, user)


def _new_password_hash(auth: Auth, me: Me, password: str) -> str:
    check_strength(password)
    with auth.transaction() as conn:
        user, _ = me.load(conn, lock=False)
    if verify_password(password, user.encrypted_password):
        message = "New password should be different from the old password."
        raise AuthError(422, "same_password", message)
    return hash_password(password)


@router.put("/user")
def change_user(body: UserChange, auth: Service, me: Me, redirect_to: str | None = None) -> dict[str, Any]:
    """Changes password and metadata at once, and the address after it was confirmed from the mail.

    A new password signs out the user's other sessions. With a verified factor, address and password need
    an `aal2` session (`insufficient_aal`, 401).
    """
    if body.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone changes are disabled")
    if body.app_metadata is not None:
        raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
    new_email = users.normal_email(body.email) if body.email else None
    with auth.transaction() as conn:
        user, session = me.load(conn, lock=False)
        sensitive = bool(body.password) or new_email not in {None, user.email}
        has_factor = any(factor.is_verified for factor in users.factors_of(conn, user.id))
        if sensitive and has_factor and session.aal != "aal2":
            message = "AAL2 session is required to update email or password when MFA is enabled."
            raise AuthError(401, "insufficient_aal", message)
    changes: dict[str, object] = {}
    if body.password is not None:
        changes["encrypted_password"] = _new_password_hash(auth, me, body.password)
    with auth.transaction() as conn:
        user, session = me.load(conn)
        if body.data is not None:
            changes["raw_user_meta_data"] = users.merged(user.raw_user_meta_data, body.data)
        user = users.update(conn, user, now(), changes)
        if body.password is not None:
            sessions.sign_out(conn, session, "others")
        if new_email is not None and new_email != user.email:
            user = _ask_for_confirmation(conn, auth, user, new_email, redirect_to)
        return users.to_json(conn, user)


def _ask_for_confirmation(conn: Connection, auth: Auth, user: User, new_email: str, redirect_to: str | None) -> User:
    if users.find_by_email(conn, new_email) is not None:
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message)
    moment = now()
    user = users.update(conn, user, moment, {"email_change": new_email, "email_change_sent_at": moment})
    link = onetime.create(conn, auth, user, "email_change", new_email, redirect_to)
    onetime.send(auth, link, moment)
    return user


@router.post("/logout", status_code=204)
def sign_out(auth: Service, me: Me, scope: str = "") -> Response:
    """Ends sessions: `global` (the default), `local` or `others`."""
    if scope not in {"", "global", "local", "others"}:
        raise AuthError(400, "validation_failed", f'Unsupported logout scope "{scope}"')
    with auth.transaction() as conn:
        _, session = me.load(conn)
        sessions.sign_out(conn, session, scope or "global")
    return Response(status_code=204)
