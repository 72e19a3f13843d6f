"""Where an attacker may stand: with the application's login, a role of the Data API, or as the owner of the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.db.world import World, refusal

#: The application's login as it is; the same as `authenticated`, with claims of its own making; the Data API's
#: most powerful role; and the owner of the tables, who may do any DML: plainly, from an old snapshot, and as a
#: session that replays changes, in which ordinary triggers and foreign keys do not fire.
APPLICATION = ("countersign_api", "authenticated", "service_role")
OWNER = ("owner", "owner, repeatable read", "owner, serializable", "owner, replica")
VANTAGES = (*APPLICATION, *OWNER)


@contextmanager
def standing(world: World, vantage: str, claims: Mapping[str, Any] | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A transaction from a vantage point, committed at exit, with claims if some are given."""
    login = {"service_role": vantage, "countersign_api": vantage, "authenticated": "countersign_api"}
    connection = world.connection(login.get(vantage, "postgres"), "attacks")
    with connection.transaction():
        _, _, manner = vantage.partition(", ")
        if manner == "replica":
            connection.execute("set local session_replication_role = replica")
        elif manner:
            connection.execute(f"set transaction isolation level {manner}".encode())
        if claims is not None:
            connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        if vantage == "authenticated":
            connection.execute("set local role authenticated")
        yield connection


def refused_everywhere(
    world: World,
    statement: str,
    *values: object,
    claims: Mapping[str, Any] | None = None,
    vantages: Sequence[str] = VANTAGES,
    reasons: Sequence[str | type[psycopg.Error]] = (),
) -> None:
    """Asserts that a statement is refused from every vantage point, and that nothing changed.

    The application's roles must be refused for want of privilege. The owner has them all: what refuses him is
    one of the reasons, or, in an isolation level that a guard will not vouch for, that guard.
    """
    with world.unchanged():
        for vantage in vantages:
            allowed: tuple[str | type[psycopg.Error], ...] = (psycopg.errors.InsufficientPrivilege,)
            if vantage in OWNER:
                allowed = tuple(reasons)
                if vantage in OWNER[1:3]:
                    allowed += ("wrong_isolation",) if reasons else ()
            with refusal(*allowed, note=f"{vantage}: {statement}"), standing(world, vantage, claims) as connection:
                connection.execute(statement.encode(), values)


def run_out(world: World, table: str, column: str, value: str) -> None:
    """Lets the time of some rows be over, which only time does: the superuser, with the guards off for the moment.

    A test that waited for it would have to be done with everything else before it, however slow the machine is.
    """
    guards = world.rows(
        "select format('alter table %%s enable %%s trigger %%I', tgrelid::regclass,"
        " case tgenabled when 'A' then 'always' else '' end, tgname)"
        " from pg_trigger where tgrelid = %s::regclass and not tgisinternal and tgenabled <> 'D'", table
    )  # fmt: skip
    with world.root.transaction():
        world.root.execute(f"alter table {table} disable trigger user".encode())
        world.root.execute(f"update {table} set expires_at = now() where {column} = %s".encode(), (value,))
        for (enabled,) in guards:
            world.root.execute(enabled)
