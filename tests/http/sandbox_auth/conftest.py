"""A real Auth server on a real Postgres, for the official client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import postgres
from sandbox.bootstrap import bootstrap

from .stack import Stack, running


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A fresh project's database, as supabase_auth_admin."""
    with postgres.ephemeral() as server:
        bootstrap(server)
        yield server.url(user="supabase_auth_admin")


@pytest.fixture(scope="session")
def stack(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("state"), database_url) as started:
        yield started
