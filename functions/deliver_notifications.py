"""Delivers what channels are to be told."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from api.config import settings
from api.notifications import service
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 100
#: No delivery is begun after this many seconds: a receiver may take its whole time to answer.
BUDGET_SECONDS = 40


async def run(now: datetime) -> dict[str, int]:
    """Delivers what is due, some of it at once; answers how much of it ended how. Tenants take turns.

    May run twice at once, or any number of times: what one has leased, nobody else sends. One channel's trouble never
    reaches the others; raises AllFailedError when every delivery broke.
    """
    counts = dict.fromkeys(("delivered", "retry", "dead", "gone", "taken", "failed"), 0)
    begin_until = time.monotonic() + BUDGET_SECONDS
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                ended = await attempted(f"notification {item['id']}", service.deliver(item))
                counts["failed" if ended is None else ended] += 1

    await asyncio.gather(*(one(item) for item in await service.due(BATCH)))
    if counts["failed"] and counts["failed"] == sum(counts.values()):
        raise AllFailedError(counts)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("deliver_notifications", run(datetime.now(UTC))))
