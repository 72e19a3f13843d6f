"""Rotating the key-encryption key: the keys of model providers are wrapped under the first one."""

import logging
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.connections import vault
from api.db import database

log = logging.getLogger("countersign.model_providers")


def key_context(tenant_id: object, provider_id: object, environment: str, generation: int) -> bytes:
    """What a sealed key is bound to: it opens nowhere else, and for no other key's place."""
    return vault.context(tenant_id, provider_id, environment, f"model_key/{generation}")


async def rewrap(limit: int) -> dict[str, Any]:
    """Wraps the keys of up to `limit` providers anew: {rewrapped, beaten, failed, left: providers by the id of a key}.

    No key is opened, and a new one that comes first wins. May run any number of times at once.
    """
    done: dict[str, Any] = {"rewrapped": 0, "beaten": 0, "failed": 0}
    for item in (await _look(limit))["work"]:
        try:
            done["rewrapped" if await _one(item) else "beaten"] += 1
        except (vault.SealError, psycopg.Error) as error:
            log.warning("model provider %s keeps its key as it is wrapped: %s", item["provider_id"], error)
            done["failed"] += 1
    return done | {"left": (await _look(0))["left"]}


async def _look(limit: int) -> dict[str, Any]:
    keys = list(settings().kek)
    found: dict[str, Any] = await database().claim("claim_model_rewraps_v1", keys[0], keys, limit)
    return found


async def _one(item: dict[str, Any]) -> bool:
    keeper = system(item["tenant_id"], "rotate_keys")
    where = {"provider_id": item["provider_id"]}
    first = next(iter(settings().kek))
    claimed = (await database().call(keeper, "claim_model_rewrap_v1", where | {"kek": first})).result
    if not claimed["claimed"]:
        return False
    generation = claimed["generation"]
    bound_to = key_context(claimed["tenant_id"], item["provider_id"], claimed["environment"], generation)
    args = where | {"generation": generation, "envelope": vault.rewrap(claimed["envelope"], bound_to)}
    return bool((await database().call(keeper, "store_model_rewrap_v1", args)).result["stored"])
