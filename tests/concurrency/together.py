"""Calls of the schema's functions at the same moment, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg

from api.ids import new_id
from tests.db.names import ACME, Row
from tests.db.world import World


def together(world: World, calls: Sequence[Callable[[psycopg.Connection[Any]], Row]]) -> list[Row]:
    """Runs every call on a connection of its own, at the same moment; a refusal is {refused: code}."""
    start = Barrier(len(calls))

    def run(call: Callable[[psycopg.Connection[Any]], Row]) -> Row:
        with patient(world.database.connect()) as connection:
            start.wait(timeout=60)
            return or_refused(lambda: call(connection))

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def patient(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """The session, which now waits for locks as long as a busy machine takes, and not only as long as a request may."""
    names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    connection.execute("select set_config(name, '60s', false) from unnest(%s::text[]) name", (names,))
    return connection


def or_refused(call: Callable[[], Row]) -> Row:
    try:
        return call()
    except psycopg.Error as error:
        state = error.sqlstate or ""
        return {"refused": error.diag.message_detail if state.startswith("CS") else state}


def acting(world: World, claims: Row, function: str, args: Row) -> Callable[[psycopg.Connection[Any]], Row]:
    return lambda connection: world.call(claims, function, args, connection=connection)


def types_of(world: World, after: int = 0) -> list[str]:
    return [event["type"] for event in world.events(after=after)]


def bring_back(world: World, stayed: str, gone: str) -> None:
    """Makes somebody an owner again who has left."""
    email = f"{gone}@example.com"
    invitation = {"id": str(new_id()), "email": email, "role": "owner"}
    world.call(ACME.user(stayed), "invite_v1", invitation)
    world.call(ACME.user(gone, verified_email=email), "accept_invitation_v1", {"id": invitation["id"]})
