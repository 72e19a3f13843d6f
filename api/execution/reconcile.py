"""Closes what nobody knows the end of: by reading the world back, or with what a person found out."""

import logging
from typing import Any
from uuid import UUID

from api.auth import Principal, system
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.execution.models import Reconciliation
from api.gate.models import Contract
from api.providers.client import read_back_args, read_back_found
from api.runs import service as runs
from api.runs.models import NewObservation
from api.sql import query

log = logging.getLogger("countersign.reconcile")


async def reconcile(principal: Principal, action_id: UUID, body: Reconciliation, once: Idempotency) -> Answer:
    """Closes an unknown outcome.

    Without a verdict of the caller's, the provider is asked through the contract's read-back: what is found there has
    succeeded; what is not found stays unknown, because it may still be on its way, and a person decides.
    Raises Problem 404 without such an action, 409 when its outcome is not unknown, when there is no read-back, or when
    it found nothing.
    """
    outcome: str | None = body.outcome
    if outcome is None:
        stored = await database().stored(principal, "actions.reconcile", once)
        if stored is not None:
            return stored
        outcome = await _read_back(principal, action_id)
    args = {"id": action_id, "outcome": outcome, "reason": body.reason}
    return await database().call(principal, "reconcile_action_v1", args, once)


async def look_up(tenant_id: UUID | str, action_id: UUID | str) -> str:
    """Asks the provider, unasked, what became of an action; its status then.

    What the provider answered to an attempt after its lease, or shows now, has succeeded. What it does not show stays
    unknown, until the contract says that an absence is conclusive: then it is tried again, or has failed.
    """
    looking = system(tenant_id, "reconcile")
    row = await _unknown(looking, "actions.read", action_id)
    if row is None or row["status"] != "unknown":
        return row["status"] if row else "gone"
    if row["answered"]:
        # Whoever holds the fence of an attempt was told so by the provider; it is true however late it came.
        return await _succeeded(looking, action_id, "The provider answered after the lease: it was done.")
    contract = await _contract(looking, row)
    if contract.read_back is None:
        return "unknown"
    try:
        seen = await _look(looking, contract.read_back.tool, contract, row, action_id)
    except Problem as error:
        log.info("action %s was not read back: %s", action_id, error.code)
        return "unknown"
    if seen["status"] != "succeeded":
        return "unknown"
    if _found(contract, row, seen):
        return await _succeeded(looking, action_id, "The provider shows it: it was done.")
    after = contract.read_back.conclusive_after
    if after is None or contract.version != row["contract_version"] or (row["sent_ago"] or 0) <= after:
        return "unknown"
    absent = {"id": action_id, "observation_id": seen["id"]}
    reason = f"The provider shows no trace of it after {after} s, when it would: it was not done."
    result = (await database().call(looking, "settle_absent_v1", absent | {"reason": reason})).result
    return str(result["status"])


async def _succeeded(looking: Principal, action_id: UUID | str, reason: str) -> str:
    args = {"id": action_id, "outcome": "succeeded", "reason": reason}
    return str((await database().call(looking, "reconcile_action_v1", args)).result["status"])


async def _unknown(principal: Principal, permission: str, action_id: UUID | str) -> dict[str, Any] | None:
    async with database().tenant_transaction(principal, permission) as connection:
        return await (await connection.execute(query("execution/unknown_action"), {"id": action_id})).fetchone()


async def _contract(principal: Principal, row: dict[str, Any]) -> Contract:
    tools = (await database().call(principal, "list_tools_v1", {"name": row["tool"]})).result
    return Contract.model_validate(tools[0])


async def _look(
    observer: Principal, tool: str, contract: Contract, row: dict[str, Any], action_id: UUID | str
) -> dict[str, Any]:
    """The read-back, as an observation of the action's run, which may be over. Raises Problem as `observe` does."""
    args = read_back_args(contract, row["args"], row["idempotency_key"])
    serves = runs.ForAction(UUID(str(action_id)), "read_back")
    return dict(
        (await runs.observe(observer, row["run_id"], NewObservation(tool=tool, args=args), None, serves)).result
    )


def _found(contract: Contract, row: dict[str, Any], seen: dict[str, Any]) -> bool:
    return read_back_found(contract, row["args"], row["idempotency_key"], seen["result"])


async def _read_back(principal: Principal, action_id: UUID) -> str:
    row = await _unknown(principal, "actions.reconcile", action_id)
    if row is None:
        raise Problem(404, "not_found", "There is no such action.")
    if row["status"] != "unknown":
        detail = f"The action is {row['status']}; only an unknown outcome is reconciled."
        raise Problem(409, "not_unknown", detail)
    contract = await _contract(principal, row)
    if contract.read_back is None:
        raise Problem(409, "no_read_back", "This tool cannot be read back; say what the outcome is.")
    asking = principal.claims.get("sub") or principal.claims.get("key_id")
    observer = system(row["tenant_id"], "reconcile", {"kind": principal.kind, "id": asking})
    seen = await _look(observer, contract.read_back.tool, contract, row, action_id)
    if seen["status"] != "succeeded" or not _found(contract, row, seen):
        raise Problem(
            409,
            "not_found_at_provider",
            "The provider shows no trace of it; if you are sure, say that it failed.",
        )
    return "succeeded"
