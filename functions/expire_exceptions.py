"""Expires what nobody decided in time, and tells of what was to be done after an incident and is overdue."""

import time
from datetime import UTC, datetime
from typing import Any

from api.auth import system
from api.db import database
from api.incidents import service as incidents
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 200
#: No exception is begun after this many seconds, so that what was begun ends within a function's life.
BUDGET_SECONDS = 40


async def run(now: datetime) -> dict[str, int]:
    """Expires open exceptions whose time is over, with their actions; answers how many.

    Then tells, once each, of follow-ups of incidents that are overdue; answers of how many.

    One item's trouble never reaches the others; raises AllFailedError when every one had some.
    """
    counts, done = {"expired": 0, "told": 0, "failed": 0}, 0
    begin_until = time.monotonic() + BUDGET_SECONDS
    for item in await database().claim("claim_expired_exceptions_v1", BATCH):
        if time.monotonic() >= begin_until:
            break
        by = system(item["tenant_id"], "expire_exceptions")
        answer = await attempted(
            f"exception {item['id']}", database().call(by, "expire_exception_v1", {"id": item["id"]})
        )
        if answer is None:
            counts["failed"] += 1
        else:
            counts["expired"] += answer.result.get("recorded") is not False
            done += 1
    for item in await incidents.overdue(BATCH):
        if time.monotonic() >= begin_until:
            break
        told = await attempted(f"follow-up {item['id']}", incidents.tell_overdue(item))
        counts["failed"] += told is None
        counts["told"] += bool(told)
        done += told is not None
    if counts["failed"] and not done:
        raise AllFailedError(counts)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("expire_exceptions", run(datetime.now(UTC))))
