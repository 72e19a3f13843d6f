"""How scheduled functions run: in the one event loop of their instance, and leaving word that they did."""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import psycopg

from api.db import database

log = logging.getLogger("countersign.functions")
T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def run_until_complete(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. Connections of the loop outlive an invocation."""
    return _loop().run_until_complete(work)


async def noted(function: str, work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; notes in the database that the function ran, and whether it came to its end.

    A workflow goes live only while the functions that it relies on have run lately (readiness).
    """
    started, ok = datetime.now(UTC), False
    try:
        result = await work
        ok = True
        return result
    finally:
        try:
            await database().claim("note_function_run_v1", function, started, ok)
        except psycopg.Error as error:
            log.warning("%s ran, and this could not be noted: %s", function, error.sqlstate)
