"""Users and their identities: the only reader and writer of `auth.users` and `auth.identities`."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from .errors import AuthError
from .records import USER_COLUMNS, Factor, Identity, User, user_json

AUDIENCE = "authenticated"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_COLUMNS = sql.SQL(USER_COLUMNS)


def normal_email(text: str) -> str:
    """Lower case, as it is stored; `validation_failed` (400) when it is no address."""
    email = text.strip().lower()
    if len(email) > 255 or not _EMAIL.fullmatch(email):
        raise AuthError(400, "validation_failed", "Unable to validate email address: invalid format")
    return email


def _one(conn: Connection, condition: sql.SQL, value: object, *, lock: bool) -> User | None:
    suffix = sql.SQL(" for update" if lock else "")
    query = sql.SQL("select {} from auth.users where {}{}").format(_COLUMNS, condition, suffix)
    with conn.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(query, (value,)).fetchone()


def find(conn: Connection, user_id: UUID, *, lock: bool = False) -> User | None:
    """The user. Whatever changes a user, a session or a factor takes the user's lock first and holds it until
    the transaction ends: so requests of one person queue up, and none can deadlock with another."""
    return _one(conn, sql.SQL("id = %s"), user_id, lock=lock)


def find_by_email(conn: Connection, email: str, *, lock: bool = False) -> User | None:
    """The same by its (normal) address."""
    return _one(conn, sql.SQL("email = %s and is_sso_user = false"), email, lock=lock)


def get(conn: Connection, user_id: UUID, *, lock: bool = False) -> User:
    """The user, or `user_not_found` (404)."""
    user = find(conn, user_id, lock=lock)
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user


def page(conn: Connection, number: int, size: int) -> tuple[list[User], int]:
    """Page `number` (from 1), newest users first, and how many users there are."""
    query = sql.SQL("select {} from auth.users order by created_at desc, id limit %s offset %s")
    with conn.cursor(row_factory=class_row(User)) as cursor:
        users = cursor.execute(query.format(_COLUMNS), (size, (number - 1) * size)).fetchall()
    row = conn.execute("select count(*) from auth.users").fetchone()
    return users, int(row[0]) if row else 0


def factors_of(conn: Connection, user_id: UUID) -> list[Factor]:
    """All factors of a user, oldest first."""
    with conn.cursor(row_factory=class_row(Factor)) as cursor:
        return cursor.execute(
            "select id, user_id, friendly_name, factor_type::text, status::text, secret, created_at,"
            " updated_at, last_challenged_at from auth.mfa_factors where user_id = %s"
            " order by created_at, id",
            (user_id,),
        ).fetchall()


def to_json(conn: Connection, user: User) -> dict[str, Any]:
    """What the API shows of a user, with identities and factors."""
    with conn.cursor(row_factory=class_row(Identity)) as cursor:
        identities = cursor.execute(
            "select id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at,"
            " updated_at, email from auth.identities where user_id = %s order by created_at, id",
            (user.id,),
        ).fetchall()
    return user_json(user, identities, factors_of(conn, user.id))


def create(
    conn: Connection,
    now: datetime,
    *,
    email: str,
    password_hash: str | None,
    user_metadata: Mapping[str, Any],
    app_metadata: Mapping[str, Any],
    confirmed: bool,
    user_id: UUID | None = None,
    role: str = AUDIENCE,
) -> User:
    """A new user with its `email` identity. Raises `email_exists` (422) when the address or id is taken."""
    user_id = user_id or uuid.uuid4()
    identity = {"sub": str(user_id), "email": email, "email_verified": confirmed, "phone_verified": False}
    app_data = {"provider": "email", "providers": ["email"], **app_metadata}
    try:
        with conn.transaction():
            conn.execute(
                "insert into auth.users (instance_id, id, aud, role, email, encrypted_password,"
                " email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (UUID(int=0), user_id, AUDIENCE, role, email, password_hash, now if confirmed else None,
                 Jsonb(app_data), Jsonb(dict(user_metadata)), now, now),
            )  # fmt: skip
            conn.execute(
                "insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at,"
                " created_at, updated_at) values (%s, %s, %s, 'email', %s, %s, %s)",
                (str(user_id), user_id, Jsonb(identity), now, now, now),
            )
    except UniqueViolation:
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message) from None
    return get(conn, user_id)


def update(conn: Connection, user: User, now: datetime, changes: Mapping[str, object]) -> User:
    """Sets columns of `auth.users` (dicts become jsonb), raises `email_exists` for an address in use."""
    values = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in changes.items()}
    values["updated_at"] = now
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
    )
    query = sql.SQL("update auth.users set {} where id = {}").format(assignments, sql.Placeholder("_id"))
    try:
        with conn.transaction():
            conn.execute(query, {**values, "_id": user.id})
            if "email" in changes or "email_confirmed_at" in changes:
                _follow_in_identity(conn, user.id, now)
    except UniqueViolation:
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message) from None
    return get(conn, user.id)


def _follow_in_identity(conn: Connection, user_id: UUID, now: datetime) -> None:
    conn.execute(
        "update auth.identities i set updated_at = %(now)s, identity_data = i.identity_data"
        " || jsonb_build_object('email', u.email, 'email_verified', u.email_confirmed_at is not null)"
        " from auth.users u where u.id = i.user_id and u.id = %(id)s and i.provider = 'email'",
        {"now": now, "id": user_id},
    )


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata after an update: keys are set one by one, and `null` removes a key."""
    return {name: value for name, value in {**old, **changes}.items() if value is not None}


def delete(conn: Connection, user: User) -> None:
    """Deletes the user; identities, sessions, tokens and factors go with it."""
    conn.execute("delete from auth.users where id = %s", (user.id,))


def soft_delete(conn: Connection, user: User, now: datetime) -> None:
    """Keeps the row for those who point at it and makes the person unrecognisable and unable to sign in."""
    obscured = hashlib.sha256(f"{user.id}{user.email}".encode()).hexdigest()
    update(
        conn, user, now,
        {"email": obscured, "encrypted_password": None, "email_change": None, "raw_user_meta_data": {},
         "deleted_at": now},
    )  # fmt: skip
    conn.execute(
        "update auth.identities set provider_id = %s, identity_data = '{}' where user_id = %s",
        (obscured, user.id),
    )
    for table in ("sessions", "mfa_factors", "one_time_tokens"):
        statement = sql.SQL("delete from {} where user_id = %s").format(sql.Identifier("auth", table))
        conn.execute(statement, (user.id,))
