"""Waiting for what must happen, and asking again as a careful client does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from sandbox.organisation import ok

PATIENCE = 60.0
T = TypeVar("T")


def eventually(what: Callable[[], T | None], why: str | Callable[[], str], seconds: float = PATIENCE) -> T:
    """The first truthy answer of `what`; fails with `why`, as it is by then, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not in {seconds:g} s: {why if isinstance(why, str) else why()}")
        time.sleep(0.03)
    return answer


def persistently(send: Callable[[], httpx.Response]) -> Any:
    """What a careful client does: the same request with the same key until something other than 503 answers."""

    def attempt() -> httpx.Response | None:
        with contextlib.suppress(httpx.TransportError):
            answer = send()
            return None if answer.status_code == 503 else answer
        return None

    return ok(eventually(attempt, "the API answers"))
