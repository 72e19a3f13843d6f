"""Rotating the key-encryption key: the secrets of webhook triggers are wrapped under the first one."""

import logging
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.connections import vault
from api.db import database

log = logging.getLogger("countersign.hooks")


def secret_context(tenant_id: object, trigger_id: object, generation: int) -> bytes:
    """What a sealed secret is bound to: it opens nowhere else, and for no other secret's place."""
    return vault.context(tenant_id, trigger_id, "webhook", generation)


async def rewrap(limit: int) -> dict[str, Any]:
    """Wraps up to `limit` secrets anew: {rewrapped, beaten, failed, left: secrets by the id of a key}.

    No secret is opened, deliveries go on being verified, and a new secret that comes first wins. May run any number of
    times at once.
    """
    done: dict[str, Any] = {"rewrapped": 0, "beaten": 0, "failed": 0}
    for item in (await _look(limit))["work"]:
        try:
            done["rewrapped" if await _one(item) else "beaten"] += 1
        except (vault.SealError, psycopg.Error) as error:
            log.warning("webhook trigger %s keeps a secret as it is wrapped: %s", item["trigger_id"], error)
            done["failed"] += 1
    return done | {"left": (await _look(0))["left"]}


async def _look(limit: int) -> dict[str, Any]:
    keys = list(settings().kek)
    found: dict[str, Any] = await database().claim("claim_webhook_rewraps_v1", keys[0], keys, limit)
    return found


async def _one(item: dict[str, Any]) -> bool:
    keeper = system(item["tenant_id"], "rotate_keys")
    where = {"trigger_id": item["trigger_id"], "generation": item["generation"]}
    first = next(iter(settings().kek))
    claimed = (await database().call(keeper, "claim_webhook_rewrap_v1", where | {"kek": first})).result
    if not claimed["claimed"]:
        return False
    bound_to = secret_context(claimed["tenant_id"], item["trigger_id"], item["generation"])
    args = where | {"envelope": vault.rewrap(claimed["envelope"], bound_to)}
    return bool((await database().call(keeper, "store_webhook_rewrap_v1", args)).result["stored"])
