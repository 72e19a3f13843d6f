"""Runs a sandbox server under uvicorn: as a program, or in a thread of a test."""

import argparse
import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

HOST = "127.0.0.1"

_transports: dict[tuple[str, int, int], asyncio.Transport] = {}


class CreateApp(Protocol):
    """`create_app` of `sandbox.bank.app` and `sandbox.crm.app`."""

    def __call__(
        self, state: Path, public_url: str, redirect_uris: list[str], *, access_seconds: int = 300
    ) -> FastAPI: ...


class TrackedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which also notes each connection's transport so that a fault can drop it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        _transports[_ends(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None and self.server is not None:
            _transports.pop(_ends(self.client, self.server), None)
        super().connection_lost(exc)


def drop_connection(scope: Scope) -> None:
    """Reset a request's TCP connection. Raises `RuntimeError` if this module does not serve it."""
    transport = _transports.get(_ends(scope["client"], scope["server"])) if scope.get("client") else None
    if transport is None:
        raise RuntimeError("a connection can be dropped only under sandbox.oauth.serving")
    transport.abort()


def _ends(client: Sequence[object], server: Sequence[object]) -> tuple[str, int, int]:
    return str(client[0]), int(str(client[1])), int(str(server[1]))


class _Server(uvicorn.Server):
    """Calls `on_ready` when the port answers."""

    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()


def _listen(port: int) -> tuple[socket.socket, str]:
    # asyncio switches off Nagle's delay (40 ms an answer) only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener, f"http://{HOST}:{listener.getsockname()[1]}"


def _server(app: FastAPI, on_ready: Callable[[], None], *, access_log: bool = False) -> _Server:
    config = uvicorn.Config(
        app,
        http=TrackedProtocol,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    server.on_ready = on_ready
    return server


@contextmanager
def serving(
    create_app: CreateApp,
    state: Path,
    redirect_uris: list[str],
    *,
    access_seconds: int = 300,
    port: int = 0,
) -> Iterator[str]:
    """Serve from a thread of this process; yields the base address once the port answers."""
    listener, url = _listen(port)
    app = create_app(state, url, redirect_uris, access_seconds=access_seconds)
    ready = threading.Event()
    server = _server(app, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not ready.wait(0.1):
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the sandbox server did not start")
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


def main(name: str, create_app: CreateApp, arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m sandbox.<name>`; prints `sandbox <name>: <address>` when listening."""
    parser = argparse.ArgumentParser(prog=f"python -m sandbox.{name}")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--state", type=Path, required=True, help="directory of the database and the secrets")
    parser.add_argument("--redirect-uri", action="append", default=[], help="may be given several times")
    parser.add_argument("--access-seconds", type=int, default=300, help="how long an access token lives")
    parser.add_argument("--public-url", help="the address it is reached at, if not the one it listens on")
    parser.add_argument("--access-log", action="store_true", help="log the address of every request")
    options = parser.parse_args(arguments)
    listener, url = _listen(options.port)
    app = create_app(
        options.state,
        options.public_url or url,
        options.redirect_uri,
        access_seconds=options.access_seconds,
    )
    server = _server(app, lambda: print(f"sandbox {name}: {url}", flush=True), access_log=options.access_log)
    server.run(sockets=[listener])
