"""Databases with two tenants in them (tests/db/world.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.postgres import Server
from tests.db.founding import busy, peopled, world_from
from tests.db.world import World


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Both tenants, ready for business, in a database of this test's own."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


@pytest.fixture(scope="module")
def shared_world(cluster: Server) -> Iterator[World]:
    """As `world`, for the tests of a module that only add actions of their own: switches, keys and rules stay."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


@pytest.fixture
def busy_world(cluster: Server) -> Iterator[World]:
    """Both tenants at work, with rows in every table, in a database of this test's own."""
    with world_from(cluster, busy(cluster)) as made:
        yield made


@pytest.fixture(scope="module")
def still_world(cluster: Server) -> Iterator[World]:
    """As `busy_world`, for the tests of a module that change nothing; it is made sure that they do not."""
    with world_from(cluster, busy(cluster)) as made, made.unchanged():
        yield made
