"""Picks up what is authorized and due, and what a dead function left behind."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.crash_reports import report
from api.db import database
from api.execution import service
from functions.runtime import attempted, noted, run_until_complete

log = logging.getLogger("countersign.execute_actions")
BATCH = 50
#: How long a function lives (vercel.json: maxDuration).
LIFE_SECONDS = 300
#: Of that life, seconds in which nothing is begun beside those of a lease, so that what was begun is recorded as well.
RESERVE_SECONDS = 20
#: What could not even be claimed comes back after this long.
DEFER_SECONDS = 60


async def run(now: datetime) -> dict[str, int]:
    """Settles attempts whose lease ran out, then attempts what is due; answers how many of each.

    May run twice at once, or any number of times: the database hands each piece of work to one of them. Tenants take
    turns and several actions run at once, so that no tenant waits for another's slow provider or broken data.
    What is unknown is looked up when there is time left.
    """
    work: list[dict[str, Any]] = await database().claim("claim_due_actions_v1", BATCH)
    counts = {"due": 0, "expired_leases": 0, "failed": 0}
    begin_until = time.monotonic() + budget()
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                counts[await _work_on(item)] += 1

    for expired in (True, False):
        await asyncio.gather(*(one(item) for item in work if (item["attempt_id"] is not None) is expired))
    if time.monotonic() < begin_until:
        await service.pursue_due(BATCH)  # what ended just now may be what the next undo of a run waited for
        await _look_up(slots, begin_until)
    return counts


def budget() -> float:
    """Seconds after which nothing is begun: an attempt may take its whole lease, and has to end in this life."""
    return max(0.0, LIFE_SECONDS - RESERVE_SECONDS - settings().lease_seconds)


async def _look_up(slots: asyncio.Semaphore, begin_until: float) -> None:
    """Asks providers what became of actions whose outcome is unknown."""
    unknown: list[dict[str, Any]] = await database().claim("claim_unknown_actions_v1", BATCH)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                look = service.look_up(item["tenant_id"], item["action_id"])
                await attempted(f"the look at action {item['action_id']}", look)

    await asyncio.gather(*(one(item) for item in unknown))


async def _work_on(item: dict[str, Any]) -> str:
    """What was done: `due`, `expired_leases` or `failed`. One action's trouble never reaches the others."""
    try:
        if item["attempt_id"] is not None:
            await service.expire(item["tenant_id"], item["attempt_id"])
            return "expired_leases"
        await service.execute(item["tenant_id"], item["action_id"])
        return "due"
    except psycopg.OperationalError as error:
        log.warning("action %s: %s", item["action_id"], error.sqlstate)  # the next run finds it again
    except Exception as error:
        log.exception("action %s broke", item["action_id"])
        report(error, None)
        await _defer(item)
    return "failed"


async def _defer(item: dict[str, Any]) -> None:
    """Lets others go first: what breaks every time would otherwise stand at the head of the queue for ever."""
    executor = system(item["tenant_id"], "execute_actions")
    args = {"action_id": item["action_id"], "seconds": DEFER_SECONDS}
    try:
        await database().call(executor, "defer_action_v1", args)
    except psycopg.Error as error:
        log.warning("action %s could not be deferred: %s", item["action_id"], error.sqlstate)


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("execute_actions", run(datetime.now(UTC))))
