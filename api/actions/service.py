"""Proposing: facts, decision, and one call that records both or says that the rules have moved."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.actions.changes import changes_of
from api.actions.models import NewAction
from api.actions.record import basis_of, reasons_of, record_of
from api.actions.tokens import MoreAskedError, with_values
from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.directory.service import questions_of
from api.errors import Problem
from api.gate.decide import decide
from api.gate.lookups import keys_of
from api.gate.models import Decision, Facts, Outcome, Proposal, Proposer
from api.gate.pseudonyms import Pseudonyms
from api.ids import new_id
from api.pagination import PageRequest
from api.sql import query
from api.workflows import facts as workflow_facts
from api.workflows.shown import hidden_in, hiding

#: A decision is made anew when the epoch, the run or a limit moved; after so many the client is told to come back.
TRIES = 5
#: States in which nothing more happens by itself.
SETTLED = {
    "succeeded",
    "failed",
    "rejected",
    "expired",
    "superseded",
    "cancelled",
    "denied",
    "dead_letter",
    "unknown",
}
#: What of a decision may hold values that the agent is shown as tokens.
DECIDED_ON = (
    "decision.findings.message", "decision.risk", "decision.grounds.where", "decision.signals.excerpt",
    "decision.limits.key",
)  # fmt: skip
#: And of an action. The rationale is the agent's own, and stays.
HOLDS_VALUES = (
    *DECIDED_ON, "args", "status_reason", "moved", "approvals.reason", "attempts.request", "attempts.response",
    "attempts.error", "attempts.late_answer.response", "attempts.late_answer.error",
)  # fmt: skip


def well_formed(proposal: Proposal, decision: Decision) -> None:
    """Refuses what is no proposal at all: an unknown tool, or arguments that are not the contract's.

    Raises Problem 422 with every violation; nothing is recorded.
    """
    broken = [f for f in decision.findings if f.check == "contract" and f.outcome is Outcome.DENY]
    if broken:
        errors = [{"pointer": f.pointer, "message": f.message} for f in broken]
        raise Problem(422, "contract_violation", broken[0].message, errors)


def proposal_of(body: NewAction, proposer: Proposer) -> Proposal:
    """The proposal that a request is, in its proposer's name."""
    return Proposal(
        run_id=body.run_id,
        tool=body.tool,
        args=body.args,
        confidence=body.confidence,
        rationale=body.rationale,
        citations=body.citations,
        evidence=[e.model_dump(mode="json") for e in body.evidence],
        subject=body.subject.model_dump(mode="json") if body.subject else None,
        principal=proposer,
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """How a decision is recorded: by which function, which permission that asks for, and with which arguments.

    arguments: may raise a Problem to refuse the decision instead.
    """

    function: str
    permission: str
    arguments: Callable[[Proposal, Facts, Decision, datetime], dict[str, Any]]


async def decide_and_record(
    principal: Principal,
    workflow: str,
    asked: workflow_facts.Asked,
    propose: Callable[[Proposer], Proposal],
    recording: Recording,
    once: Idempotency | None,
) -> Answer:
    """Decides on the facts in memory and records under their epoch; decides anew on the facts a refusal brings.

    Warm: one round trip; two when the run, the epoch or somebody whom the proposal names is not in memory. Raises
    Problem 422 for what is refused on current facts, 409 `epoch_moved` when what it rests on changes faster than it is
    decided; but a request that was answered before gets its stored answer. Tokens in its arguments become values
    (api/actions/tokens.py).
    """

    def prepare(facts: Facts, proposer: Proposer) -> dict[str, Any]:
        proposal, now = with_values(propose(proposer), facts, asked), datetime.now(UTC)
        decision = decide(proposal, facts, now)
        well_formed(proposal, decision)
        return recording.arguments(proposal, facts, decision, now)

    try:
        _, proposer, arguments = await workflow_facts.judge(principal, workflow, prepare, asked)
        for _ in range(TRIES):
            answer = await database().call(principal, recording.function, arguments, once)
            if answer.result.get("recorded") is not False:
                return answer
            arguments = prepare(*workflow_facts.keep(principal, workflow, answer.result, asked, proposer))
    except MoreAskedError as more:
        return await decide_and_record(principal, workflow, more.asked, propose, recording, once)
    except Problem:
        stored = await database().stored(principal, recording.permission, once)
        if stored is None:
            raise
        return stored
    raise Problem(409, "epoch_moved", "What this rests on changed while it was decided, several times; try again.")


async def propose(principal: Principal, body: NewAction, once: Idempotency) -> Answer:
    """Records a proposal with its decision; the answer is the action, with tokens where the workflow shows them."""
    recording = Recording("record_action_v1", "actions.propose", record_of)
    return await _decided(principal, body, recording, once)


async def evaluate(principal: Principal, body: NewAction, once: Idempotency) -> Answer:
    """The decision on a proposal that nobody acts on; only the evaluation is recorded."""

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        return {
            "id": new_id(),
            "workflow_id": facts.workflow.id,
            "run_id": proposal.run_id,
            "epoch": facts.epoch,
            "basis": basis_of(facts),
            "keys": questions_of(keys_of(proposal.args)),
            "proposal": proposal.model_dump(mode="json"),
            "decision": decision.model_dump(mode="json"),
            "reasons": reasons_of(decision),
        }

    recording = Recording("record_evaluation_v1", "actions.propose", arguments)
    return await _decided(principal, body, recording, once)


async def _decided(principal: Principal, body: NewAction, recording: Recording, once: Idempotency | None) -> Answer:
    asked = workflow_facts.Asked.by(body.run_id, body.args)
    answer = await decide_and_record(principal, body.workflow, asked, lambda p: proposal_of(body, p), recording, once)
    if principal.kind != "service":
        return answer
    facts, _ = await workflow_facts.get(principal, body.workflow)  # in memory: it was just decided on
    hidden = facts.workflow.spec.hidden
    if not hidden:
        return answer
    run = workflow_facts.Asked(body.run_id)
    facts, _, _ = await workflow_facts.judge(principal, body.workflow, lambda facts, _: facts, run)
    hide = Pseudonyms.of(facts.run, hidden).hide
    return Answer(hidden_in(answer.result, DECIDED_ON, hide), answer.replayed)


async def get(principal: Principal, action_id: UUID) -> dict[str, Any]:
    """The action with its decision, exception, approvals and attempts; Problem 404 when the tenant has no such.

    With tokens for a key whose workflow shows them.
    """
    return await _shown(principal, await _read(principal, action_id))


async def wait(principal: Principal, action_id: UUID, seconds: float) -> dict[str, Any]:
    """As `get`, but waits for the action to settle, or for a change of its status, for up to the given seconds."""
    deadline = time.monotonic() + seconds
    first = row = await _read(principal, action_id)
    while row["status"] not in SETTLED and row["status"] == first["status"] and time.monotonic() < deadline:
        await asyncio.sleep(0.25)
        row = await _read(principal, action_id)
    return await _shown(principal, row)


async def _read(principal: Principal, action_id: UUID) -> dict[str, Any]:
    async with database().tenant_transaction(principal, "actions.read") as connection:
        row: dict[str, Any] | None = await (
            await connection.execute(query("actions/get_action"), {"id": action_id})
        ).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such action.")
    return row


async def _shown(principal: Principal, row: dict[str, Any]) -> dict[str, Any]:
    # An agent may have been shown tokens of what was read; it is told where something changed.
    changes, not_read = changes_of(row.pop("around"), values=principal.kind != "service")
    hide = await hiding(principal, row["workflow"], row["run_id"], row.pop("pseudonyms"))
    told = row if hide is None else hidden_in(row, HOLDS_VALUES, hide)
    return told | {"changes": changes, "not_read": not_read}


async def list_actions(
    principal: Principal,
    page: PageRequest,
    status: str | None,
    run_id: UUID | None,
    *,
    workflow: str | None = None,
    tool: str | None = None,
    effect: str | None = None,
) -> dict[str, Any]:
    """Actions, newest first, narrowed by whatever is not None."""
    parameters = page.key() | {
        "status": status, "run_id": run_id, "workflow": workflow, "tool": tool, "effect": effect,
    }  # fmt: skip
    async with database().tenant_transaction(principal, "actions.read") as connection:
        rows = await (await connection.execute(query("actions/list_actions"), parameters)).fetchall()
    return page.page(rows, "created_at", "id")


async def cancel(principal: Principal, action_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Cancels what has not started; 409 for what has."""
    return await database().call(principal, "cancel_action_v1", {"id": action_id, "reason": reason}, once)
