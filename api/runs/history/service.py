"""What happened in runs: the list of them, and the whole trace of one."""

from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.pagination import PageRequest
from api.privacy.run_keys import SealBrokenError
from api.privacy.sealing import UNOPENED, shown
from api.runs import service as runs
from api.runs import tokens
from api.runs.loop.thinking import notes
from api.sql import query
from api.workflows.shown import hidden_in, hiding

#: What of a run may hold values that its agent is shown as tokens.
HOLDS_VALUES = (
    "instruction", "subject", "status_reason", "trigger_detail", "observations.args", "observations.error",
    "actions.why", "actions.status_reason", "actions.moved", "actions.approvals.reason", "actions.attempts.error",
    "steps.detail", "steps.notes", "model_calls.error",
)  # fmt: skip


async def list_runs(
    principal: Principal, page: PageRequest, workflow: str | None, status: str | None, trigger: str | None
) -> dict[str, Any]:
    """Runs, newest first, of one workflow, status or trigger if asked for."""
    parameters = page.key() | {"workflow": workflow, "status": status, "trigger": trigger}
    async with database().tenant_transaction(principal, "runs.read") as connection:
        rows = await (await connection.execute(query("runs/history/list_runs"), parameters)).fetchall()
    return page.page(rows, "created_at", "id")


async def trace(principal: Principal, run_id: UUID) -> dict[str, Any]:
    """Everything that happened in a run, each list in order of time.

    What was erased is not there, and the place says so; with tokens for a key whose workflow shows them. Raises Problem
    404 when this tenant has no such run.
    """
    run = await runs.get(principal, run_id)
    async with database().tenant_transaction(principal, "runs.read") as connection:
        row = await (await connection.execute(query("runs/history/get_trace"), {"id": run_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such run.")
    kept, reads, outcomes = row.pop("kept"), row.pop("reads"), row.pop("outcomes")
    hide = await hiding(principal, run["workflow"], run_id, row.pop("pseudonyms"))
    told = (
        run
        | row
        | {
            "observations": _joined(run["observations"], reads),
            "actions": [each | {"why": _why(each)} for each in _joined(run["actions"], outcomes)],
            "steps": [_step(kept, step) for step in row["steps"]],
        }
    )
    return told if hide is None else hidden_in(told, HOLDS_VALUES, hide)


async def observation(principal: Principal, run_id: UUID, observation_id: UUID) -> dict[str, Any]:
    """One read with what is kept of its result, as its caller may see it; Problem 404 when the run has no such."""
    found = await _read(principal, run_id, id=observation_id)
    if not found:
        raise Problem(404, "not_found", "There is no such observation in this run.")
    [(workflow, seen)] = found
    return await tokens.shown_to(principal, workflow, run_id, seen)


async def observations(principal: Principal, run_id: UUID, ids: list[UUID], most: int) -> list[dict[str, Any]]:
    """Those of these reads whose results are small: at most so many bytes, as they are kept. For people."""
    return [seen for _, seen in await _read(principal, run_id, ids=ids, bytes=most)]


async def _read(principal: Principal, run_id: UUID, **narrowed: Any) -> list[tuple[str, dict[str, Any]]]:
    parameters = {"run_id": run_id, "id": None, "ids": None, "bytes": None, "limit": 200} | narrowed
    async with database().tenant_transaction(principal, "runs.read") as connection:
        rows = await (await connection.execute(query("runs/history/get_observations"), parameters)).fetchall()
    return [(row.pop("workflow"), shown(row.pop("kept"), row)) for row in rows]


def _joined(these: list[dict[str, Any]], those: list[dict[str, Any]]) -> list[dict[str, Any]]:
    more = {each["id"]: each for each in those}
    return [each | more.get(each["id"], {}) for each in these]


def _why(action: dict[str, Any]) -> list[str]:
    """The decision's findings, one line each."""
    lines = []
    for found in action.pop("reasons", None) or []:
        cited = f" (rule {found['rule_id']})" if found.get("rule_id") else ""
        lines.append(f"{found.get('check')}: {found.get('outcome')}: {found.get('message')}{cited}")
    return lines


def _step(kept: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    sealed = step.pop("sealed")
    if sealed is None:
        return step
    try:
        said = notes(kept, sealed)
    except SealBrokenError:
        said = UNOPENED
    return step | ({"erased": True} if said is None else {"notes": said})
