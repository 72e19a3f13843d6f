"""A whole stack for each worker of a run, and organisations on it: one that tests share, and fresh ones."""

from collections.abc import Iterator

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from sandbox.organisation import Organisation
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.integrator import Agent, access_spec, at_work, new_organisation
from tests.http.receivers import Receivers, receiving
from tests.http.world import World, running

# What a client that names no timeout waits, instead of five seconds: a busy machine is not what is tested.
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)


@pytest.fixture(scope="session")
def receivers() -> Iterator[Receivers]:
    """What channels lead to: mail, webhooks and Slack on this machine."""
    with receiving() as received:
        yield received


@pytest.fixture(scope="session")
def world(cluster: Server, tmp_path_factory: pytest.TempPathFactory, receivers: Receivers) -> Iterator[World]:
    """Postgres, Supabase Auth, a bank, a CRM and the API, all running."""
    state, settings = tmp_path_factory.mktemp("state"), receivers.settings
    with cloned(cluster) as database, running(state, database, settings=settings) as started:
        yield started


@pytest.fixture(scope="session")
def shared(world: World) -> Organisation:
    """An organisation with a live workflow, for tests that change nothing but their own runs and actions."""
    return _ready(world)


@pytest.fixture
def fresh(world: World) -> Organisation:
    """An organisation with a live workflow, for one test, which may do with it what it likes."""
    return _ready(world)


@pytest.fixture
def agent(shared: Organisation) -> Iterator[Agent]:
    """The shared organisation's agent, in a run of its own."""
    with at_work(shared) as working:
        yield working


def _ready(world: World) -> Organisation:
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    return organisation
