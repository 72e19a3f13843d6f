"""Wraps what is sealed under an older key-encryption key under the first one."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from api.connections import service
from api.hooks import service as hooks
from api.model_providers import service as model_providers
from api.notifications import service as notifications
from api.privacy import service as privacy
from functions.runtime import AllFailedError, noted, run_until_complete

BATCH = 100
#: No batch is begun after this many seconds; the next run goes on.
BUDGET_SECONDS = 35


async def run(now: datetime) -> dict[str, int]:
    """Rewraps until nothing is left to do or the time is over; answers how much, and what is left under each key.

    `left_<key id>`: at zero, or missing, the key may be removed from COUNTERSIGN_KEK. May run any number of times.
    Raises AllFailedError when nothing of what is left could be wrapped: the heartbeat says that it is stuck.
    """
    begin_until = time.monotonic() + BUDGET_SECONDS
    total = {"rewrapped": 0, "beaten": 0, "failed": 0}
    while True:
        done = await service.rewrap(BATCH)
        others = [await holder.rewrap(BATCH) for holder in (privacy, model_providers, hooks, notifications)]
        moved = {name: getattr(done, name) + sum(other[name] for other in others) for name in total}
        total = {name: total[name] + count for name, count in moved.items()}
        if moved["rewrapped"] + moved["beaten"] == 0 or time.monotonic() > begin_until:
            left = Counter(done.left)
            for other in others:
                left.update(other["left"])
            counts = total | {f"left_{key or 'unknown'}": count for key, count in sorted(left.items())}
            if total["failed"] and not total["rewrapped"]:
                raise AllFailedError(counts)
            return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("rotate_keys", run(datetime.now(UTC))))
