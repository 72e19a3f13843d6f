"""Picks up what is authorized and due, and what a dead function left behind."""

import logging
from datetime import UTC, datetime
from typing import Any

import psycopg

from api.db import database
from api.execution import service
from functions.runtime import run_until_complete

log = logging.getLogger("countersign.execute_actions")
BATCH = 50


async def run(now: datetime) -> dict[str, int]:
    """Settles attempts whose lease ran out, then attempts what is due; answers how many of each.

    May run twice at once, or any number of times: the database hands each action to one attempt only.
    """
    work: list[dict[str, Any]] = await database().claim("claim_due_actions_v1", BATCH)
    counts = {"due": 0, "expired_leases": 0, "failed": 0}
    for item in sorted(work, key=lambda w: w["attempt_id"] is None):
        try:
            if item["attempt_id"] is not None:
                await service.expire(item["tenant_id"], item["attempt_id"])
                counts["expired_leases"] += 1
            else:
                await service.execute(item["tenant_id"], item["action_id"])
                counts["due"] += 1
        except psycopg.Error as error:
            # One tenant's trouble must not keep the others waiting; the next run finds it again.
            counts["failed"] += 1
            log.warning("action %s: %s", item["action_id"], error.sqlstate)
    return counts


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(run(datetime.now(UTC)))
