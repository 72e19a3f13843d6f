"""Workflows: access specs, versions, review; kill switches."""

from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.models import HARD_GATES, AccessSpec
from api.ids import new_id
from api.providers.manifest import manifests
from api.sql import query
from api.workflows.models import Approval, NewKillSwitch, NewVersion, NewWorkflow, Release


def _known_tools(spec: AccessSpec) -> None:
    """Refuses a spec that names a tool nobody has, or grants it another access than it has."""
    contracts = {c.name: c for m in manifests().values() for c in m.contracts()}
    errors: list[dict[str, Any]] = []
    for name, grant in spec.tools.items():
        if name not in contracts:
            errors.append({"pointer": f"/spec/tools/{name}", "message": "There is no such tool."})
        elif contracts[name].access != grant.access:
            errors.append(
                {
                    "pointer": f"/spec/tools/{name}/access",
                    "message": f"The tool is for {contracts[name].access}.",
                }
            )
        elif getattr(spec.connections.get(contracts[name].provider), grant.access, None) is None:
            errors.append(
                {
                    "pointer": f"/spec/connections/{contracts[name].provider}",
                    "message": f"{name} needs a {grant.access} connection.",
                }
            )
    if errors:
        raise Problem(422, "invalid_access_spec", "The access spec does not hold together.", errors)


async def create_workflow(principal: Principal, body: NewWorkflow, once: Idempotency) -> Answer:
    _known_tools(body.spec)
    args = {"id": new_id()} | body.model_dump(mode="json")
    return await database().call(principal, "create_workflow_v1", args, once)


async def create_version(principal: Principal, slug: str, body: NewVersion, once: Idempotency) -> Answer:
    _known_tools(body.spec)
    args = {"slug": slug, "spec": body.spec.model_dump(mode="json")}
    return await database().call(principal, "create_workflow_version_v1", args, once)


async def submit(principal: Principal, slug: str, version: int, once: Idempotency) -> Answer:
    return await database().call(principal, "submit_workflow_version_v1", {"slug": slug, "version": version}, once)


async def approve(principal: Principal, slug: str, version: int, body: Approval, once: Idempotency) -> Answer:
    """Puts a version live; only somebody other than its author can."""
    args = {"slug": slug, "version": version, "reason": body.reason}
    return await database().call(principal, "approve_workflow_version_v1", args, once)


async def list_workflows(principal: Principal) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        return await (await connection.execute(query("workflows/list_workflows"))).fetchall()


async def list_versions(principal: Principal, slug: str) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "workflows.read") as connection:
        rows = await (await connection.execute(query("workflows/list_versions"), {"slug": slug})).fetchall()
    if not rows:
        raise Problem(404, "not_found", "There is no such workflow.")
    return rows


async def access_spec(principal: Principal, slug: str, version: int | None) -> dict[str, Any]:
    """The reviewable document of a version: the one asked for, else the live one, else the newest."""
    rows = await list_versions(principal, slug)
    wanted = [row for row in rows if (row["version"] == version if version else row["status"] == "live")]
    if version and not wanted:
        raise Problem(404, "not_found", "There is no such version.")
    row = (wanted or rows)[0]
    spec = AccessSpec.model_validate(row["spec"])
    contracts = {c.name: c for m in manifests().values() for c in m.contracts()}
    writes = [name for name, grant in spec.tools.items() if grant.access == "write"]
    waits = [
        name
        for name in writes
        if spec.stage != "autonomous" or name not in contracts or contracts[name].effect in HARD_GATES
    ]
    return {
        **{key: row[key] for key in ("slug", "version", "status", "environment", "spec")},
        "can_read": [
            f"{name}: {', '.join(grant.read_fields) or 'nothing is kept'}"
            for name, grant in spec.tools.items()
            if grant.access == "read"
        ],
        "can_write": writes,
        "decides_alone": [name for name in writes if name not in waits],
        "always_waits": waits,
    }


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
    for row in await list_workflows(principal):
        if target in (str(row["id"]), row["slug"]):
            return str(row["id"])
    raise Problem(404, "not_found", "There is no such workflow.")


async def list_kill_switches(principal: Principal, status: str | None) -> Any:
    return (await database().call(principal, "list_kill_switches_v1", {"status": status})).result


async def release(principal: Principal, switch_id: UUID, body: Release, once: Idempotency) -> Answer:
    args = {"id": switch_id, "reason": body.reason}
    return await database().call(principal, "release_kill_switch_v1", args, once)
