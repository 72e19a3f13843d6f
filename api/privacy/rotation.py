"""Rotating the key-encryption key: the keys of runs are wrapped under the first one, and stay the same keys."""

import logging
from typing import Any

import psycopg

from api.auth import system
from api.config import settings
from api.db import database
from api.privacy import run_keys

log = logging.getLogger("countersign.privacy")


async def rewrap(limit: int) -> dict[str, Any]:
    """Wraps the keys of up to `limit` runs anew: {rewrapped, beaten, failed, left: runs by the id of a key}.

    Nothing that was sealed is opened. May run any number of times at once.
    """
    done: dict[str, Any] = {"rewrapped": 0, "beaten": 0, "failed": 0}
    for item in (await _look(limit))["work"]:
        try:
            keeper = system(item["tenant_id"], "rotate_keys")
            args = {"run_id": item["run_id"], "was": item["keys"], "keys": run_keys.rewrap(item)}
            stored = (await database().call(keeper, "store_run_keys_v1", args)).result["stored"]
            done["rewrapped" if stored else "beaten"] += 1
        except (run_keys.SealBrokenError, psycopg.Error) as error:
            log.warning("run %s keeps its keys as they are wrapped: %s", item["run_id"], error)
            done["failed"] += 1
    return done | {"left": (await _look(0))["left"]}


async def _look(limit: int) -> dict[str, Any]:
    keys = list(settings().kek)
    found: dict[str, Any] = await database().claim("claim_run_key_rewraps_v1", keys[0], keys, limit)
    return found
