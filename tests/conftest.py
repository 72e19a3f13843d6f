"""Fixtures that all tests share: one Postgres per run, and cheap databases on it (tests/cluster.py)."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sandbox.postgres import Server
from tests import cluster as clusters
from tests.browser import accessibility, chromium
from tests.cluster import Database, Run

_RUN = pytest.StashKey[Run]()
# How fast examples are made says something about the machine, and nothing about what is tested. The examples are the
# same in every run, so that what passed before a merge passes after it; `--hypothesis-profile=explore` makes new ones.
_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any machine", _ANY_MACHINE, derandomize=True)
settings.register_profile("explore", _ANY_MACHINE)
settings.load_profile("any machine")

# Every HTTP client asks for a context of its own, and reading the certificates for one takes longer than most tests.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of pytest-xdist where the run's cluster keeps its state."""
    node.workerinput["cluster_state"] = str(node.config.stash[_RUN].state())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` one worker does all tests in a browser, as if they were one file: they share it."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist comes without types
        def _split_scope(self, nodeid: str) -> str:
            return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    return ByFile(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(_RUN, None)
    if run is not None:
        run.end()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Server:
    """The run's Postgres, with a migrated template database; fast, not durable."""
    worker: dict[str, str] | None = getattr(request.config, "workerinput", None)
    state = Path(worker["cluster_state"]) if worker else request.config.stash[_RUN].state()
    return clusters.start(state)


@pytest.fixture(scope="module")
def database(cluster: Server) -> Iterator[Database]:
    """A migrated database for one test module: `database.url(role)`, `database.connect(role)`."""
    with clusters.cloned(cluster) as made:
        yield made


@pytest.fixture
def fresh_database(cluster: Server) -> Iterator[Database]:
    """A migrated database for one test."""
    with clusters.cloned(cluster) as made:
        yield made


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how much the isolation matrices tried and what leaked (tests/db/matrix.py), and how the pages were found."""
    accessibility.write_report(terminalreporter)
    chromium.tell_missing(terminalreporter)
    told = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == "isolation" and report.when == "call"
    ]
    if told:
        cells, leaks = (sum(each[what] for each in told) for what in ("cells", "leaks"))
        terminalreporter.write_line(f"isolation matrix: {cells:,} cells, {leaks} leaks")
