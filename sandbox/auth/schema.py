"""Installs the tables of schema `auth`."""

from __future__ import annotations

from pathlib import Path

import psycopg

_STATEMENTS = Path(__file__).with_name("schema.sql")
_LOCK = 0x415554485343484D  # any number: two servers that start at once must not create the same type


def install_schema(database_url: str) -> None:
    """Creates what is missing in schema `auth`; connect as supabase_auth_admin, its owner. Idempotent.

    The server does this when it starts. Whoever runs migrations that point at `auth.users` without a
    server calls it before.
    """
    with psycopg.connect(database_url) as conn:
        conn.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        conn.execute(_STATEMENTS.read_bytes())
