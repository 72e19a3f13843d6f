"""Rotating the key-encryption key: wraps every data key under the first one, while connections are in use."""

import logging
from dataclasses import dataclass, field
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.connections import vault
from api.connections.credential import bound_to
from api.db import database

log = logging.getLogger("countersign.connections")


@dataclass(slots=True)
class Rotation:
    """How far a rotation is. `left` counts the envelopes under each key, by its id: at zero a key may be removed.

    rewrapped, failed: envelopes that were, and could not be, wrapped anew. beaten: somebody stored newer ones first.
    """

    rewrapped: int = 0
    beaten: int = 0
    failed: int = 0
    left: dict[str, int] = field(default_factory=dict)


async def rewrap(limit: int) -> Rotation:
    """Wraps up to `limit` envelopes under the first key; may run any number of times at once.

    No token is opened, here or in the database, and a refresh that comes first wins.
    """
    done = Rotation()
    for item in (await _look(limit))["work"]:
        try:
            if await _one(item):
                done.rewrapped += 1
            else:
                done.beaten += 1
        except (vault.SealError, psycopg.Error) as error:
            log.warning("connection %s keeps its key: %s", item["connection_id"], error)
            done.failed += 1
    done.left = (await _look(0))["left"]
    return done


async def _look(limit: int) -> dict[str, Any]:
    keys = list(settings().kek)
    found: dict[str, Any] = await database().claim("claim_rewraps_v1", keys[0], keys, limit)
    return found


async def _one(item: dict[str, Any]) -> bool:
    keeper = system(item["tenant_id"], "rotate_keys")
    where = {"connection_id": item["connection_id"], "state_hash": item["state_hash"]}
    first = next(iter(settings().kek))
    claimed = (await database().call(keeper, "claim_rewrap_v1", where | {"kek": first})).result
    if not claimed["claimed"]:
        return False
    credential = claimed["credential"]
    if item["state_hash"] is None:
        bound = bound_to(credential, credential["generation"])
    else:
        bound = bound_to(credential | {"tenant_id": "-"}, "flow")
    envelope = vault.rewrap(credential["envelope"], bound)
    args = where | {"generation": credential.get("generation"), "envelope": envelope}
    return bool((await database().call(keeper, "store_rewrapped_v1", args)).result["stored"])
