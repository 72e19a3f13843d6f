"""A wire between the application and Postgres that counts round trips and keeps the statements that made them.

It reads the frontend's messages (PostgreSQL documentation, "Message Formats"): a round trip is a simple query
(`Q`) or a Sync (`S`), after either of which the frontend waits for the backend. Nothing is delayed or altered.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class Wire:
    """`round_trips` holds the text of the statement of each round trip, in order; `sessions` counts what was opened."""

    url: str = ""
    sessions: int = 0
    round_trips: list[str] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Collects the round trips made inside; the list is complete at exit."""
        begin = len(self.round_trips)
        seen: list[str] = []
        yield seen
        seen += self.round_trips[begin:]


@contextmanager
def tapped(url: str) -> Iterator[Wire]:
    """A wire to the Postgres of a libpq URL; `wire.url` leads through it. TLS would hide the messages from it."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    assert "sslmode=disable" in parts.query
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        user, _, _ = parts.netloc.rpartition("@")
        wire = Wire(urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}")))
        target = (parts.hostname, parts.port)
        threading.Thread(target=_accept, args=(listener, target, wire), daemon=True).start()
        yield wire


def _accept(listener: socket.socket, target: tuple[str, int], wire: Wire) -> None:
    with contextlib.suppress(OSError):  # the listener is closed at the end
        while True:
            client, _ = listener.accept()
            wire.sessions += 1
            server = socket.create_connection(target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(client, server, _Frontend(wire)), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client, None), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, reader: "_Frontend | None") -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if reader is not None:
                reader.feed(data)
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class _Frontend:
    """Reads one session's messages, however they are cut into packets."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._buffer = b""
        self._started = False
        self._statement = ""

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while message := self._next():
            kind, body = message
            if kind == b"P":  # name of the statement, its text, types of its parameters
                self._statement = body.split(b"\0")[1].decode()
            elif kind == b"Q":
                self._wire.round_trips.append(body.rstrip(b"\0").decode())
            elif kind == b"S":
                self._wire.round_trips.append(self._statement)

    def _next(self) -> tuple[bytes, bytes] | None:
        head = 1 if self._started else 0  # the first message has no type
        if len(self._buffer) < head + 4:
            return None
        (length,) = struct.unpack("!I", self._buffer[head : head + 4])
        if len(self._buffer) < head + length:
            return None
        kind, body = self._buffer[:head], self._buffer[head + 4 : head + length]
        self._buffer = self._buffer[head + length :]
        self._started = True
        return kind or b"startup", body
