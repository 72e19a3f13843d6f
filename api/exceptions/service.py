"""The human queue: what waits, and the verdicts on it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from api.actions.record import record_of
from api.actions.service import Recording, decide_and_record
from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.exceptions.models import NewComment, Repropose, Verdict
from api.gate.models import Decision, Facts, Outcome, Proposal, Proposer
from api.ids import new_id
from api.pagination import PageRequest
from api.privacy.sealing import opened_run
from api.sql import query
from api.workflows import facts as workflow_facts

#: An approval carries its action for this long; execution normally follows within seconds.
APPROVAL_HOURS = 24


#: How far back the recurrence of an exception's class is counted.
RECURRENCE_DAYS = 90


async def list_exceptions(
    principal: Principal, page: PageRequest, status: str | None, class_key: str | None, kind: str | None
) -> dict[str, Any]:
    parameters = page.key() | {"status": status, "class_key": class_key, "kind": kind}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        rows = await (await connection.execute(query("exceptions/list_exceptions"), parameters)).fetchall()
    return page.page(rows, "created_at", "id")


async def list_classes(principal: Principal, days: int, limit: int) -> dict[str, Any]:
    """Classes of the exceptions of the last `days`, the most frequent first."""
    parameters = {"days": days, "limit": limit + 1}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        rows = await (await connection.execute(query("exceptions/list_classes"), parameters)).fetchall()
    return {"days": days, "items": rows[:limit], "has_more": len(rows) > limit}


async def get(principal: Principal, exception_id: UUID) -> dict[str, Any]:
    parameters = {"id": exception_id, "days": RECURRENCE_DAYS}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        cursor = await connection.execute(query("exceptions/get_exception"), parameters)
        row = await cursor.fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such exception.")
    return opened_run(row)


async def decide(principal: Principal, exception_id: UUID, body: Verdict, once: Idempotency) -> Answer:
    """A person's verdict.

    Raises Problem 409 for another digest than the one shown, or when it was decided already; 403 for who proposed or
    edited the payload, has no role that was asked for, or needs a second factor.
    """
    if body.verdict == "edit":
        return await _edit(principal, exception_id, body, once)
    args = {
        "id": exception_id,
        "approval_id": new_id(),
        "verdict": body.verdict,
        "digest": body.digest,
        "reason": body.reason,
        "provider_reference": body.provider_reference,
        "approval_expires_at": datetime.now(UTC) + timedelta(hours=APPROVAL_HOURS),
    }
    return await database().call(principal, "decide_exception_v1", args, once)


async def _edit(principal: Principal, exception_id: UUID, body: Verdict, once: Idempotency) -> Answer:
    """Replaces the payload by an edited one, which goes through every check again and needs somebody else's approval.

    Raises Problem 422 `edit_denied` when the gate would deny it; then nothing changes.
    """
    old = await get(principal, exception_id)
    if old["kind"] == "manual":
        raise Problem(409, "manual_only", "This was stopped: it is done by hand, rejected, or proposed again.")

    def propose(_: Proposer) -> Proposal:
        return Proposal(
            run_id=old["run_id"],
            tool=old["tool"],
            args=body.args or {},
            confidence=old["confidence"],
            rationale=old["rationale"],
            citations=old["citations"],
            evidence=old["evidence"],
            subject=old["subject"],
            principal=Proposer.model_validate(old["proposed_by"]),
            edited_by=UUID(principal.claims["sub"]) if principal.kind == "user" else None,
        )

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        if decision.outcome is Outcome.DENY:
            errors = [
                {"pointer": f.pointer, "message": f.message} for f in decision.findings if f.outcome is Outcome.DENY
            ]
            raise Problem(422, "edit_denied", "The gate denies the edited payload; nothing was changed.", errors)
        return {
            "exception_id": exception_id,
            "digest": body.digest,
            "reason": body.reason,
            "action": record_of(proposal, facts, decision, now),
        }

    recording = Recording("edit_exception_v1", "exceptions.decide", arguments)
    asked = workflow_facts.Asked.by(old["run_id"], body.args or {})
    return await decide_and_record(principal, old["workflow"], asked, propose, recording, once)


async def repropose(principal: Principal, exception_id: UUID, body: Repropose, once: Idempotency) -> Answer:
    """Proposes again, in the person's own name, what a kill switch stopped: through every check, as any proposal.

    The answer is the new action, and the exception is answered with it. While the switch is engaged that one is denied,
    too, and waits in the manual queue in its turn.
    """
    old = await get(principal, exception_id)

    def propose(proposer: Proposer) -> Proposal:
        return Proposal(
            run_id=old["run_id"],
            tool=old["tool"],
            args=old["args"],
            confidence=old["confidence"],
            rationale=old["rationale"],
            citations=old["citations"],
            evidence=old["evidence"],
            subject=old["subject"],
            principal=proposer,
        )

    def arguments(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
        action = record_of(proposal, facts, decision, now)
        return {"exception_id": exception_id, "digest": body.digest, "reason": body.reason, "action": action}

    recording = Recording("repropose_exception_v1", "exceptions.decide", arguments)
    asked = workflow_facts.Asked.by(old["run_id"], old["args"])
    return await decide_and_record(principal, old["workflow"], asked, propose, recording, once)


async def assign(principal: Principal, exception_id: UUID, user_id: UUID | None, once: Idempotency) -> Answer:
    return await database().call(principal, "assign_exception_v1", {"id": exception_id, "user_id": user_id}, once)


async def comment(principal: Principal, exception_id: UUID, body: NewComment, once: Idempotency) -> Answer:
    """Says something about an exception, open or decided, to the people of the tenant.

    Raises Problem 404 for an exception that is not there, and 409 `erased` for one whose run is.
    """
    args = {"id": new_id(), "exception_id": exception_id, "text": body.text}
    answer = await database().call(principal, "comment_exception_v1", args, once)
    # The database keeps no text with its answers; this request's own is what the first one said, too.
    told = {"name": None, "erased_at": None} | answer.result | {"text": body.text}
    return Answer(told, answer.replayed)


async def list_comments(principal: Principal, exception_id: UUID) -> list[dict[str, Any]]:
    """The last 50 comments on an exception, oldest first. Raises Problem 404, and 403 for whoever is no person."""
    newest: list[dict[str, Any]] = (
        await page_of_comments(principal, exception_id, PageRequest(limit=50, cursor=None))
    )["items"]
    return newest[::-1]


async def page_of_comments(principal: Principal, exception_id: UUID, page: PageRequest) -> dict[str, Any]:
    """Comments on an exception, newest first."""
    if principal.kind != "user":
        raise Problem(403, "people_only", "Comments are among people; a key does not read them.")
    parameters = page.key() | {"id": exception_id}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        rows = await (await connection.execute(query("exceptions/list_comments"), parameters)).fetchall()
    if not rows:
        raise Problem(404, "not_found", "There is no such exception.")
    return page.page([row for row in rows if row["id"]], "created_at", "id")
