"""Mails owners that a channel is dead, where no channel could tell it: else it would stand on the dashboard alone."""

import asyncio
import logging
from typing import Any, Literal

from api.auth import system
from api.config import settings
from api.db import database
from api.notifications import mail, messages
from api.notifications.messages import Told

log = logging.getLogger("countersign.notifications")
#: Seconds until it is tried again after nobody's mail was taken; the database gives it up after ten tries.
AGAIN_SECONDS = 3600


async def unheard(limit: int) -> list[dict[str, Any]]:
    """Ids of alerts, {tenant_id, id}, of which owners are to be mailed."""
    found: list[dict[str, Any]] = await database().claim("claim_unheard_alerts_v1", limit)
    return found


async def tell_owners(item: dict[str, Any]) -> Literal["delivered", "retry", "dead", "taken"]:
    """What became of it: `delivered` when one owner's mail was taken or more, `dead` when none ever will be.

    `taken` when another instance has it, or it needs no mail any more. When this process dies after sending, it is
    mailed again in an hour. That no owner's mail was taken is in the log, with the reasons: no page can tell it.
    """
    keeper = system(item["tenant_id"], "deliver_notifications")
    asked = {"id": item["id"], "again_seconds": AGAIN_SECONDS}
    found = (await database().call(keeper, "tell_owners_v1", asked)).result
    if not found["claimed"]:
        return "taken"
    told = Told(
        id=f"msg_{item['id']}", event="alert.raised", content=found["content"], at=found["raised_at"],
        origin=settings().public_url, tenant=found["tenant_name"], channel="",
    )  # fmt: skip
    subject, text = messages.subject(told), messages.text(told)
    addresses = [address for address in found["owners"] if mail.ADDRESS.fullmatch(address)]
    sent = await asyncio.gather(*(mail.send(each, subject, text, told.id, told.origin) for each in addresses))
    outcomes = {each.outcome for each in sent}
    if "delivered" not in outcomes:
        why = " ".join(sorted({each.error or "" for each in sent})) or "None of them has an address that can be mailed."
        log.warning("no owner was mailed of alert %s: %s", item["id"], why)
        if "retry" in outcomes:
            return "retry"
    await database().call(keeper, "owners_told_v1", {"id": item["id"]})
    return "delivered" if "delivered" in outcomes else "dead"
