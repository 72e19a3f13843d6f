"""TCP ports of 127.0.0.1 that nobody else gets by chance, neither before their server starts nor while it restarts.

A port that was free a moment ago is not one's own: an outgoing connection of any program takes the next free port of
the kernel's range, and so does every server that asks for port 0. So ports are chosen below that range, and held.
"""

import random
import socket
import sys
from types import TracebackType
from typing import Self

from sandbox.state import HOST

#: Below what Linux (from 32768) and macOS (from 49152) hand out by themselves.
RANGE = range(20_000, 32_768)
ATTEMPTS = 1000


class Reservation:
    """A port that is held until `release`, or until the end of a `with` block.

    The holder is bound and never listens: a server that binds with SO_REUSEADDR, as all of ours, Postgres and Node
    do, can listen beside it as often as it starts; who connects in between is refused, as at any closed port. Only
    Linux lets both have the port; elsewhere it is chosen and not held.
    """

    def __init__(self, port: int | None = None) -> None:
        """Takes `port`, or any; OSError when somebody has it."""
        self._holder = _any() if port is None else _bound(port, shared=True)
        self.port: int = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self._holder.close()

    def release(self) -> None:
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def is_free(port: int) -> bool:
    """Whether nothing listens on this port right now; a reservation is no listener."""
    try:
        Reservation(port).release()
    except OSError:
        return False
    return True


def _any() -> socket.socket:
    # Not the generator that tests seed: two runs of one seed would choose the same ports.
    choose = random.SystemRandom().choice
    for _ in range(ATTEMPTS):
        try:
            # Alone at first, so that no other holder has it.
            holder = _bound(choose(RANGE), shared=False)
        except OSError:
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return holder
    raise OSError(f"no free TCP port found in {ATTEMPTS} attempts between {RANGE.start} and {RANGE.stop}")


def _bound(port: int, *, shared: bool) -> socket.socket:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Shared, neither other holders nor lingering connections of a former server are in the way.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        holder.bind((HOST, port))
    except OSError:
        holder.close()
        raise
    return holder
