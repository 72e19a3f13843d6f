"""Sessions, refresh token rotation and assurance levels."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from . import users
from .errors import AuthError
from .records import Session, User

REUSE_INTERVAL = timedelta(seconds=10)
"""How long a rotated refresh token still answers, for clients that refresh twice at once."""


@dataclass(frozen=True)
class Caller:
    """Where a request comes from; kept with the session."""

    ip: str
    user_agent: str | None


@dataclass(frozen=True)
class Refreshed:
    """A session, whose it is, and the refresh token to use from now on."""

    user: User
    session: Session
    refresh_token: str


@dataclass(frozen=True)
class _RefreshToken:
    id: int
    token: str
    user_id: str
    parent: str | None
    revoked: bool
    updated_at: datetime
    session_id: UUID


def find(conn: Connection, session_id: UUID) -> Session | None:
    """The session, or None once it was signed out."""
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        return cursor.execute(
            "select id, user_id, aal::text, factor_id, created_at, not_after from auth.sessions where id = %s",
            (session_id,),
        ).fetchone()


def _token_where(conn: Connection, condition: str, value: object) -> _RefreshToken | None:
    with conn.cursor(row_factory=class_row(_RefreshToken)) as cursor:
        return cursor.execute(
            "select id, token, user_id, parent, revoked, updated_at, session_id from auth.refresh_tokens"  # noqa: S608
            f" where {condition} order by id desc limit 1",
            (value,),
        ).fetchone()


def _add_token(conn: Connection, session: Session, parent: str | None, now: datetime) -> str:
    token = secrets.token_urlsafe(32)
    conn.execute(
        "insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at,"
        " parent, session_id) values (%s, %s, %s, false, %s, %s, %s, %s)",
        (UUID(int=0), token, str(session.user_id), now, now, parent, session.id),
    )
    return token


def start(conn: Connection, user: User, method: str, caller: Caller, now: datetime) -> Refreshed:
    """A new `aal1` session that was opened by `method` (`password`, `otp`, ...)."""
    session_id = uuid.uuid4()
    conn.execute(
        "insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)"
        " values (%s, %s, %s, %s, 'aal1', %s, %s)",
        (session_id, user.id, now, now, caller.user_agent, caller.ip),
    )
    add_method(conn, session_id, method, now)
    session = Session(session_id, user.id, "aal1", None, now, None)
    return Refreshed(user, session, _add_token(conn, session, None, now))


def add_method(conn: Connection, session_id: UUID, method: str, now: datetime) -> None:
    """Records that the session has proven itself with `method`, now."""
    conn.execute(
        "insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)"
        " values (%(id)s, %(session)s, %(now)s, %(now)s, %(method)s)"
        " on conflict (session_id, authentication_method) do update set updated_at = excluded.updated_at",
        {"id": uuid.uuid4(), "session": session_id, "now": now, "method": method},
    )


def methods(conn: Connection, session_id: UUID) -> list[dict[str, Any]]:
    """The `amr` claim: methods with Unix times, the latest first."""
    rows = conn.execute(
        "select authentication_method, updated_at from auth.mfa_amr_claims where session_id = %s"
        " order by updated_at desc, created_at desc",
        (session_id,),
    ).fetchall()
    return [{"method": method, "timestamp": int(at.timestamp())} for method, at in rows]


def rotate(conn: Connection, session: Session, now: datetime) -> str:
    """Revokes the session's active refresh token and answers its successor."""
    active = _token_where(conn, "session_id = %s and not revoked", session.id)
    if active is None:
        raise AuthError(400, "session_not_found", "Session has no active refresh token")
    conn.execute("update auth.refresh_tokens set revoked = true, updated_at = %s where id = %s", (now, active.id))
    return _add_token(conn, session, active.token, now)


def refresh(conn: Connection, presented: str, caller: Caller, now: datetime) -> Refreshed | AuthError:
    """Exchanges a refresh token for the next one.

    A rotated token is answered with the active one when it is that one's direct predecessor (the client never
    got the answer) or was rotated within `REUSE_INTERVAL` (two refreshes at once). Any other reuse means
    that a copy is at large, and the session is deleted with all its tokens.

    The refusal is returned and not raised: the deletion has to be committed.
    """
    found = _token_where(conn, "token = %s", presented)
    user = users.find(conn, UUID(found.user_id), lock=True) if found else None
    # Only now, with the user locked, is the token's state the one to decide on.
    token = _token_where(conn, "token = %s", presented)
    session = find(conn, token.session_id) if token else None
    if user is None or token is None or session is None:
        message = "Invalid Refresh Token: Refresh Token Not Found"
        return AuthError(400, "refresh_token_not_found", message)
    if user.is_banned(now):
        return AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")
    if session.not_after is not None and now > session.not_after:
        return AuthError(400, "session_expired", "Invalid Refresh Token: Session Expired")
    if not token.revoked:
        successor = rotate(conn, session, now)
    else:
        active = _token_where(conn, "session_id = %s and not revoked", session.id)
        recent = now - token.updated_at < REUSE_INTERVAL
        if active is None or not (recent or active.parent == token.token):
            sign_out(conn, session, "local")
            return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        successor = active.token
    conn.execute(
        "update auth.sessions set refreshed_at = %s, updated_at = %s, user_agent = %s, ip = %s where id = %s",
        (now.astimezone(UTC).replace(tzinfo=None), now, caller.user_agent, caller.ip, session.id),
    )
    return Refreshed(user, session, successor)


def raise_to_aal2(conn: Connection, user: User, session: Session, factor_id: UUID, now: datetime) -> Refreshed:
    """The session after its second factor: `aal2`, a new refresh token.

    The user's other sessions below `aal2` are deleted: from the first factor on, one password is not enough.
    """
    conn.execute(
        "update auth.sessions set aal = 'aal2', factor_id = %s, updated_at = %s where id = %s",
        (factor_id, now, session.id),
    )
    add_method(conn, session.id, "totp", now)
    conn.execute("delete from auth.sessions where user_id = %s and aal < 'aal2'", (session.user_id,))
    raised = Session(session.id, session.user_id, "aal2", factor_id, session.created_at, session.not_after)
    return Refreshed(user, raised, rotate(conn, raised, now))


def lower_to_aal1(conn: Connection, factor_id: UUID) -> None:
    """Takes the second factor from every session that was raised by it, when the factor goes."""
    conn.execute(
        "delete from auth.mfa_amr_claims c using auth.sessions s"
        " where s.id = c.session_id and s.factor_id = %s and c.authentication_method = 'totp'",
        (factor_id,),
    )
    conn.execute("update auth.sessions set aal = 'aal1', factor_id = null where factor_id = %s", (factor_id,))


def sign_out(conn: Connection, session: Session, scope: str) -> None:
    """Deletes this session (`local`), the user's other ones (`others`) or all of them (`global`)."""
    conn.execute(
        "delete from auth.sessions where user_id = %(user)s and case %(scope)s"
        " when 'local' then id = %(id)s when 'others' then id <> %(id)s else true end",
        {"user": session.user_id, "id": session.id, "scope": scope},
    )
