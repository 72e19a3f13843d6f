"""Workflows: access specs, versions, review; kill switches."""

import asyncio
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.models import HARD_GATES, AccessSpec, Limit
from api.ids import new_id
from api.providers.manifest import manifests
from api.sql import query
from api.tools import service as tools
from api.workflows.diff import diff
from api.workflows.diff_safeguards import described
from api.workflows.document import document
from api.workflows.models import Approval, NewKillSwitch, NewVersion, NewWorkflow, Rejection, Release
from api.workflows.readiness import CONTROLS as CONTROLS
from api.workflows.readiness import presented as presented
from api.workflows.validation import mistakes

#: How many of the newest proposals a record of a workflow's stage goes by.
RECORDED = 1000


async def _check(principal: Principal, spec: AccessSpec) -> None:
    """Refuses a spec that does not hold together, with every reason and its place."""
    errors = mistakes(spec, await tools.contracts_of(principal, spec.tools))
    if errors:
        raise Problem(422, "invalid_access_spec", "The access spec does not hold together.", errors)


async def create_workflow(principal: Principal, body: NewWorkflow, once: Idempotency) -> Answer:
    await _check(principal, body.spec)
    args = {"id": new_id()} | body.model_dump(mode="json")
    return await database().call(principal, "create_workflow_v1", args, once)


async def create_version(principal: Principal, slug: str, body: NewVersion, once: Idempotency) -> Answer:
    await _check(principal, body.spec)
    args = {"slug": slug, "spec": body.spec.model_dump(mode="json")}
    return await database().call(principal, "create_workflow_version_v1", args, once)


async def submit(principal: Principal, slug: str, version: int, once: Idempotency) -> Answer:
    return await database().call(principal, "submit_workflow_version_v1", {"slug": slug, "version": version}, once)


async def withdraw(principal: Principal, slug: str, version: int, once: Idempotency) -> Answer:
    """Takes a version back out of review."""
    return await database().call(principal, "withdraw_workflow_version_v1", {"slug": slug, "version": version}, once)


async def reject(principal: Principal, slug: str, version: int, body: Rejection, once: Idempotency) -> Answer:
    """Sends a version in review back to its author; somebody other than the author does."""
    args = {"slug": slug, "version": version, "reason": body.reason}
    return await database().call(principal, "reject_workflow_version_v1", args, once)


async def approve(principal: Principal, slug: str, version: int, body: Approval, once: Idempotency) -> Answer:
    """Puts a version live; only somebody other than its author can, and only the spec whose digest they name."""
    named = body.model_dump(exclude_unset=True)
    args = {"slug": slug, "version": version, "hard_gates": sorted(HARD_GATES)} | named
    return await database().call(principal, "approve_workflow_version_v1", args, once)


async def list_workflows(principal: Principal) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("workflows/list_workflows"))).fetchall()
    return [row | {"limits": [described(Limit.model_validate(each)) for each in row["limits"]]} for row in rows]


async def list_versions(principal: Principal, slug: str, *besides: int | None) -> list[dict[str, Any]]:
    """The newest versions, newest first; the live one and those named `besides` are among them, however old."""
    named = {"slug": slug, "besides": [version for version in besides if version]}
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("workflows/list_versions"), named)).fetchall()
    if not rows:
        raise Problem(404, "not_found", "There is no such workflow.")
    return rows


def _chosen(rows: list[dict[str, Any]], version: int | None) -> dict[str, Any]:
    """The version asked for, else the live one, else the newest; Problem 404 when the one asked for is not there."""
    wanted = [row for row in rows if (row["version"] == version if version else row["status"] == "live")]
    if version and not wanted:
        raise Problem(404, "not_found", "There is no such version.")
    return (wanted or rows)[0]


def _spec_of(row: dict[str, Any]) -> AccessSpec:
    return AccessSpec.model_validate(row["spec"])


async def compare(principal: Principal, slug: str, version: int, earlier: int | None) -> dict[str, Any]:
    """What a version permits beyond an earlier one: the one named, else the live one, else nothing at all."""
    rows = await list_versions(principal, slug, version, earlier)
    new = _chosen(rows, version)
    old = _chosen(rows, earlier) if earlier or new["live_version"] else None
    spec = _spec_of(new)
    contracts = await tools.contracts_of(principal, spec.tools)
    changes = diff(_spec_of(old) if old else None, spec, contracts)
    return {
        "slug": slug,
        "from_version": old["version"] if old else None,
        "to_version": new["version"],
        "widens": any(change.kind == "widened" for change in changes),
        "changes": changes,
    }


async def access_spec(
    principal: Principal, slug: str, version: int | None, rows: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The reviewable document of a version (the one asked for, else the live one, else the newest).

    It names the connections as far as the caller may see them, and what is new since the live version. rows: what
    `list_versions` has just said of the workflow and this version, for who has asked already.
    """
    if rows is None:
        rows = await list_versions(principal, slug, version)
    row = _chosen(rows, version)
    spec = _spec_of(row)
    live = next((other for other in rows if other["status"] == "live"), None)
    compared = None if live is None or live["version"] == row["version"] else live
    bound, contracts, ready = await asyncio.gather(
        _bound(principal, spec), tools.contracts_of(principal, spec.tools), readiness(principal, slug, row["version"])
    )
    made = document(row, contracts, manifests(), {str(each["id"]): each for each in bound})
    return made | {
        "compared_with": compared["version"] if compared else None,
        "changes": diff(_spec_of(compared), spec, contracts) if compared else [],
        "readiness": ready,
    }


async def _bound(principal: Principal, spec: AccessSpec) -> list[dict[str, Any]]:
    """The connections that a spec names, as far as the caller may see them."""
    ids = [used for binding in spec.connections.values() for used in (binding.read, binding.write) if used]
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        return await (await connection.execute(query("workflows/list_bound_connections"), {"ids": ids})).fetchall()


async def readiness(principal: Principal, slug: str, version: int | None) -> dict[str, Any]:
    """The nine controls of a version (the one asked for, else the live one, else the newest), verified or not."""
    args = {"slug": slug, "version": version}
    return presented((await database().call(principal, "readiness_v1", args)).result)


async def stage_record(principal: Principal, slug: str, days: int) -> dict[str, Any]:
    """What the workflow would have done if it were autonomous, and where people said otherwise. Raises Problem 404."""
    window = {"slug": slug, "days": days, "limit": RECORDED}
    async with database().tenant_transaction(principal, "actions.read") as connection:
        found = await (await connection.execute(query("workflows/live_stage"), window)).fetchone()
        if found is None:
            raise Problem(404, "not_found", "There is no such workflow.")
        record = await (await connection.execute(query("workflows/stage_record"), window)).fetchall()
        against = await (await connection.execute(query("workflows/stage_disagreements"), window)).fetchall()
    return window | {"stage": found["stage"], "tools": record, "disagreements": against}


async def engage(principal: Principal, body: NewKillSwitch, once: Idempotency) -> Answer:
    """Stops something at once; answers what was stopped and what was already in flight."""
    target = body.target
    if body.scope == "tenant":
        target = str((await database().call(principal, "me_v1", {})).result["tenant"]["id"])
    elif not target:
        raise Problem(422, "target_missing", f"Say which {body.scope.replace('_', ' ')} to stop.")
    elif body.scope == "workflow":
        target = await _workflow_id(principal, target)
    args = {"id": new_id(), "scope": body.scope, "target": target, "reason": body.reason}
    return await database().call(principal, "engage_kill_switch_v1", args, once)


async def _workflow_id(principal: Principal, target: str) -> str:
    """A workflow is named by id or slug."""
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("workflows/find_workflow"), {"target": target})).fetchall()
    if not rows:
        raise Problem(404, "not_found", "There is no such workflow.")
    return str(rows[0]["id"])


async def list_kill_switches(principal: Principal, status: str | None) -> Any:
    return (await database().call(principal, "list_kill_switches_v1", {"status": status})).result


async def count_kill_switches(principal: Principal) -> list[dict[str, Any]]:
    """As `list_kill_switches`, with how many actions each has stopped and how many were in flight, not which."""
    async with database().tenant_transaction(principal, "kill_switches.read") as connection:
        return await (await connection.execute(query("workflows/count_kill_switches"))).fetchall()


async def stopping(principal: Principal, workflow_id: UUID) -> list[dict[str, Any]]:
    """The engaged kill switches that stop all of a workflow: `id`, `scope` and `stage` of each, newest first."""
    async with database().tenant_transaction(principal, "kill_switches.read") as connection:
        cursor = await connection.execute(query("workflows/stopping"), {"workflow_id": workflow_id})
        return await cursor.fetchall()


async def get_kill_switch(principal: Principal, switch_id: UUID) -> Any:
    """One switch with its proof; Problem 404 when the tenant has no such."""
    return (await database().call(principal, "get_kill_switch_v1", {"id": switch_id})).result


async def outline_kill_switch(principal: Principal, switch_id: UUID, most: int) -> Any:
    """As `get_kill_switch`, without what it stops now, and of its proof what is first.

    `proof` has the digest, the time, and by part `{count, first}`: how many lines there are, and `most` of them.
    """
    return (await database().call(principal, "get_kill_switch_v1", {"id": switch_id, "most": most})).result


async def release(principal: Principal, switch_id: UUID, body: Release, once: Idempotency) -> Answer:
    args = {"id": switch_id, "reason": body.reason, "stage": body.stage}
    return await database().call(principal, "release_kill_switch_v1", args, once)
