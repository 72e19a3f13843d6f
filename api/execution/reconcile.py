"""Closes what nobody knows the end of: by reading the world back, or with what a person found out."""

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


async def _read_back(principal: Principal, action_id: UUID) -> str:
    async with database().tenant_transaction(principal, "actions.reconcile") as connection:
        row = await (await connection.execute(query("execution/unknown_action"), {"id": action_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such action.")
    if row["status"] != "unknown":
        detail = f"The action is {row['status']}; only an unknown outcome is reconciled."
        raise Problem(409, "not_unknown", detail)
    tools = (await database().call(principal, "list_tools_v1", {"name": row["tool"]})).result
    contract = Contract.model_validate(tools[0])
    read_back = contract.read_back
    if read_back is None:
        raise Problem(409, "no_read_back", "This tool cannot be read back; say what the outcome is.")
    args = read_back_args(contract, row["args"], row["idempotency_key"])
    asking = principal.claims.get("sub") or principal.claims.get("key_id")
    observer = system(row["tenant_id"], "reconcile", {"kind": principal.kind, "id": asking})
    seen = await runs.observe(observer, row["run_id"], NewObservation(tool=read_back.tool, args=args), None)
    if seen.result["status"] != "succeeded" or not read_back_found(
        contract, row["args"], row["idempotency_key"], seen.result["result"]
    ):
        raise Problem(
            409,
            "not_found_at_provider",
            "The provider shows no trace of it; if you are sure, say that it failed.",
        )
    return "succeeded"
