"""The human queue: what waits, and the verdicts on it."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg

from api.actions.record import record_of
from api.actions.service import Recording, decide_and_record
from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem, from_database
from api.exceptions import inbox
from api.exceptions.models import Asked, NewComment, Recipients, Repropose, Verdict, Verdicts
from api.exceptions.recipients import MOST, SIZE, recipients_of
from api.exceptions.recipients import objected as objected
from api.gate.models import HARD_GATES, Decision, Facts, Outcome, Proposal, Proposer
from api.ids import new_id
from api.pagination import PageRequest
from api.privacy.sealing import shown_run
from api.sql import query
from api.workflows import facts as workflow_facts

#: An approval carries its action for this long; execution normally follows within seconds.
APPROVAL_HOURS = 24


#: How far back the recurrence of an exception's class is counted.
RECURRENCE_DAYS = 90


async def list_exceptions(principal: Principal, page: PageRequest, asked: Asked) -> dict[str, Any]:
    """The queue as it is asked for, one page of it. A cursor goes with the order that it came from."""
    parameters = inbox.key(asked, page) | inbox.parameters(asked, principal)
    statement = inbox.statement(asked, query("exceptions/list_exceptions"))
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        # The statement is put together from words of this module's own, never from a request's.
        rows = await (await connection.execute(statement, parameters)).fetchall()
    return inbox.cut(asked, page, rows)


async def recipients(principal: Principal, ids: list[UUID]) -> dict[UUID, Recipients]:
    """Whom these go to, by what the directory knows now; nothing of those that name nobody, or are erased.

    For people alone: a key is answered tokens instead of values.
    """
    if not ids or principal.kind != "user":
        return {}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        asked = {"ids": ids, "most": MOST, "size": SIZE}
        return recipients_of(await (await connection.execute(query("exceptions/recipients"), asked)).fetchall())


async def count(principal: Principal) -> dict[str, int]:
    """How many exceptions are open: all of them, the person's own, and those of nobody."""
    parameters = {"user_id": principal.claims["sub"] if principal.kind == "user" else None}
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        row = await (await connection.execute(query("exceptions/count_open"), parameters)).fetchone()
    return dict(row or {})


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
    return shown_run(row)


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


async def require_alike(principal: Principal, class_key: str, ids: list[UUID]) -> dict[UUID, Any]:
    """Refuses what is not decided together: each case of a hard gate is looked at by itself, and so are unlike ones.

    Answers the arguments of each. Raises Problem 404 `not_found`, 422 `mixed_classes` and 422 `hard_gate`.
    """
    async with database().tenant_transaction(principal, "exceptions.decide") as connection:
        rows = await (await connection.execute(query("exceptions/together"), {"ids": ids})).fetchall()
    if len(rows) < len(ids):
        raise Problem(404, "not_found", "One of these exceptions does not exist. Load the queue again.")
    if any(row["class_key"] != class_key or row["kind"] != "approval" for row in rows):
        raise Problem(
            422, "mixed_classes",
            "These exceptions are not all of one class, so one reason cannot be true of all. Decide them one by one.",
        )  # fmt: skip
    if any(row["gated"] or row["effect"] in HARD_GATES for row in rows):
        raise Problem(
            422, "hard_gate",
            "What these would do can harm and may not be undone, so each is decided by itself. Open them one by one.",
        )  # fmt: skip
    return {row["id"]: row["args"] for row in rows}


async def decide_together(principal: Principal, body: Verdicts, once: Idempotency) -> list[dict[str, Any]]:
    """One verdict on several exceptions of one class: a decision for each, as `decide` makes it.

    Answers what became of each: {id, decided, problem, replayed}. Each has a key that follows from the request's and
    its own, so that the same request again decides nothing twice, and goes on where it was cut off. Raises what
    `require_alike` raises; then nothing was decided.
    """
    await require_alike(principal, body.class_key, [item.id for item in body.items])
    told = []
    for item in body.items:
        key = sha256(f"{once.key}\n{item.id}".encode()).hexdigest()
        verdict = Verdict(verdict=body.verdict, digest=item.digest, reason=body.reason)
        one: dict[str, Any] = {"id": item.id, "decided": None, "problem": None, "replayed": False}
        try:
            answer = await decide(principal, item.id, verdict, Idempotency(key, once.request))
            one |= {"decided": answer.result, "replayed": answer.replayed}
        except psycopg.Error as error:
            problem = from_database(error)
            one["problem"] = {"status": problem.status_code, "code": problem.code, "detail": problem.detail}
        told.append(one)
    return told


def to_execute(told: list[dict[str, Any]]) -> list[str]:
    """The actions that these decisions let run, and that are executed here: a client fetches a permit for its own."""
    actions = [one["decided"]["action"] for one in told if one["decided"] and not one["replayed"]]
    return [each["id"] for each in actions if (each["status"], each["executed_by"]) == ("authorized", "executor")]


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
