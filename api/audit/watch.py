"""The watch over the audit log: verifying it by schedule, signing its head, and saying that it is broken."""

import logging
from typing import Any, Literal

import psycopg

from api.auth import Principal, system
from api.crash_reports import report
from api.db import database
from api.permits import service as permits

log = logging.getLogger("countersign.audit")
#: Events of one look: some tenths of a second of the database's time.
LIMIT = 20_000
Found = Literal["holds", "broken", "untold", "busy"]


class BrokenLogError(Exception):
    """An audit log is broken and its organisation could not be told: nothing can be written there any more."""


async def due(limit: int) -> list[dict[str, Any]]:
    """Logs of any tenant that are to be looked at, the longest waiting first: tenant_id, and the newest signed head."""
    found: list[dict[str, Any]] = await database().claim("claim_audit_watches_v1", limit)
    return found


async def look(item: dict[str, Any]) -> Found:
    """Verifies the next part of a log; tells whoever answers for it that it is broken, or signs its head.

    `untold`: it is broken and so badly that the alert could not be written either; that is logged and reported instead.
    `busy`: somebody else is looking. Raises psycopg.Error when it could not be looked at.
    """
    by, signed = system(item["tenant_id"], "watch"), item["signed"]
    args: dict[str, Any] = {"limit": LIMIT}
    if signed and permits.signed(_statement(item["tenant_id"], signed), signed["key_id"], signed["signature"]) is False:
        args["forged_at"] = signed["seq"]
    found = (await database().call(by, "watch_audit_v1", args)).result
    if not found["looked"]:
        return "busy"
    if found["broken_at"] is not None:
        return await _told(by, item["tenant_id"], found["broken_at"])
    if found["mended"]:
        await database().call(by, "tell_of_audit_v1", {})
    if found["done"] and (signed is None or signed["seq"] < found["seq"]):
        await _sign(by, item["tenant_id"], found)
    return "holds"


async def _told(by: Principal, tenant_id: str, broken_at: int) -> Found:
    log.error("the audit log of tenant %s does not verify: event %s does not fit", tenant_id, broken_at)
    try:
        await database().call(by, "tell_of_audit_v1", {})
    except psycopg.Error as error:
        log.error("tenant %s could not be told that its audit log is broken: %s", tenant_id, error.sqlstate)
        report(BrokenLogError(f"the audit log of tenant {tenant_id} is broken at event {broken_at}"), None)
        return "untold"
    return "broken"


async def _sign(by: Principal, tenant_id: str, head: dict[str, Any]) -> None:
    """Signs the head, where this deployment has keys to sign with."""
    made = permits.sign(_statement(tenant_id, {"seq": head["seq"], "hash": head["head"]}))
    if made is not None:
        args = {"seq": head["seq"], "hash": head["head"], "key_id": made[0], "signature": made[1]}
        await database().call(by, "sign_audit_head_v1", args)


def _statement(tenant_id: str, head: dict[str, Any]) -> str:
    """What is signed of a head: the tenant, the number of its last event, and the hash of that, in hex."""
    return f"countersign-audit-head {tenant_id} {head['seq']} {head['hash']}"
