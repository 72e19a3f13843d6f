"""Amendments: a rule from a decision, tried on what was decided, and put in force by a second person."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import rfc8785

from api.amendments.models import Adoption, NewAmendment, Tried
from api.amendments.narrowest import MAX_DAYS, Precedent, RefusedError, most_of, rule_for
from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.classes import ExceptionClass
from api.gate.models import Decision, Rule
from api.ids import new_id
from api.pagination import PageRequest
from api.replay import service as replay
from api.sql import query

#: Decisions that a rule is tried on, the newest ones.
TRIED_ON = 2000
PROPOSE = "amendments.propose"


async def propose(principal: Principal, exception_id: UUID, body: NewAmendment, once: Idempotency) -> Answer:
    """Proposes the narrowest rule that the decision on an exception speaks for, tried on what was decided.

    Raises Problem 404; 409 `not_decided`, `no_class`, `amendment_open`; 422 `nothing_to_lift` with every finding that
    no rule lifts and what else helps, `several_counterparties`, `bounds_too_wide`, `expiry_out_of_range`.
    """
    stored = await database().stored(principal, PROPOSE, once)
    if stored is not None:
        return stored
    precedent = await _precedent(principal, exception_id)
    rule = _rule(precedent, body)
    document = rule.model_dump(mode="json")
    args = {
        "id": precedent.amendment_id,
        "exception_id": precedent.exception_id,
        "kind": "loosen" if precedent.allows else "tighten",
        "rule": document,
        "payload": rfc8785.dumps(document).decode(),
        "reason": body.reason,
    }
    return await database().call(principal, "propose_amendment_v1", args | await _tried(principal, rule), once)


async def narrowest(principal: Principal, exception_id: UUID) -> dict[str, Any]:
    """The rule that `propose` would make of a decision when nothing else is asked for; raises what that raises."""
    precedent = await _precedent(principal, exception_id)
    return {
        "kind": "loosen" if precedent.allows else "tighten",
        "rule": _rule(precedent, NewAmendment(reason="(Your reason.)")).model_dump(mode="json"),
        "most": most_of(precedent),
        "latest": datetime.now(UTC) + timedelta(days=MAX_DAYS),
    }


def _rule(precedent: Precedent, body: NewAmendment) -> Rule:
    try:
        return rule_for(precedent, body.reason, datetime.now(UTC), body.bounds, body.expires_at)
    except RefusedError as error:
        errors = [{"finding": b.finding, "message": b.message, "helps": b.helps} for b in error.blockers]
        raise Problem(422, error.code, str(error), errors) from None


async def _precedent(principal: Principal, exception_id: UUID) -> Precedent:
    async with database().tenant_transaction(principal, PROPOSE) as connection:
        row = await (await connection.execute(query("amendments/precedent"), {"id": exception_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such exception.")
    if row["status"] not in ("approved", "rejected"):
        raise Problem(409, "not_decided", "An amendment begins with an exception that a person approved or rejected.")
    if row["class"] is None:
        raise Problem(409, "no_class", "The exception is from before classes were told apart.")
    return Precedent(
        amendment_id=new_id(),
        exception_id=row["id"],
        verdict=row["status"],
        found=ExceptionClass.model_validate(row["class"]),
        environment=row["environment"],
        decision=Decision.model_validate(row["decision"]),
        confidence=row["confidence"],
        most_approved=row["most_approved"],
        least_approved=row["least_approved"],
    )


async def _tried(principal: Principal, rule: Rule) -> dict[str, Any]:
    version, report = await replay.backtest_rule(principal, rule, TRIED_ON)
    return {"backtest": Tried.of(version, report).model_dump(mode="json"), "backtest_version": version}


async def list_amendments(
    principal: Principal, page: PageRequest, status: str | None, class_key: str | None
) -> dict[str, Any]:
    parameters = page.key() | {"status": status, "class_key": class_key}
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        rows = await (await connection.execute(query("amendments/list_amendments"), parameters)).fetchall()
    return page.page(rows, "created_at", "id")


async def get(principal: Principal, amendment_id: UUID) -> dict[str, Any]:
    """One amendment with its backtest; Problem 404 when the tenant has no such."""
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        row = await (await connection.execute(query("amendments/get_amendment"), {"id": amendment_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such amendment.")
    return row


async def backtest(principal: Principal, amendment_id: UUID, once: Idempotency) -> Answer:
    """Tries the rule again, beside the rules that are in force by now; 409 when it is decided already."""
    stored = await database().stored(principal, PROPOSE, once)
    if stored is not None:
        return stored
    rule = Rule.model_validate((await get(principal, amendment_id))["rule"])
    args = {"id": amendment_id} | await _tried(principal, rule)
    return await database().call(principal, "record_amendment_backtest_v1", args, once)


async def adopt(principal: Principal, amendment_id: UUID, body: Adoption, once: Idempotency) -> Answer:
    """Puts the rule in force.

    Raises Problem 409: `second_person_needed`, `backtest_outdated`, `digest_mismatch`, `already_decided`,
    `contradicts_people` with every decision of a person that it goes against, unless that is acknowledged; 412 when
    another version is in force than expected.
    """
    stored = await database().stored(principal, "constitution.publish", once)
    if stored is not None:
        return stored
    row = await get(principal, amendment_id)
    if row["status"] == "proposed" and row["contradictions"] and not body.acknowledge_contradictions:
        flips = [flip for flip in row["backtest"]["flips"] if flip["contradicts"] and flip["after"] == "allow"]
        errors = [{"action_id": f["action_id"], "message": f"A person {f['human']} it; it would pass."} for f in flips]
        detail = (
            f"It would allow {row['contradictions']} that a person decided against; acknowledge it if that is meant."
        )
        raise Problem(409, "contradicts_people", detail, errors)
    args = {
        "id": amendment_id,
        "digest": body.digest,
        "expected_version": body.expected_version,
        "acknowledge": body.acknowledge_contradictions,
        "reason": body.reason,
    }
    return await database().call(principal, "adopt_amendment_v1", args, once)


async def reject(principal: Principal, amendment_id: UUID, reason: str, once: Idempotency) -> Answer:
    return await database().call(principal, "reject_amendment_v1", {"id": amendment_id, "reason": reason}, once)


async def withdraw(principal: Principal, amendment_id: UUID, reason: str, once: Idempotency) -> Answer:
    return await database().call(principal, "withdraw_amendment_v1", {"id": amendment_id, "reason": reason}, once)
