"""The stack on one machine: nobody gets a part's port while the part is down (sandbox/ports.py)."""

import errno
import socket

import pytest

from sandbox.state import HOST
from tests.http.world import World


def test_nobody_gets_the_port_of_a_part_that_is_down(world: World) -> None:
    stack = world.stack
    address = (HOST, int(stack.url["crm"].rsplit(":", 1)[1]))
    stack.kill("crm")
    try:
        with socket.socket() as client:
            assert client.connect_ex(address) == errno.ECONNREFUSED
        # What an outgoing connection and a server of another stack do: they take what nobody holds.
        with socket.socket() as squatter, pytest.raises(OSError, match="Address already in use"):
            squatter.bind(address)
    finally:
        stack.restart("crm")
    with world.provider("crm") as client:
        assert client.get("/_log").status_code == 200
