"""How scheduled functions run: in the one event loop of their instance, and leaving word that they did."""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import psycopg

from api import redaction
from api.crash_reports import report
from api.db import database

log = logging.getLogger("countersign.functions")
redaction.install()
T = TypeVar("T")


class AllFailedError(Exception):
    """Of what there was to do, nothing could be done. `counts` is what the run answers all the same."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__(counts)
        self.counts = counts


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def run_until_complete(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. Connections of the loop outlive an invocation."""
    return _loop().run_until_complete(work)


async def attempted(what: str, work: Coroutine[Any, Any, T]) -> T | None:
    """The coroutine's result, or None when it failed, which is logged and reported: the others go on without it."""
    try:
        return await work
    except psycopg.OperationalError as error:
        log.warning("%s: %s", what, error.sqlstate)  # the next run finds it again
    except Exception as error:
        log.exception("%s broke", what)
        report(error, None)
    return None


async def noted(function: str, work: Coroutine[Any, Any, dict[str, int]]) -> dict[str, int]:
    """What the coroutine counted; notes in the database that the function ran, and whether it ran well.

    It did not when it broke, nor when all that it was to do failed (AllFailedError, whose counts are the answer). A
    workflow goes live only while the functions that it relies on have run well lately (readiness).
    """
    started, ok = datetime.now(UTC), False
    try:
        counts = await work
        ok = True
        return counts
    except AllFailedError as error:
        return error.counts
    finally:
        try:
            await database().claim("note_function_run_v1", function, started, ok)
        except psycopg.Error as error:
            log.warning("%s ran, and this could not be noted: %s", function, error.sqlstate)
