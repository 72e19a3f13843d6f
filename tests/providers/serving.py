"""Serves a stub on loopback: every host of the provider is a prefix of the path."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sandbox.state import HOST
from tests.providers.stub import Stub

START_SECONDS = 120
#: Where requests to a provider's real addresses would have to go: nothing listens there.
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Served:
    """A stub that listens at `base`; `settings` make an application call it in the provider's place."""

    stub: Stub
    base: str

    @property
    def settings(self) -> dict[str, str]:
        origins = {f"https://{host}": f"{self.base}/{host}" for host in self.stub.shape.hosts}
        return {
            "COUNTERSIGN_PROVIDER_ORIGINS": json.dumps(origins),
            # What is not rewritten must not leave this machine.
            "HTTPS_PROXY": NOWHERE,
        }


class _Server(uvicorn.Server):
    """Looks often whether it is to stop, as hundreds of tests wait for that."""

    async def main_loop(self) -> None:
        while not self.should_exit:  # noqa: ASYNC110 - uvicorn's way to be told is this flag
            await asyncio.sleep(0.01)


@contextmanager
def serving(stub: Stub) -> Iterator[Served]:
    """Serves from a thread of this process."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        content = await request.body()
        # The path as it was sent: what is escaped in it tells one piece from two.
        host, _, path = scope["raw_path"].decode("ascii").removeprefix("/").partition("/")
        await stub.answer(request, f"https://{unquote(host)}/{path}", content)(scope, receive, send)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    server = _Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            assert thread.is_alive(), "the stub did not start"
            assert time.monotonic() < deadline, "the stub did not start"
            time.sleep(0.01)
        yield Served(stub, f"http://{HOST}:{listener.getsockname()[1]}")
    finally:
        server.should_exit = server.force_exit = True  # nobody waits for what is still connected
        thread.join(timeout=30)
        listener.close()
