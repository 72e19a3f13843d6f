"""Rotating the key-encryption key: the secrets of channels are wrapped under the first one."""

import logging
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.connections import vault
from api.db import database

log = logging.getLogger("countersign.notifications")


def secret_context(tenant_id: object, channel_id: object, generation: int) -> bytes:
    """What a sealed secret is bound to: it opens nowhere else, and for no other secret's place."""
    return vault.context(tenant_id, channel_id, "channel", generation)


def opened(tenant_id: object, channel_id: object, kept: list[dict[str, Any]]) -> list[str]:
    """The secrets of envelopes, in their order; one that does not open here is left out."""
    found = []
    for each in kept:
        try:
            value = vault.unseal(each["envelope"], secret_context(tenant_id, channel_id, each["generation"]))
        except vault.SealError:
            log.warning("a secret of channel %s does not open here", channel_id)
            continue
        found.append(str(value["secret"]))
    return found


async def rewrap(limit: int) -> dict[str, Any]:
    """Wraps up to `limit` secrets anew: {rewrapped, beaten, failed, left: secrets by the id of a key}.

    No secret is opened, messages go on being sent, and a new secret that comes first wins. May run any number of times
    at once.
    """
    done: dict[str, Any] = {"rewrapped": 0, "beaten": 0, "failed": 0}
    for item in (await _look(limit))["work"]:
        try:
            done["rewrapped" if await _one(item) else "beaten"] += 1
        except (vault.SealError, psycopg.Error) as error:
            log.warning("channel %s keeps a secret as it is wrapped: %s", item["channel_id"], error)
            done["failed"] += 1
    return done | {"left": (await _look(0))["left"]}


async def _look(limit: int) -> dict[str, Any]:
    keys = list(settings().kek)
    found: dict[str, Any] = await database().claim("claim_channel_rewraps_v1", keys[0], keys, limit)
    return found


async def _one(item: dict[str, Any]) -> bool:
    keeper = system(item["tenant_id"], "rotate_keys")
    where = {"channel_id": item["channel_id"], "generation": item["generation"]}
    first = next(iter(settings().kek))
    claimed = (await database().call(keeper, "claim_channel_rewrap_v1", where | {"kek": first})).result
    if not claimed["claimed"]:
        return False
    bound_to = secret_context(claimed["tenant_id"], item["channel_id"], item["generation"])
    args = where | {"envelope": vault.rewrap(claimed["envelope"], bound_to)}
    return bool((await database().call(keeper, "store_channel_rewrap_v1", args)).result["stored"])
