"""Dead letters: what was not done and is not tried again by itself, and what people do about it."""

from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg

from api.actions.record import line_of, record_of
from api.actions.service import Recording, decide_and_record
from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem, from_database
from api.gate.models import Contract, Decision, Facts, Outcome, Proposal, Proposer
from api.pagination import PageRequest
from api.workflows import facts as workflow_facts

_SHOWN_OF_ERROR = 300


async def list_dead_letters(
    principal: Principal, page: PageRequest, workflow: str | None, tool: str | None, older_than: int | None
) -> dict[str, Any]:
    """Dead letters, the newest first; older_than: only those that have been dead for so many seconds."""
    args = page.key() | {"workflow": workflow, "tool": tool, "older_than": older_than}
    rows = (await database().call(principal, "list_dead_letters_v1", args)).result
    shown = [_line(row) | {"dead_since": datetime.fromisoformat(row["dead_since"])} for row in rows]
    return page.page(shown, "dead_since", "id")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """A dead letter with what it was about, and why it ended, in one line."""
    about = line_of(Contract.model_validate(row["contract"]), row["args"])
    error = " ".join((row["error"] or "It was not done.").split())[:_SHOWN_OF_ERROR]
    return row | {"summary": f"{about}. {error}"}


async def get(principal: Principal, action_id: UUID) -> dict[str, Any]:
    """One dead letter with every attempt, why it ended, and what can be done now; Problem 404 without such a one."""
    row = (await database().call(principal, "describe_dead_letter_v1", {"id": action_id})).result
    return _line(row) | {"options": _options(row)}


def _options(row: dict[str, Any]) -> dict[str, Any]:
    moved = [str(one["message"]) for one in row["moved"]]
    if any(one["what"] == "workflow_version" for one in row["moved"]):
        requeue = {"how": "not", "message": "The workflow has a new version: cancel this, and propose it in a new run."}
    elif moved:
        requeue = {"how": "again", "message": f"{' '.join(moved)} It goes through the gate again, as a new action."}
    else:
        requeue = {"how": "as_is", "message": "Nothing has moved: it is tried again as it was decided."}
    cancel = "It is never done, and its share of the limits is free again."
    if row["maybe_happened"]:
        cancel = "An attempt may have had its effect: look at the provider before you cancel it."
    return {"requeue": requeue, "cancel": {"message": cancel}}


async def requeue(principal: Principal, action_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Takes an action out of the dead letters, with fresh attempts.

    Where something has moved that its authorization rests on, it is decided anew, as a new action that takes its
    place. Raises Problem 404 without such a dead letter, 403 for who is no person, 409 `workflow_version_moved` when
    only a new run can propose it again, `requeue_denied` when the gate would deny it now; then nothing changes.
    """
    stored = await database().stored(principal, "actions.requeue", once)
    if stored is not None:
        return stored
    letter = (await database().call(principal, "describe_dead_letter_v1", {"id": action_id})).result
    if not letter["moved"]:
        return await database().call(principal, "requeue_action_v1", {"id": action_id, "reason": reason}, once)
    if any(one["what"] == "workflow_version" for one in letter["moved"]):
        detail = "The workflow went live with a new version since: cancel this, and propose it again in a new run."
        raise Problem(409, "workflow_version_moved", detail)
    return await _repropose(principal, letter, reason, once)


async def _repropose(principal: Principal, letter: dict[str, Any], reason: str, once: Idempotency) -> Answer:
    """Decides the same payload anew, in its proposer's name, on what is so now."""

    def propose(_: Proposer) -> Proposal:
        return Proposal(
            run_id=letter["run_id"],
            tool=letter["tool"],
            args=letter["args"],
            confidence=letter["confidence"],
            rationale=letter["rationale"],
            citations=letter["citations"],
            evidence=letter["evidence"],
            subject=letter["subject"],
            principal=Proposer.model_validate(letter["proposed_by"]),
            edited_by=letter["edited_by"],
        )

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        if decision.outcome is Outcome.DENY:
            denied = [f for f in decision.findings if f.outcome is Outcome.DENY]
            errors = [{"pointer": f.pointer, "message": f.message} for f in denied]
            raise Problem(409, "requeue_denied", "The gate denies it as things are now; nothing was changed.", errors)
        action = record_of(proposal, facts, decision, now) | {"moved": letter["moved"]}
        return {"action_id": letter["id"], "reason": reason, "action": action}

    recording = Recording("repropose_dead_letter_v1", "actions.requeue", arguments)
    asked = workflow_facts.Asked.by(UUID(letter["run_id"]), letter["args"])
    return await decide_and_record(principal, letter["workflow"], asked, propose, recording, once)


async def requeue_many(principal: Principal, ids: list[UUID], reason: str, once: Idempotency) -> Answer:
    """Requeues each of them, and says of each what came of it: {id, ok, status, action_id} or {id, ok, code, detail}.

    What cannot be requeued does not keep the others. Repeated under the same key it gives the same answer, and one
    that was cut short goes on where it was.
    """
    stored = await database().stored(principal, "actions.requeue", once)
    if stored is not None:
        return stored
    results = []
    for action_id in dict.fromkeys(ids):
        # A key of its own each, so that what was requeued before a crash is not refused after it.
        key = sha256(f"{once.key}\n{action_id}".encode()).hexdigest()
        try:
            answer = await requeue(principal, action_id, reason, Idempotency(f"requeue:{key}", once.request))
            done = {"ok": True, "status": answer.result["status"], "action_id": answer.result["id"]}
        except psycopg.Error as error:
            done = _refused(from_database(error))
        except Problem as error:
            done = _refused(error)
        results.append({"id": str(action_id)} | done)
    return await database().call(principal, "note_requeues_v1", {"results": results}, once)


def _refused(problem: Problem) -> dict[str, Any]:
    # Who may not do this at all is told so once, and nothing of it is kept as an answer.
    if problem.status_code in (401, 403) or problem.status_code >= 500:
        raise problem
    return {"ok": False, "code": problem.code, "detail": str(problem.detail)}
