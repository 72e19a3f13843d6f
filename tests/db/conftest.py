"""A database with two busy tenants in it (tests/db/world.py), for every test its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.postgres import Server
from tests import cluster as clusters
from tests.db.founding import build, work
from tests.db.world import World

_PEOPLED, _BUSY = "peopled", "busy"


@pytest.fixture(scope="session")
def peopled(cluster: Server) -> str:
    """The template database that holds both tenants."""
    clusters.shared(cluster, _PEOPLED, clusters.TEMPLATE, build)
    return _PEOPLED


@pytest.fixture
def world(cluster: Server, peopled: str) -> Iterator[World]:
    """Both tenants, in a database of this test's own."""
    with clusters.cloned(cluster, peopled) as database:
        made = World(database)
        yield made
        made.close()


@pytest.fixture(scope="session")
def busy(cluster: Server, peopled: str) -> str:
    """The template database in which both tenants have been at work."""
    clusters.shared(cluster, _BUSY, peopled, work)
    return _BUSY


@pytest.fixture
def busy_world(cluster: Server, busy: str) -> Iterator[World]:
    """Both tenants at work, with rows in every table, in a database of this test's own."""
    with clusters.cloned(cluster, busy) as database:
        made = World(database)
        yield made
        made.close()


@pytest.fixture(scope="module")
def still_world(cluster: Server, busy: str) -> Iterator[World]:
    """As `busy_world`, for the tests of a module that change nothing."""
    with clusters.cloned(cluster, busy) as database:
        made = World(database)
        with made.unchanged():
            yield made
        made.close()
