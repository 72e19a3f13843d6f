"""Executes one authorized action: claim, one call to the provider, finish. Each step can die and nothing is lost."""

import json
import logging
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.config import settings
from api.crash_reports import report
from api.db import database
from api.errors import Problem, from_database
from api.execution import premises, prepare
from api.execution.repropose import repropose
from api.execution.requested import request_of
from api.execution.retry import Settlement, health, put_off_by, settle
from api.gate.models import Contract
from api.ids import new_id
from api.privacy.run_keys import SealBrokenError
from api.providers.client import Lease, Outcome
from api.runs import service as runs
from api.runs.minimise import trusted
from api.sql import query

log = logging.getLogger("countersign.execution")
_rng = random.SystemRandom()
#: Of an answer, this many bytes are kept with the attempt; beyond it only the digest.
MAX_KEPT = 8_000
#: Of the time that a provider remembers an idempotency key, these seconds are left for the request to arrive.
KEY_RESERVE = 60


async def execute_soon(principal: Principal, action_id: str, tenant_id: UUID | str | None = None) -> None:
    """Executes right after the request that authorized; what fails here is picked up by functions/execute_actions.

    A caller that knows the tenant saves the question which one the principal is in.
    """
    try:
        tenant_id = tenant_id or principal.claims.get("tenant_id")
        if tenant_id is None:
            me = (await database().call(principal, "me_v1", {})).result
            tenant_id = me["tenant"]["id"]
        await execute(tenant_id, action_id)
    except psycopg.Error as error:
        log.warning("action %s is left to the schedule: %s", action_id, error.sqlstate)
    except Exception:
        # Nobody waits for this any more: the request was answered, and the schedule takes over.
        log.exception("action %s is left to the schedule", action_id)


async def execute(tenant_id: UUID | str, action_id: UUID | str) -> dict[str, Any]:
    """Makes one attempt at an authorized action.

    Answers {status} of the action, or {claimed: false, reason} when it may not start now. A lease that ran out while
    the provider was slow changes nothing here: who holds the action then settles it.
    """
    executor = system(tenant_id, "execute_actions")
    claim = {"action_id": action_id, "attempt_id": new_id(), "lease_seconds": settings().lease_seconds}
    lease = Lease(settings().lease_seconds)  # begins before the claim is made: never longer than the database's
    claimed = (await database().call(executor, "claim_attempt_v1", claim)).result
    if not claimed["claimed"]:
        return dict(claimed)
    contract = Contract.model_validate(claimed["contract"])
    if await _is_forgotten(executor, contract, claimed):
        ended = Outcome("maybe", error="The provider may have forgotten the idempotency key by now; nothing was sent.")
        contract = contract.model_copy(update={"idempotency": "none"})
        return await _finish(executor, contract, claimed, ended, lease)
    over = await _prepared(executor, contract, claimed, lease) or await _held(executor, contract, claimed, lease)
    if over is not None:
        return over
    try:
        ended = await runs.call_with_credential(
            claimed["credential"], claimed["attempt_id"], contract, claimed["args"], claimed["idempotency_key"], lease
        )
    except Exception:
        # Our own mistake, at a point that nobody knows: it may have been sent.
        log.exception("attempt %s broke", claimed["attempt_id"])
        ended = Outcome("maybe", error="The call broke on our side; it was logged.")
    finished = await _finish(executor, contract, claimed, ended, lease)
    if finished.get("status") == "succeeded":
        await prepare.after(executor, contract, claimed, ended.body)
    return finished


async def _prepared(
    executor: Principal, contract: Contract, claimed: dict[str, Any], lease: Lease
) -> dict[str, Any] | None:
    """Reads what has to be known before the call; what became of the attempt where it ends without one."""
    try:
        if await premises.is_there(executor, contract, claimed):
            return await _finish(executor, contract, claimed, Outcome("yes"), lease, note="already there")
        moved = await premises.moved_since(executor, contract, claimed)
        if moved:
            await prepare.refuse_undo(executor, claimed["action_id"])
            return await repropose(executor, claimed, moved)
        await prepare.before(executor, contract, claimed)
    except (prepare.NotReadError, premises.UnreadError) as error:
        ended, wait = Outcome("no", error=str(error)), put_off_by(error.__cause__)
        return await _finish(executor, contract, claimed, ended, lease, put_off=wait)
    except prepare.ChangedError as error:
        ended = Outcome("no", error=str(error))
        return await _finish(executor, contract, claimed, ended, lease, Settlement("failed"))
    except SealBrokenError as error:
        log.exception("attempt %s could not be prepared", claimed["attempt_id"])
        report(error, None)
        return await _finish(executor, contract, claimed, Outcome("no", error=error.told), lease)
    except (Problem, psycopg.Error) as error:
        problem = error if isinstance(error, Problem) else from_database(error)
        ended = Outcome("no", error=f"It could not be prepared: {problem.detail}")
        return await _finish(executor, contract, claimed, ended, lease, put_off=put_off_by(problem))
    return None


async def _held(
    executor: Principal, contract: Contract, claimed: dict[str, Any], lease: Lease
) -> dict[str, Any] | None:
    """The last look before the call, where one was prepared; what became of the attempt where it may not be sent."""
    if claimed["sent"]:
        return None
    fenced = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"]}
    try:
        leave = (await database().call(executor, "send_attempt_v1", fenced)).result
    except psycopg.Error as error:
        log.warning("attempt %s got no leave to be sent: %s", claimed["attempt_id"], error.sqlstate)
        ended = Outcome("no", error="Whether it may be sent could not be asked; nothing was sent.")
        return await _finish(executor, contract, claimed, ended, lease)
    return None if leave["sent"] else dict(leave)


async def _is_forgotten(executor: Principal, contract: Contract, claimed: dict[str, Any]) -> bool:
    """Whether what an earlier attempt may have done would be done once more: its key is older than the provider keeps.

    Read before each attempt, and not only when it is scheduled: a kill switch or a dead executor may hold one up.
    """
    if contract.idempotency_seconds is None or not claimed["maybe_reached"]:
        return False
    async with database().tenant_transaction(executor, "actions.read") as connection:
        cursor = await connection.execute(query("execution/first_attempt"), {"id": claimed["action_id"]})
        row = await cursor.fetchone()
    age = row["age"] if row else None
    return age is None or age + KEY_RESERVE > contract.idempotency_seconds


async def _finish(
    executor: Principal,
    contract: Contract,
    claimed: dict[str, Any],
    ended: Outcome,
    lease: Lease,
    settlement: Settlement | None = None,
    note: str | None = None,
    put_off: float | None = None,
) -> dict[str, Any]:
    """Records how the attempt ended; settlement: as what, where that does not follow from how the call ended.

    note: why there was no call, where that is no error. put_off: seconds until it is tried again, of what was not sent
    because of something that passes by itself; it uses up no try.
    """
    now = datetime.now(UTC)
    if put_off is not None:
        settlement = Settlement("retry", now + timedelta(seconds=put_off))
    elif settlement is None:
        settlement = settle(ended, contract.idempotency, claimed["tries"], claimed["maybe_reached"], now, _rng)
    finish = {
        "attempt_id": claimed["attempt_id"],
        "fence": claimed["fence"],
        "outcome": settlement.outcome,
        "next_attempt_at": settlement.next_attempt_at,
        "error": ended.error,
        "health": health(ended),
        "retry_after": ended.pause,
        "put_off": put_off is not None,
        "request": request_of(contract, claimed["args"]) if ended.status is not None or ended.troubled else None,
        **kept_of(contract, ended),
    }
    if note is not None:
        finish["response"]["note"] = note
    try:
        answer = await database().insist(executor, "finish_attempt_v1", finish, lease.remaining())
    except psycopg.Error as error:
        if error.sqlstate != "CS409":
            raise
        # The lease is over, or an earlier try of ours was recorded and only its answer got lost.
        log.warning("attempt %s was settled already", claimed["attempt_id"])
        await _note_late(executor, finish)
        return {"claimed": True, "reason": "settled_already"}
    result: dict[str, Any] = answer.result
    return result


async def _note_late(executor: Principal, finish: dict[str, Any]) -> None:
    """Keeps an answer that came when the lease was over: it settles nothing by itself, and is evidence."""
    members = ("attempt_id", "fence", "outcome", "response", "response_digest", "error")
    try:
        await database().call(executor, "note_late_answer_v1", {name: finish[name] for name in members})
    except psycopg.Error as error:
        log.warning("a late answer to attempt %s was not kept: %s", finish["attempt_id"], error.sqlstate)


def sanitize(ended: Outcome) -> dict[str, Any]:
    """What is kept of a provider's answer: status, whether it acted, and a bounded body; the digest covers it all."""
    body = ended.body
    text = json.dumps(body, sort_keys=True)
    kept = body if len(text) <= MAX_KEPT else None
    return {
        "response": {"status": ended.status, "reached": ended.reached, "body": kept},
        "response_digest": "sha256:" + sha256(text.encode()).hexdigest() if body is not None else None,
    }


def kept_of(contract: Contract, ended: Outcome) -> dict[str, Any]:
    """What is kept of the answer to a write: as `sanitize`, but of the body only what the contract labels `trusted`.

    Of what is no success, the provider's error code is kept too, where it is one: a short word, no prose.
    The digest is of the whole body.
    """
    kept = trusted(contract, ended.body)
    if ended.code is not None:
        kept = (kept if isinstance(kept, dict) else {}) | {"error": ended.code}
    return sanitize(ended) | {"response": sanitize(replace(ended, body=kept))["response"]}


async def expire(tenant_id: UUID | str, attempt_id: UUID | str) -> dict[str, Any]:
    """Settles an attempt whose function died: retried if it was not sent or has an idempotency key, else `unknown`."""
    executor = system(tenant_id, "execute_actions")
    async with database().tenant_transaction(executor, "actions.read") as connection:
        cursor = await connection.execute(query("execution/expired_attempt"), {"id": attempt_id})
        attempt = await cursor.fetchone()
    if attempt is None:
        return {"recorded": False}
    tools = (await database().call(executor, "list_tools_v1", {"name": attempt["tool"]})).result
    # A tool that exists no more, or was changed since, is not provably idempotent.
    same = [tool for tool in tools if tool["version"] == attempt["contract_version"]]
    ended = Outcome("maybe" if attempt["sent"] else "no", error="The function that held this attempt died.")
    idempotency = same[0]["idempotency"] if same else "none"
    in_doubt = attempt["sent"] or attempt["maybe_reached"]
    settlement = settle(ended, idempotency, attempt["tries"], in_doubt, datetime.now(UTC), _rng)
    args = {
        "attempt_id": attempt_id,
        "outcome": settlement.outcome,
        "next_attempt_at": settlement.next_attempt_at,
        "error": ended.error,
        "response": {"status": None, "reached": ended.reached, "body": None},
    }
    result: dict[str, Any] = (await database().call(executor, "expire_attempt_v1", args)).result
    return result
