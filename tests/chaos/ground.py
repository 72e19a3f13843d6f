"""Where a campaign is carried out: a stack of its own on a durable Postgres of its own, gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import postgres
from sandbox.stack import prepare
from tests.concurrency.world import World, running

#: Short, so that what a killed executor held is soon somebody else's, and a provider that hangs is given up.
SETTINGS = {"COUNTERSIGN_LEASE_SECONDS": "4", "COUNTERSIGN_PROVIDER_TIMEOUT": "2"}


@contextmanager
def standing(state: Path | None = None, access_seconds: int = 300) -> Iterator[World]:
    """A running stack with an organisation that is ready to pay; access_seconds: how long its access tokens live."""
    with tempfile.TemporaryDirectory(prefix="countersign-chaos-") as made:
        where = (state or Path(made)).resolve()
        server = postgres.start(where)
        try:
            with running(where, prepare(server), server.url(), SETTINGS, access_seconds) as world:
                yield world
        finally:
            postgres.destroy(where)
