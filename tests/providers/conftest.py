"""Settings of an application that could call nobody, until a provider's stub is put in the place of one."""

from collections.abc import Iterator

import pytest

from api.config import settings
from tests.providers.serving import NOWHERE

# Its assertions are what the tests here are made of: they have to say what they compared.
pytest.register_assert_rewrite("tests.providers.exercise", "tests.providers.moves")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("DATABASE_URL", "SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("COUNTERSIGN_KEK", f"k:{'11' * 32}")
    monkeypatch.setenv("COUNTERSIGN_PROVIDER_TIMEOUT", "20")
    settings.cache_clear()
    yield
    settings.cache_clear()
