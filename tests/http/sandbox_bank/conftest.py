from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.bank.app import create_app
from tests.http.sandbox_bank.orders import EVERYTHING
from tests.http.sandbox_oauth.flows import Sandbox, running


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Sandbox]:
    """A fresh bank for every test: money moves in it."""
    with running("bank", create_app, tmp_path) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with every scope of a bank in which no money moves."""
    with (
        running("bank", create_app, tmp_path_factory.mktemp("state")) as sandbox,
        sandbox.api(EVERYTHING) as api,
    ):
        yield api
