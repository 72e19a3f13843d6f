"""A browser, and the stack that it looks at: one of each for all modules here, which one worker of a run does.

Their scope is the package, not the session: Playwright's loop is a running one of this thread, and other tests start
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from sandbox.organisation import Organisation
from sandbox.postgres import Server
from tests.browser import chromium
from tests.browser.accessibility import PROPERTY
from tests.browser.browsing import Browsing, Signed, whole_pages
from tests.cluster import cloned
from tests.http.integrator import Agent, access_spec, at_work, new_organisation
from tests.http.receivers import Receivers, receiving
from tests.http.world import World, running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with chromium.running() as started, whole_pages():
        yield started


@pytest.fixture(scope="package")
def receivers() -> Iterator[Receivers]:
    """What channels lead to: mail, webhooks and Slack on this machine."""
    with receiving() as received:
        yield received


@pytest.fixture(scope="package")
def world(
    browser: Browser, cluster: Server, tmp_path_factory: pytest.TempPathFactory, receivers: Receivers
) -> Iterator[World]:
    """Postgres, Supabase Auth, a bank, a CRM and the API with its pages. Not started where there is no browser."""
    state, settings = tmp_path_factory.mktemp("state"), receivers.settings
    with cloned(cluster) as database, running(state, database, settings=settings) as started:
        yield started


@pytest.fixture(scope="package")
def signed() -> Signed:
    """Who is signed in already; every test's browsers begin there."""
    return Signed()


@pytest.fixture(scope="package")
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


@pytest.fixture
def browse(browser: Browser, world: World, signed: Signed) -> Iterator[Browsing]:
    """Opens pages as people do: `page = browse(shared.owner, "/exceptions", width=360, dark=True, script=False)`.

    The test fails when a browser complained: browsing.py says of what.
    """
    browsing = Browsing(browser, world, signed)
    yield browsing
    browsing.close()
    complaints = browsing.unforgiven()
    if complaints:
        pytest.fail("the browser complained:\n" + "\n".join(complaints), pytrace=False)


@pytest.fixture
def axe(browse: Browsing) -> Callable[[Page], None]:
    """`axe(page)` fails when something serious or critical keeps people from using the page."""
    return browse.axe


@pytest.fixture
def shot(browse: Browsing) -> Callable[[Page, str], None]:
    """`shot(page, "inbox")` takes build/screenshots/inbox.png."""
    return browse.shot


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hands what a test found out about its pages to the report of the run."""
    try:
        yield
    finally:
        browsing = getattr(item, "funcargs", {}).get("browse")
        if browsing is not None:
            item.user_properties.extend((PROPERTY, check) for check in browsing.checks)


def _ready(world: World) -> Organisation:
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    return organisation
