"""Undoing all that a run wrote: the last write first, each undo when the one before it has ended."""

import logging
from collections import Counter
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.db import Answer, Idempotency, database
from api.errors import Problem, from_database
from api.execution.compensate import propose_undo
from api.execution.execute import execute
from api.ids import new_id
from api.sql import query

log = logging.getLogger("countersign.undo")
#: Steps that one call takes at most; the schedule takes the others.
MOST_STEPS = 1000
#: What keeps a step from being taken now, and passes: another try comes with the schedule.
PASSING = {"epoch_moved", "undo_under_way", "kill_switch_engaged", "connection_not_active", "step_settled"}


async def undo_run(principal: Principal, run_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Plans to undo what the run wrote; `pursue` takes the steps.

    Raises Problem 404 without such a run, 409 `undo_under_way` while an earlier plan is at work.
    """
    return await database().call(principal, "undo_run_v1", {"id": new_id(), "run_id": run_id, "reason": reason}, once)


async def report(principal: Principal, run_id: UUID) -> dict[str, Any]:
    """What became of the newest plan to undo the run; Problem 404 when nobody asked for one."""
    async with database().tenant_transaction(principal, "actions.read") as connection:
        row = await (await connection.execute(query("execution/undo_report"), {"run_id": run_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "Nobody has asked to undo a run of this id.")
    return row | {"counts": dict(Counter(step["code"] or step["status"] for step in row["steps"]))}


async def pursue_soon(tenant_id: UUID | str, plan_id: UUID | str) -> None:
    """As `pursue`, right after the request that planned it; what fails here is left to the schedule."""
    try:
        await pursue(tenant_id, plan_id)
    except Exception:
        # Nobody waits for this any more: the request was answered, and the schedule takes over.
        log.exception("plan %s is left to the schedule", plan_id)


async def pursue(tenant_id: UUID | str, plan_id: UUID | str) -> str:
    """Takes the plan's steps, as far as they go now: `finished`, `waiting` for people or a provider, or `held` up.

    May run twice at once, and end anywhere: which step is next is the database's to say, and it takes each one once.
    """
    principal = system(tenant_id, "undo_runs")
    executed: set[str] = set()
    for _ in range(MOST_STEPS):
        step = (await database().call(principal, "advance_undo_v1", {"plan_id": plan_id})).result
        if step["state"] == "waiting" and step["status"] == "authorized" and step["undo_id"] not in executed:
            executed.add(step["undo_id"])
            await execute(tenant_id, step["undo_id"])
        elif step["state"] != "next":
            return str(step["state"])
        elif not await _take(principal, step):
            return "held"
    return "held"


async def _take(principal: Principal, step: dict[str, Any]) -> bool:
    """Proposes one undo, or closes the step with the reason why there is none; false when it has to wait."""
    asker = system(principal.claims["tenant_id"], "undo_runs", step["asked"])
    try:
        await propose_undo(asker, step["action_id"], step["reason"], plan=step)
    except psycopg.Error as error:
        problem = from_database(error)
    except Problem as error:
        problem = error
    else:
        return True
    if problem.status_code in (401, 429) or problem.status_code >= 500 or problem.code in PASSING:
        log.warning("the undo of %s waits: %s", step["action_id"], problem.code)
        return False
    said = {"plan_id": step["plan_id"], "action_id": step["action_id"], "code": problem.code}
    await database().call(principal, "settle_undo_step_v1", said | {"reason": str(problem.detail)})
    return True


async def pursue_due(limit: int) -> int:
    """Goes on with plans that wait for nobody; answers how many. One plan's trouble never reaches the others."""
    plans: list[dict[str, Any]] = await database().claim("claim_due_undo_plans_v1", limit)
    for plan in plans:
        await pursue_soon(plan["tenant_id"], plan["plan_id"])
    return len(plans)
