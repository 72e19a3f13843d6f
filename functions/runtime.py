"""Runs a coroutine in the one event loop of a function instance, so that connections outlive an invocation."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def run_until_complete(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result."""
    return _loop().run_until_complete(work)
