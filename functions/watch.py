"""Looks for what nobody would notice: a broken audit log, a kill switch left engaged, a key in use that ends."""

import time
from datetime import UTC, datetime
from typing import Any

from api.audit import service as audit
from api.auth import system
from api.db import database
from functions.runtime import AllFailedError, attempted, noted, run_until_complete

BATCH = 200
#: Nothing is begun after this many seconds, so that what was begun ends within a function's life.
BUDGET_SECONDS = 40
#: What is forgotten where nobody is reminded of it: what is due, and what tells of one.
REMINDERS = (
    ("kill switch", "claim_left_kill_switches_v1", "tell_left_kill_switch_v1"),
    ("key", "claim_ending_keys_v1", "tell_ending_key_v1"),
)


async def run(now: datetime) -> dict[str, int]:
    """Verifies the next part of every log that is due; reminds of kill switches engaged for a day and keys that end.

    Answers how many parts were verified, how many looks found a broken log, and how many reminders were given. May run
    twice at once, or any number of times. What it does not come to is the next run's; what has waited longest comes
    first. One tenant's trouble never reaches the others; raises AllFailedError when every item had some, and when a
    broken log could not be told of: then nothing can be written there any more, and only the heartbeat says so.
    """
    counts = {"verified": 0, "broken": 0, "reminded": 0, "failed": 0, "untold": 0}
    begin_until, done = time.monotonic() + BUDGET_SECONDS, 0
    for what, due, tell in REMINDERS:
        for item in await database().claim(due, BATCH):
            if time.monotonic() >= begin_until:
                break
            by = system(item["tenant_id"], "watch")
            told = await attempted(f"{what} {item['id']}", database().call(by, tell, {"id": item["id"]}))
            counts["failed"] += told is None
            counts["reminded"] += told is not None and told.result["recorded"]
            done += told is not None
    done += await _logs(counts, begin_until)
    if counts["untold"] or (counts["failed"] and not done):
        raise AllFailedError(counts)
    return counts


async def _logs(counts: dict[str, int], begin_until: float) -> int:
    """Verifies part after part, in turn, until nothing is due or the time is over; answers how many were looked at."""
    done, failed = 0, set[str]()
    while time.monotonic() < begin_until:
        due: list[dict[str, Any]] = await audit.due_watches(BATCH)
        looked = 0
        for item in due:
            if time.monotonic() >= begin_until:
                break
            if item["tenant_id"] in failed:
                continue
            found = await attempted(f"the audit log of tenant {item['tenant_id']}", audit.look(item))
            if found is None:
                failed.add(item["tenant_id"])
            else:
                looked += found != "busy"
                counts["broken"] += found in ("broken", "untold")
                counts["untold"] += found == "untold"
        done += looked
        if not looked:
            break
    counts["verified"] += done
    counts["failed"] += len(failed)
    return done


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("watch", run(datetime.now(UTC))))
