"""Something that answers where Supabase Auth should be, as a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from api.config import settings


class Elsewhere:
    """An HTTP server of few words: `says` is what it answers to each path that begins so; the longest fits best."""

    def __init__(self) -> None:
        self.says: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.hangs = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ", 2)[1]
        self.asked.append(path)
        if self.hangs:
            await asyncio.sleep(30)
        fitting = max((known for known in self.says if path.startswith(known)), key=len)
        writer.write(self.says[fitting])
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("SUPABASE_URL", url)
        settings.cache_clear()
        try:
            yield
        finally:
            server.close()


def answer(status: int, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("DATABASE_URL", "SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("COUNTERSIGN_KEK", f"k:{'11' * 32}")
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "sb_secret_of_a_test")
    settings.cache_clear()
    yield
    settings.cache_clear()
