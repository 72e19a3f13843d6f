"""Undoing what was done: the contract's own compensating call, proposed like any other action."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.actions.record import record_of
from api.actions.service import Recording, decide_and_record
from api.auth import Principal, system
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.execution.undo_args import (
    Known,
    UnmadeError,
    differences,
    left_behind,
    names_of,
    read_args,
    strings,
    undo_args,
)
from api.gate.models import Contract, Decision, Facts, Outcome, Proposal, Proposer
from api.privacy.sealing import opened_reads
from api.runs import service as runs
from api.runs.models import NewObservation
from api.workflows import facts as workflow_facts


@dataclass(frozen=True, slots=True)
class Undo:
    """An undo that may be proposed: its tool and arguments, and the observations that they were made from."""

    tool: str
    args: dict[str, Any]
    evidence: list[dict[str, Any]]


async def compensate(principal: Principal, action_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Proposes the undo of an action that succeeded; the answer is the undo, an action of its own.

    Raises Problem 404 without such an action, 409 when it cannot be undone: `not_succeeded`, `outcome_unknown`,
    `undo_under_way`, `undone_already`, `undo_of_undo`, `no_compensating_tool`, `irreversible`, `undo_not_granted`,
    `workflow_version_moved`, `changed_since`, `state_not_kept`, `state_not_read`, `undo_not_made`, or
    `kill_switch_engaged`.
    """
    stored = await database().stored(principal, "actions.propose", once)
    if stored is not None:
        return stored
    return await propose_undo(principal, action_id, reason, once=once)


async def described(principal: Principal, action_id: UUID | str) -> dict[str, Any]:
    """Everything that an undo of this action is made of, as describe_undo_v1 says."""
    done: dict[str, Any] = opened_reads(
        (await database().call(principal, "describe_undo_v1", {"id": action_id})).result
    )
    return done


async def propose_undo(
    principal: Principal,
    action_id: UUID | str,
    reason: str,
    *,
    once: Idempotency | None = None,
    plan: dict[str, Any] | None = None,
) -> Answer:
    """As `compensate`; with a plan it is that plan's step, proposed by whoever asked for the plan: {plan_id, asked}."""
    done = await described(principal, action_id)
    undo = await _made(principal, done)

    def propose(proposer: Proposer) -> Proposal:
        return Proposal(
            run_id=done["run_id"],
            tool=undo.tool,
            args=undo.args,
            # Nothing here was guessed: the arguments are those of the contract, out of what was recorded.
            confidence=1.0,
            rationale=f"Undoes the action {action_id} ({done['tool']}): {reason}",
            citations=[],
            evidence=undo.evidence,
            subject=done["subject"],
            principal=Proposer.model_validate(plan["asked"]) if plan else proposer,
        )

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        if any(f.check == "kill_switch" and f.outcome is Outcome.DENY for f in decision.findings):
            raise Problem(409, "kill_switch_engaged", "A kill switch covers the undo; release it first, then undo.")
        recorded = {"action_id": action_id, "action": record_of(proposal, facts, decision, now)}
        return recorded | ({"plan_id": plan["plan_id"]} if plan else {})

    recording = Recording("compensate_action_v1", "actions.propose", arguments)
    asked = workflow_facts.Asked.by(UUID(done["run_id"]), undo.args)
    return await decide_and_record(principal, done["workflow"], asked, propose, recording, once)


async def _made(principal: Principal, done: dict[str, Any]) -> Undo:
    """The undo of an action, as the world is now; Problem 409 says why there is none."""
    contract = Contract.model_validate(done["contract"])
    _undoable(done, contract)
    compensation = contract.compensate
    if compensation is None:
        raise _irreversible(contract)
    await _granted(principal, done["workflow"], compensation.tool, contract.state.tool if contract.state else None)
    now = await _unchanged(done, contract)
    known = Known(
        args=done["args"],
        names=names_of(contract),
        result=done["result"],
        before=(done["before"] or {}).get("result"),
        now=now.get("result"),
    )
    try:
        args = undo_args(compensation.args, known)
    except UnmadeError as error:
        raise Problem(409, "undo_not_made", f"{error} Undo it by hand.") from error
    seen = [one["id"] for one in (done["before"], done["after"], now) if one]
    return Undo(compensation.tool, args, [{"observation_id": str(one)} for one in seen])


def _undoable(done: dict[str, Any], contract: Contract) -> None:
    if done["compensates"] is not None:
        raise Problem(409, "undo_of_undo", "This action is an undo itself; propose again what it has undone.")
    if done["undo"] is not None:
        undo = done["undo"]
        code = "undone_already" if undo["status"] == "succeeded" else "undo_under_way"
        raise Problem(409, code, f"The action {undo['id']} is the undo of it, and is {undo['status']}.")
    if done["status"] == "unknown":
        detail = "Whether it happened is not known: reconcile it first, then undo it."
        raise Problem(409, "outcome_unknown", detail)
    if done["status"] != "succeeded":
        raise Problem(409, "not_succeeded", f"The action is {done['status']}; only what succeeded is undone.")
    if contract.compensate is not None and done["workflow_moved"]:
        raise Problem(
            409,
            "workflow_version_moved",
            "The workflow went live with a new version since; undo it in a new run, or by hand.",
        )


def obstacle(done: dict[str, Any], granted: Callable[[str], bool]) -> Problem | None:
    """What keeps an action from being undone, as far as is known without asking its provider; None when nothing does.

    done: as `described`. granted: whether the workflow may use a tool.
    """
    contract = Contract.model_validate(done["contract"])
    try:
        _undoable(done, contract)
        if contract.compensate is None:
            raise _irreversible(contract)
        for tool in (contract.compensate.tool, contract.state.tool if contract.state else None):
            if tool is not None and not granted(tool):
                raise _not_granted(tool, done["workflow"])
        if contract.state is not None and left_by(done, contract)[1] is None:
            raise _not_kept()
    except Problem as problem:
        return problem
    return None


def _not_granted(tool: str, workflow: str) -> Problem:
    detail = f"Undoing it takes {tool}, which the workflow {workflow} may not use; undo it by hand."
    return Problem(409, "undo_not_granted", detail)


def _not_kept() -> Problem:
    detail = "What the action left behind was not read, or is not kept any more, so a later change would go unseen."
    return Problem(409, "state_not_kept", f"{detail} Undo it by hand.")


def _irreversible(contract: Contract) -> Problem:
    if contract.effect == "money_movement":
        detail = (
            f"{contract.title}: its contract names no call that takes this back. What still waits at the provider, a "
            "person may be able to stop there. Money that has left is not called back: ask whoever received it, or "
            "propose the tool that pays back, which is a payment of its own."
        )
        return Problem(409, "irreversible", detail)
    if not contract.reversible:
        detail = f"{contract.title}: the provider has no call that takes this back. Put it right by hand."
        return Problem(409, "irreversible", detail)
    detail = f"{contract.title}: its contract names no call that undoes it. Propose the change that puts it right."
    return Problem(409, "no_compensating_tool", detail)


async def _granted(principal: Principal, workflow: str, *tools: str | None) -> None:
    def verdict(facts: Facts, _: Proposer) -> None:
        for tool in filter(None, tools):
            if tool not in facts.workflow.spec.tools or tool not in facts.contracts:
                raise _not_granted(tool, workflow)

    await workflow_facts.judge(principal, workflow, verdict)


def left_by(done: dict[str, Any], contract: Contract) -> tuple[Any, dict[str, Any] | None]:
    """What an action left behind, and the arguments by which that is read; (None, None) where nothing of it is kept.

    Where the read after the write failed or is still to come, it is what was there before, or nothing where it created
    something, with what the action was asked to change.
    """
    state, after, before = contract.state, done["after"], done["before"]
    if state is None or any(one is not None and one.get("erased_at") for one in (after, before)):
        return None, None
    if after is not None:
        return after["result"], after["args"]
    if before is not None:
        left = left_behind(contract, done["args"], before["result"])
        return left, None if left is None else before["args"]
    try:
        args = read_args(state.args, Known(done["args"], names_of(contract), done["result"]))
    except UnmadeError:
        return None, None
    # Without a placeholder of its answer it changed something, and what that was is not known.
    created = any("{result/" in text for text in strings(state.args))
    left = left_behind(contract, done["args"], {}) if created else None
    return left, None if left is None else args


async def _unchanged(done: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """The state as it is now, as an observation; empty where the contract has none.

    Raises Problem 409 when it is not what the action left behind: an undo does not overwrite what others did later.
    """
    state = contract.state
    if state is None:
        return {}
    left, args = left_by(done, contract)
    if args is None:
        raise _not_kept()
    reader = system(done["tenant_id"], "compensate")
    body = NewObservation(tool=state.tool, args=args)
    seen = (await runs.observe(reader, done["run_id"], body, None, runs.ForAction(done["id"], "premise"))).result
    if seen["status"] != "succeeded":
        detail = f"What is there now could not be read ({seen['error']}), so a later change would go unseen."
        raise Problem(409, "state_not_read", f"{detail} Try again, or undo it by hand.")
    moved = differences(state.fields, left, seen["result"])
    if moved:
        detail = "Somebody has changed it since, and the undo would overwrite that. Look at it, and undo it by hand."
        raise Problem(409, "changed_since", detail, [{"pointer": p, "message": "This changed since."} for p in moved])
    return dict(seen)
