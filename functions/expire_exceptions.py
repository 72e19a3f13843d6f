"""Expires what nobody decided in time."""

from datetime import UTC, datetime
from typing import Any

from api.auth import system
from api.db import database
from functions.runtime import noted, run_until_complete

BATCH = 200


async def run(now: datetime) -> dict[str, int]:
    """Expires open exceptions whose time is over, with their actions; answers how many."""
    expired = 0
    for item in await database().claim("claim_expired_exceptions_v1", BATCH):
        executor = system(item["tenant_id"], "expire_exceptions")
        answer = await database().call(executor, "expire_exception_v1", {"id": item["id"]})
        expired += answer.result.get("recorded") is not False
    return {"expired": expired}


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Lambda entry point."""
    return run_until_complete(noted("expire_exceptions", run(datetime.now(UTC))))
