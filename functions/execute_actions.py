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
from functions.runtime import noted, run_until_complete

log = logging.getLogger("countersign.execute_actions")
BATCH = 50
#: No work is begun after this many seconds, so that what was begun ends within a function's life (300 s on Vercel).
BUDGET_SECONDS = 200
#: What could not even be claimed comes back after this long.
DEFER_SECONDS = 60


async def run(now: datetime) -> dict[str, int]:
    """Settles attempts whose lease ran out, then attempts what is due; answers how many of each.

    May run twice at once, or any number of times: the database hands each action to one attempt only. Tenants take
    turns and several actions run at once, so that no tenant waits for another's slow provider or broken data.
    """
    work: list[dict[str, Any]] = await database().claim("claim_due_actions_v1", BATCH)
    counts = {"due": 0, "expired_leases": 0, "failed": 0}
    begin_until = time.monotonic() + BUDGET_SECONDS
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                counts[await _work_on(item)] += 1

    for expired in (True, False):
        await asyncio.gather(*(one(item) for item in work if (item["attempt_id"] is not None) is expired))
    if time.monotonic() < begin_until:
        await service.pursue_due(BATCH)  # what ended just now may be what the next undo of a run waited for
    return counts


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
