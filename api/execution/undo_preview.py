"""What undoing a run would do, told before anybody asks for it: no provider is asked, and nothing is recorded."""

from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.execution.compensate import obstacle
from api.gate.models import Contract
from api.privacy.sealing import opened_reads
from api.sql import query
from api.workflows import facts as workflow_facts

#: Writes that are told one by one.
TOLD = 200
_NOT_DONE = {"authorized", "executing", "awaiting_approval"}


async def preview(principal: Principal, run_id: UUID) -> dict[str, Any]:
    """{run_id, under_way, writes, steps}: each write of the run, the last first, how it would be undone or why not.

    Whether somebody changed it since is found out when it is undone. Raises Problem 404 without such a run.
    """
    async with database().tenant_transaction(principal, "actions.propose") as connection:
        parameters = {"run_id": run_id, "limit": TOLD}
        row = await (await connection.execute(query("execution/undo_preview"), parameters)).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such run.")
    tools = await _granted(principal, row["workflow"]) if row["done"] else frozenset()
    steps = [_step(number, opened_reads(done), tools) for number, done in enumerate(row["done"], start=1)]
    return {"run_id": run_id, "under_way": row["under_way"], "writes": row["writes"], "steps": steps}


async def _granted(principal: Principal, workflow: str) -> frozenset[str]:
    facts, _ = await workflow_facts.get(principal, workflow)
    return frozenset(facts.workflow.spec.tools) & frozenset(facts.contracts)


def _step(number: int, done: dict[str, Any], granted: frozenset[str]) -> dict[str, Any]:
    action = {name: done[name] for name in ("id", "tool", "status")}
    if done["status"] in _NOT_DONE:
        detail = "It is not done, so there is nothing to undo yet; cancel it if it must not happen."
        problem: Problem | None = Problem(409, "not_done", detail)
    else:
        problem = obstacle(done, granted.__contains__)
    compensation = Contract.model_validate(done["contract"]).compensate
    told = {"code": problem.code, "reason": str(problem.detail)} if problem else {"code": None, "reason": None}
    tool = compensation.tool if compensation and problem is None else None
    return {"position": number, "action": action, "can": problem is None, "tool": tool} | told
