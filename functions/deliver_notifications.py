"""Delivers what channels are to be told."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from api.config import settings
from api.notifications import service
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 100
#: Of so many alerts that no channel took, owners are mailed in one run.
OWNERS = 20
#: No delivery is begun after this many seconds: a receiver may take its whole time to answer.
BUDGET_SECONDS = 40


async def run(now: datetime) -> dict[str, int]:
    """Delivers what is due, some of it at once; answers how much of it ended how. Tenants take turns.

    Then mails owners, where this deployment mails, of channels that are dead and whose death no channel could tell.

    May run twice at once, or any number of times: what one has leased, nobody else sends. One channel's trouble never
    reaches the others; raises AllFailedError when every delivery broke.
    """
    counts = dict.fromkeys(("delivered", "retry", "dead", "gone", "taken", "failed", "owners"), 0)
    begin_until = time.monotonic() + BUDGET_SECONDS
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> None:
        async with slots:
            if time.monotonic() < begin_until:
                ended = await attempted(f"notification {item['id']}", service.deliver(item))
                counts["failed" if ended is None else ended] += 1

    await asyncio.gather(*(one(item) for item in await service.due(BATCH)))
    for item in await service.unheard(OWNERS) if service.mails() else []:
        if time.monotonic() < begin_until:
            did = await attempted(f"mailing owners of alert {item['id']}", service.tell_owners(item))
            counts["failed"] += did is None
            counts["owners"] += did == "delivered"
    if counts["failed"] and counts["failed"] == sum(counts.values()):
        raise AllFailedError(counts)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("deliver_notifications", run(datetime.now(UTC))))
