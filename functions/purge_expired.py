"""Erases what was kept as long as its workflow says, what a person asked to have erased, and what was told long ago."""

import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from api.auth import system
from api.db import database
from api.monitoring import service as monitoring
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 200
KIND = "retention.failing"
#: No batch is begun after this many seconds, so that what was begun ends within a function's life.
BUDGET_SECONDS = 40
#: What is due, and what erases it: what was read, by class of data; whole runs with the keys to what they hold; what
#: channels were told; and with which addresses they were tried.
STEPS = (
    ("claim_expired_observations_v1", "erase_observations_v1"),
    ("claim_expired_runs_v1", "erase_runs_v1"),
    ("claim_old_notifications_v1", "forget_notifications_v1"),
    ("claim_old_channel_checks_v1", "forget_channel_checks_v1"),
)


async def run(now: datetime) -> dict[str, int]:
    """Erases observations, classes of data in them, keys, runs and notifications that are due by the database's clock.

    Answers how many. May run twice at once, or any number of times. What a batch leaves is the next one's, or the next
    run's. One tenant's trouble never reaches the others, and is an alert there until a run has none; raises
    AllFailedError when every tenant had some.
    """
    counts, begin_until = {"erased": 0, "failed": 0}, time.monotonic() + BUDGET_SECONDS
    well, ill = set[str](), set[str]()
    for due, erase in STEPS:
        await _step(due, erase, counts, begin_until, well, ill)
    for tenant_id in sorted(ill):
        await attempted(f"telling tenant {tenant_id}", _tell(tenant_id))
    for tenant_id in sorted(well - ill):
        over = monitoring.clear_alert(
            system(tenant_id, "purge_expired"), KIND, ("retention", tenant_id), "It was erased."
        )
        await attempted(f"telling tenant {tenant_id}", over)
    if counts["failed"] and not well:
        raise AllFailedError(counts)
    return counts


async def _tell(tenant_id: str) -> None:
    title = (
        "What is past its time could not be erased; the next run tries again. Whoever runs this deployment sees why."
    )
    await monitoring.raise_alert(system(tenant_id, "purge_expired"), KIND, "critical", ("retention", tenant_id), title)


async def _step(
    due: str, erase: str, counts: dict[str, int], begin_until: float, well: set[str], ill: set[str]
) -> None:
    """Erases batch by batch until nothing is due or the time is over; notes which tenants it went well and ill for."""
    while time.monotonic() < begin_until:
        work: list[dict[str, Any]] = await database().claim(due, BATCH)
        of_tenant: dict[str, list[str]] = defaultdict(list)
        for item in work:
            of_tenant[item["tenant_id"]].append(item["id"])
        before = counts["erased"]
        for tenant_id, ids in of_tenant.items():
            if time.monotonic() >= begin_until:
                break
            by = system(tenant_id, "purge_expired")
            answer = await attempted(f"what tenant {tenant_id} keeps", database().call(by, erase, {"ids": ids}))
            if answer is None:
                counts["failed"] += len(ids)
                ill.add(tenant_id)
            else:
                counts["erased"] += answer.result["erased"]
                well.add(tenant_id)
        if len(work) < BATCH or counts["erased"] == before:
            break


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("purge_expired", run(datetime.now(UTC))))
