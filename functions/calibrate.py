"""Asks for more confidence where agents prove too sure of themselves."""

import time
from datetime import UTC, datetime
from typing import Any

from api.confidence import service
from api.db import database
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 200
#: No tool is begun after this many seconds, so that what was begun ends within a function's life.
BUDGET_SECONDS = 40


async def run(now: datetime) -> dict[str, int]:
    """Looks at every workflow's tool of which enough was judged, by the database's clock; answers how many.

    May run twice at once, or any number of times: a threshold tightens once a day. One tool's trouble never reaches the
    others; raises AllFailedError when every one had some.
    """
    counts = {"examined": 0, "tightened": 0, "failed": 0}
    begin_until = time.monotonic() + BUDGET_SECONDS
    after = ""
    while True:
        work: list[dict[str, Any]] = await database().claim("claim_calibrations_v1", after, BATCH)
        for item in work:
            if time.monotonic() >= begin_until:
                break
            what = f"the confidence of {item['tool']} in tenant {item['tenant_id']}"
            did = await attempted(what, service.tighten(item["tenant_id"], item["workflow_id"], item["tool"]))
            counts["failed" if did is None else "examined"] += 1
            counts["tightened"] += did is True
        if len(work) < BATCH or time.monotonic() >= begin_until:
            break
        after = work[-1]["key"]
    if counts["failed"] and not counts["examined"]:
        raise AllFailedError(counts)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("calibrate", run(datetime.now(UTC))))
