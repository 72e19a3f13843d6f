"""Starts runs that are due on a schedule, and takes on the runs that are driven here."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from api.config import settings
from api.runs.loop import service
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 100
#: No step is begun after this many seconds: one may wait for a model for minutes, and a function lives for 300.
BUDGET_SECONDS = 50


async def run(now: datetime) -> dict[str, int]:
    """Starts what is due by the database's clock, then takes runs on until nothing is due; answers how many of what.

    May run twice at once, or any number of times: a slot starts one run, and a run is in one instance's hands. One
    run's trouble never reaches the others; raises AllFailedError when every one had some.
    """
    counts = dict.fromkeys(("started", "advanced", "failed"), 0)
    begin_until = time.monotonic() + BUDGET_SECONDS
    for item in await service.due_schedules(BATCH):
        did = await attempted(f"the schedule of workflow {item['workflow_id']}", service.start_scheduled(item))
        counts["started"] += did is True
        counts["failed"] += did is None
    slots = asyncio.Semaphore(settings().pool_size)

    async def one(item: dict[str, Any]) -> bool:
        async with slots:
            if time.monotonic() >= begin_until:
                return False
            visit = service.drive(item["tenant_id"], item["run_id"], begin_until)
            went = await attempted(f"run {item['run_id']}", visit)
        counts["failed"] += went is None
        counts["advanced"] += went not in (None, "not_claimed")
        return went in ("completed", "failed", "waiting")

    while True:
        work = await service.due_runs(BATCH)
        ended = await asyncio.gather(*(one(item) for item in work))
        # What has ended makes room for what is queued; else nothing is better done now than in a minute.
        if not any(ended) or time.monotonic() >= begin_until:
            break
    if counts["failed"] and not counts["advanced"] + counts["started"]:
        raise AllFailedError(counts)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("advance_runs", run(datetime.now(UTC))))
