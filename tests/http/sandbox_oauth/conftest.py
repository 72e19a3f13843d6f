from collections.abc import Iterator

import pytest

from sandbox.bank.app import create_app
from tests.http.sandbox_oauth.flows import Sandbox, running


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running("bank", create_app, tmp_path_factory.mktemp("state")) as sandbox:
        yield sandbox
