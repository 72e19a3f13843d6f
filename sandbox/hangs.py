"""Requests that a sandbox provider lets wait, and how they are let go."""

import asyncio
import contextlib
from typing import Any


class Hangs:
    """Waits of a server's requests, which all end when the server's faults are forgotten.

    So whoever ordered a hang says when it is over, and need not be faster than a clock.
    """

    def __init__(self) -> None:
        self._over = asyncio.Event()

    def mark(self) -> asyncio.Event:
        """To be taken before a fault is: what ends after it ends the wait for that fault."""
        return self._over

    def end(self) -> None:
        """Lets every request go on that waits; to be called on the server's loop."""
        self._over.set()
        self._over = asyncio.Event()


async def wait(seconds: float, over: asyncio.Event) -> None:
    """Returns after so many seconds, or when waits have ended since the mark was taken."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


def of(app: Any) -> Hangs:
    """The waits of a server's requests."""
    kept = app.state.hangs
    assert isinstance(kept, Hangs)  # noqa: S101 - put there by `sandbox.oauth.server.build`
    return kept
