"""Proposes an action again, because what it rests on reads differently now."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.actions.record import record_of
from api.actions.service import Recording, decide_and_record
from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.gate.models import Decision, Facts, Proposal, Proposer
from api.sql import query
from api.workflows import facts as workflow_facts


async def repropose(executor: Principal, claimed: dict[str, Any], moved: list[dict[str, Any]]) -> dict[str, Any]:
    """Lets a new action with the same payload take the place of this one, decided on the world as it is now.

    The attempt that is claimed ends unsent. Answers {status} of the action, which is `superseded`, and {superseded_by}.
    Raises Problem, or what the database refuses, when it cannot be proposed again; then nothing has changed.
    """
    async with database().tenant_transaction(executor, "actions.read") as connection:
        cursor = await connection.execute(query("execution/reproposed"), {"id": claimed["action_id"]})
        old = await cursor.fetchone()
    if old is None:
        raise Problem(404, "not_found", "There is no such action.")
    reason = "What it was decided on has changed; it was proposed again."

    def propose(_: Proposer) -> Proposal:
        return Proposal(
            run_id=old["run_id"],
            tool=old["tool"],
            args=old["args"],
            confidence=old["confidence"],
            rationale=old["rationale"],
            citations=old["citations"],
            evidence=old["evidence"],
            subject=old["subject"],
            principal=Proposer.model_validate(old["proposed_by"]),
            edited_by=old["edited_by"],
            moved=moved,
        )

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        fenced = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"]}
        return fenced | {"reason": reason, "action": record_of(proposal, facts, decision, now)}

    recording = Recording("repropose_action_v1", "actions.execute", arguments)
    asked = workflow_facts.Asked.by(UUID(str(old["run_id"])), old["args"])
    answer = await decide_and_record(executor, old["workflow"], asked, propose, recording, None)
    return {"claimed": True, "status": "superseded", "superseded_by": answer.result["id"]}
