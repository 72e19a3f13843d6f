"""A provider on a real socket that answers with exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from api.config import settings

TIMEOUT = 20.0
#: The timeout where a test waits for it to pass.
SHORT = 1.0


@dataclass
class Provider:
    """Answers every request with `answer`; without one it says nothing. `requests` is what arrived, raw."""

    answer: bytes = b""
    close: bool = True
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.requests.append(head + (await reader.readexactly(int(length[0])) if length else b""))
        with contextlib.suppress(ConnectionError):
            writer.write(self.answer)
            await writer.drain()
            if not self.close:
                await asyncio.sleep(TIMEOUT)
            writer.close()

    @contextlib.asynccontextmanager
    async def listening(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("SANDBOX_BANK_URL", url)
        try:
            yield url
        finally:
            server.close()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("DATABASE_URL", "SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("COUNTERSIGN_KEK", f"k:{'11' * 32}")
    monkeypatch.setenv("COUNTERSIGN_PROVIDER_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("SANDBOX_BANK_CLIENT_ID", "id")
    monkeypatch.setenv("SANDBOX_BANK_CLIENT_SECRET", "s:e/c ret")
    monkeypatch.setenv("SANDBOX_BANK_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_PROVIDER_TIMEOUT", str(SHORT))
    settings.cache_clear()
