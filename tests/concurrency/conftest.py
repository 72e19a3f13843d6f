"""Stacks for tests that kill, break and crowd them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import postgres
from sandbox.postgres import Server
from sandbox.stack import Databases, prepare
from tests.cluster import Database, cloned
from tests.concurrency.world import World, running


def databases_of(database: Database) -> Databases:
    return Databases(api=database.url("countersign_api"), auth=database.url("supabase_auth_admin"))


@pytest.fixture(scope="module")
def world(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack that one test module shares, on the run's Postgres; its parts may be killed, but not Postgres."""
    with (
        cloned(cluster) as database,
        running(tmp_path_factory.mktemp("stack"), databases_of(database), database.url("superuser")) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack with a Postgres of its own, durable, so that it can be killed."""
    state = tmp_path_factory.mktemp("durable").resolve()
    server = postgres.start(state)
    try:
        with running(state, prepare(server), server.url()) as made:
            yield made
    finally:
        postgres.destroy(state)
