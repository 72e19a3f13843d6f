"""Looks after connections: keeps idle grants alive, counts down to the end of consents, finishes disconnects.

And ends connections whose sign-in nobody finished.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import psycopg

from api.config import settings
from api.connections import service
from api.crash_reports import report
from functions.runtime import noted, run_until_complete

log = logging.getLogger("countersign.refresh_tokens")
BATCH = 100
#: No work is begun after this many seconds: a piece of it may wait for a provider, and then for the database.
BUDGET_SECONDS = 35
#: What a piece of work is counted as.
COUNTED = {"renew": "renewed", "countdown": "counted_down", "revoke": "revoked", "abandoned": "abandoned"}


async def run(now: datetime) -> dict[str, int]:
    """Does what is due, some of it at once; answers how much of what. Tenants take turns.

    May run twice at once, or any number of times: what one has claimed, nobody else does.
    """
    counts = dict.fromkeys((*COUNTED.values(), "put_off", "failed"), 0)
    begin_until = time.monotonic() + BUDGET_SECONDS
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                counts[await _work_on(item)] += 1

    await asyncio.gather(*(one(item) for item in await service.due(BATCH)))
    return counts


async def _work_on(item: dict[str, Any]) -> str:
    """What was done. One connection's trouble never reaches the others."""
    try:
        return COUNTED[item["work"]] if await service.upkeep(item) else "put_off"
    except psycopg.Error as error:
        log.warning("connection %s: %s %s", item["connection_id"], error.sqlstate, error.diag.message_detail)
    except Exception as error:
        log.exception("connection %s broke", item["connection_id"])
        report(error, None)
    return "failed"


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("refresh_tokens", run(datetime.now(UTC))))
