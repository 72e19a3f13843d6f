"""One-time links: making them, mailing them, and taking them back once."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from . import mailbox, users
from .errors import AuthError
from .records import User, timestamp
from .service import Auth

LIFETIME = timedelta(hours=24)

_TOKEN_TYPES = {
    "signup": "confirmation_token",
    "invite": "confirmation_token",
    "magiclink": "recovery_token",
    "recovery": "recovery_token",
    "email_change": "email_change_token_new",
}
KINDS = frozenset(_TOKEN_TYPES)

#: The `type` that the mail templates name for a kind; each of Supabase's templates spells its own.
_TEMPLATE_TYPES = {"signup": "email"}


@dataclass(frozen=True)
class Link:
    """A one-time link and the two secrets that stand for it: the code to type and the hash in the link."""

    kind: str
    to: str
    action_link: str
    email_otp: str
    hashed_token: str
    redirect_to: str


@dataclass(frozen=True)
class _Token:
    id: UUID
    user_id: UUID
    token_type: str
    created_at: datetime


def _hash(email: str, code: str) -> str:
    # As in Supabase Auth (internal/crypto): the hash of address and code is what the link carries.
    return hashlib.sha224(f"{email}{code}".encode()).hexdigest()


def create(conn: Connection, auth: Auth, user: User, kind: str, email: str, redirect_to: str | None) -> Link:
    """A link of `kind` to `email`, good once and for 24 hours; it replaces the user's earlier one."""
    code = f"{secrets.randbelow(10**6):06d}"
    hashed = _hash(email, code)
    conn.execute(
        "insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at,"
        " updated_at) values (%(id)s, %(user)s, %(type)s, %(hash)s, %(email)s, %(now)s, %(now)s)"
        " on conflict (user_id, token_type) do update set id = excluded.id, token_hash = excluded.token_hash,"
        " relates_to = excluded.relates_to, created_at = excluded.created_at,"
        " updated_at = excluded.updated_at",
        {"id": uuid.uuid4(), "user": user.id, "type": _TOKEN_TYPES[kind], "hash": hashed, "email": email,
         "now": datetime.now(UTC).replace(tzinfo=None)},
    )  # fmt: skip
    target = auth.allowed_redirect(redirect_to)
    query = urlencode({"token": hashed, "type": kind, "redirect_to": target})
    link = f"{auth.public_url}/auth/v1/verify?{query}"
    return Link(kind, email, link, code, hashed, target)


def send(auth: Auth, link: Link, now: datetime) -> None:
    """Puts the mail in the mailbox of the state directory.

    Its link is the service's own, or the templates' (`auth.mail_link`) with the values filled in, escaped for a query.
    """
    mail = mailbox.Mail(
        kind=link.kind,
        to=link.to,
        action_link=_mailed(auth, link),
        email_otp=link.email_otp,
        hashed_token=link.hashed_token,
        redirect_to=link.redirect_to,
        sent_at=timestamp(now),
    )
    mailbox.deliver(auth.state, mail)


def _mailed(auth: Auth, link: Link) -> str:
    if auth.mail_link is None:
        return link.action_link
    return auth.mail_link.format(
        site_url=auth.site_url,
        token_hash=link.hashed_token,
        type=_TEMPLATE_TYPES.get(link.kind, link.kind),
        redirect_to=quote(link.redirect_to, safe=""),
    )


def redeem(conn: Connection, kind: str, hashed_token: str, now: datetime) -> User:
    """The user the link was for, locked, with what the link proves made true.

    The token is used up. Raises `otp_expired` (403) for one that is unknown, used, older than 24 hours or
    of another kind.
    """
    expired = AuthError(403, "otp_expired", "Email link is invalid or has expired")
    types = {_TOKEN_TYPES[kind]} if kind in KINDS else set(_TOKEN_TYPES.values()) if kind == "email" else set()
    with conn.cursor(row_factory=class_row(_Token)) as cursor:
        token = cursor.execute(
            "select id, user_id, token_type::text, created_at from auth.one_time_tokens where token_hash = %s",
            (hashed_token,),
        ).fetchone()
    user = users.find(conn, token.user_id, lock=True) if token else None
    if token is None or user is None or token.token_type not in types:
        raise expired
    if now.astimezone(UTC).replace(tzinfo=None) - token.created_at > LIFETIME:
        raise expired
    if conn.execute("delete from auth.one_time_tokens where id = %s", (token.id,)).rowcount != 1:
        raise expired
    if user.is_banned(now):
        raise AuthError(403, "user_banned", "User is banned")
    changes: dict[str, object] = {}
    if user.email_confirmed_at is None:
        changes["email_confirmed_at"] = now
    if token.token_type == _TOKEN_TYPES["email_change"]:
        changes |= {"email": user.email_change, "email_change": None, "email_confirmed_at": now}
    return users.update(conn, user, now, changes)


def redeem_code(conn: Connection, kind: str, email: str, code: str, now: datetime) -> User:
    """The same for a code that was typed in instead of a link that was followed."""
    return redeem(conn, kind, _hash(email, code), now)
