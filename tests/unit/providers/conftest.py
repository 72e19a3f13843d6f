"""The provider of acme.py, and the settings that a client needs."""

from collections.abc import Iterator

import pytest

from api.config import settings
from api.providers.manifest import Manifest
from api.providers.site import Site
from tests.unit.providers.acme import VALUES, read


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read(tmp_path_factory.mktemp("acme"))


@pytest.fixture(scope="session")
def site(acme: Manifest) -> Site:
    return acme.site("production", VALUES)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("DATABASE_URL", "SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET", "ACME_SANDBOX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("COUNTERSIGN_KEK", f"k:{'11' * 32}")
    for name in ("ACME", "ACME_TEST"):
        monkeypatch.setenv(f"{name}_CLIENT_ID", f"id of {name}")
        monkeypatch.setenv(f"{name}_CLIENT_SECRET", "s:e/c ret")
    settings.cache_clear()
    yield
    settings.cache_clear()
