"""Delivers what is due: one lease, one message, one answer. At least once, and under one id, so that it can be told."""

import logging
import random
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.crash_reports import report
from api.db import database
from api.notifications import schedule
from api.notifications.messages import Told
from api.notifications.outgoing import Ended, send
from api.notifications.rotation import opened

log = logging.getLogger("countersign.notifications")
#: How long a delivery is one instance's own; longer than any receiver is waited for.
LEASE_SECONDS = 60
#: Seconds for which the end of a delivery is told to a database that is away.
INSIST_SECONDS = 10


async def due(limit: int) -> list[dict[str, Any]]:
    """Ids of what is due, {tenant_id, id}; tenants take turns."""
    found: list[dict[str, Any]] = await database().claim("claim_due_notifications_v1", limit)
    return found


async def deliver(item: dict[str, Any]) -> str:
    """What became of it: delivered, retry, dead, gone; or `taken` when another instance has it, or it is over.

    When this process dies after sending, the lease runs out and it is sent again under the same id.
    """
    keeper = system(item["tenant_id"], "deliver_notifications")
    args = {"id": item["id"], "lease_seconds": LEASE_SECONDS}
    claimed = (await database().call(keeper, "claim_notification_v1", args)).result
    if not claimed["claimed"]:
        return "taken"
    try:
        ended = await _sent(claimed)
    except Exception as error:  # of our own: it must not be claimed every minute for ever
        log.exception("notification %s broke", item["id"])
        report(error, None)
        ended = Ended("retry", "It could not be sent; the error was logged.")
    outcome, wait = ended.outcome, None
    if outcome == "retry":
        wait = schedule.pause(claimed["round"], ended.asked, random.random())  # noqa: S311 - it spreads tries, no more
        outcome = "dead" if wait is None else "retry"
    settled = {"id": item["id"], "fence": claimed["fence"], "outcome": outcome, "error": ended.error}
    try:
        await database().insist(keeper, "settle_notification_v1", settled | {"retry_seconds": wait}, INSIST_SECONDS)
    except psycopg.Error as error:
        if error.sqlstate != "CS409":
            raise
        # The channel ended meanwhile, somebody else went on, or an earlier try of ours was recorded.
        return "taken"
    return outcome


async def _sent(claimed: dict[str, Any]) -> Ended:
    told = Told(
        id=f"msg_{claimed['id']}", event=claimed["event"], content=claimed["content"], at=claimed["created_at"],
        origin=settings().public_url, tenant=claimed["tenant_name"], channel=claimed["name"],
    )  # fmt: skip
    secrets = opened(claimed["tenant_id"], claimed["channel_id"], claimed["secrets"])
    return await send(claimed["kind"], claimed["target"], secrets, told)
