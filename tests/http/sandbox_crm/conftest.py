from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.crm.app import SCOPES, create_app
from tests.http.sandbox_oauth.flows import Sandbox, running


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[Sandbox]:
    with running("crm", create_app, tmp_path) as sandbox:
        yield sandbox


@pytest.fixture
def api(crm: Sandbox) -> Iterator[httpx.Client]:
    """A client with every scope."""
    with crm.api(" ".join(SCOPES)) as client:
        yield client


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with every scope of a CRM in which nothing changes."""
    state = tmp_path_factory.mktemp("state")
    with running("crm", create_app, state) as sandbox, sandbox.api(" ".join(SCOPES)) as client:
        yield client
