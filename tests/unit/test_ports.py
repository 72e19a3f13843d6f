"""What sandbox/ports.py promises: a port that is reserved is nobody else's, and yet its server can start on it."""

import json
import socket
from pathlib import Path

import pytest

from sandbox.ports import Reservation, is_free
from sandbox.stack import _ports
from sandbox.state import HOST


def _listener(port: int) -> socket.socket:
    """A server as uvicorn, asyncio, Postgres and Node open theirs."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((HOST, port))
    server.listen()
    return server


def test_a_server_starts_ends_and_starts_again_on_the_port_that_is_held_for_it() -> None:
    with Reservation() as held:
        for _ in range(3):
            with _listener(held.port), socket.create_connection((HOST, held.port), timeout=5) as client:
                assert client.getpeername() == (HOST, held.port)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, held.port), timeout=5)


def test_no_two_reservations_are_of_one_port() -> None:
    held = [Reservation() for _ in range(300)]
    try:
        assert len({each.port for each in held}) == 300
    finally:
        for each in held:
            each.release()


def test_what_is_held_is_not_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Reservation() as held:
        monkeypatch.setattr("sandbox.ports.RANGE", range(held.port, held.port + 1))
        with pytest.raises(OSError, match="no free TCP port found in 1000 attempts"):
            Reservation()
    with Reservation() as again:
        assert again.port == held.port


def test_neither_an_outgoing_connection_nor_a_server_without_a_wish_gets_a_reserved_port() -> None:
    with Reservation() as held, socket.socket() as outgoing, socket.socket() as other:
        with pytest.raises(OSError, match="Address already in use"):
            outgoing.bind((HOST, held.port))
        other.bind((HOST, 0))
        assert other.getsockname()[1] != held.port


def test_a_port_is_taken_while_somebody_listens_and_only_then() -> None:
    with Reservation() as held:
        with _listener(held.port):
            assert not is_free(held.port)
            with pytest.raises(OSError, match="Address already in use"):
                Reservation(held.port)
        assert is_free(held.port)


def test_a_stack_keeps_its_ports_and_chooses_anew_when_one_is_taken(tmp_path: Path) -> None:
    def ports() -> dict[str, int]:
        held = _ports(tmp_path, ("auth", "api"))
        for each in held.values():
            each.release()
        assert json.loads((tmp_path / "ports.json").read_text()) == {name: port.port for name, port in held.items()}
        return {name: port.port for name, port in held.items()}

    first = ports()
    assert ports() == first
    with _listener(first["api"]):
        assert not set(ports().values()) & {first["api"]}
