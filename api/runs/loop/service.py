"""Drives runs whose workflow declares a loop: starts them on their schedules, and takes them on step by step.

Every step is written down under the run's lease before the next begins. Whoever dies in between leaves a lease that
runs out; whoever comes next finds what was read, thought and proposed, and repeats none of it: a read and a proposal
have idempotency keys of their own, and what was thought is kept before the first of it is proposed.
"""

import logging
import time
import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.config import settings
from api.db import Answer, Idempotency, database
from api.errors import BrokenError, Problem
from api.gate.cron import parse
from api.gate.loop_spec import LoopSpec
from api.ids import new_id
from api.privacy import sealing
from api.runs.loop import reading, thinking
from api.runs.loop.held import FailedError, Held, PutOffError, Step
from api.runs.models import NewRun
from api.runs.reasoners import service as reasoners

log = logging.getLogger("countersign.runs")
#: How a visit to a run ended. `lost`: somebody else has its lease by now.
Visit = Literal["completed", "failed", "waiting", "put_off", "lost", "not_claimed"]


async def queue(principal: Principal, body: NewRun, once: Idempotency) -> Answer:
    """Queues a run of the workflow's loop. Problem 409 when its live version has none that a call starts."""
    args = {"id": new_id()} | body.model_dump(mode="json", include={"workflow", "instruction", "subject"})
    return await database().call(principal, "queue_run_v1", args, once)


async def complete(principal: Principal, run_id: UUID, once: Idempotency) -> Answer:
    """Ends a run that a client drives; 409 for one that a loop does."""
    return await database().call(principal, "complete_run_v1", {"id": run_id}, once)


async def cancel(principal: Principal, run_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Ends a run that a loop drives, between two steps; 409 for one that is over."""
    return await database().call(principal, "cancel_run_v1", {"id": run_id, "reason": reason}, once)


async def restart(principal: Principal, run_id: UUID, reason: str, once: Idempotency) -> Answer:
    """Queues a run for what a failed one was for, in a person's name.

    Problem 403 for whoever is no person, 404 without such a run, 409 when it has not failed, has done something, is
    erased, or was had run again already.
    """
    args = {"id": new_id(), "run_id": run_id, "reason": reason}
    return await database().call(principal, "restart_run_v1", args, once)


async def due_schedules(limit: int) -> list[dict[str, Any]]:
    """Schedules of any tenant that may be due."""
    found: list[dict[str, Any]] = await database().claim("claim_due_schedules_v1", limit)
    return found


async def start_scheduled(item: dict[str, Any]) -> bool:
    """Takes the last slot that is due, if one is, and starts its run; of several that were missed, only that one.

    Answers whether a run was started. May be called twice for one slot, or at once: it is one run.
    """
    schedule = parse(item["cron"], item["time_zone"])
    since, now = datetime.fromisoformat(item["since"]), datetime.fromisoformat(item["now"])
    args = {"id": new_id(), "slot": schedule.latest(since, now), "next_at": schedule.next(now)}
    args |= {name: item[name] for name in ("workflow_id", "cron", "time_zone")}
    by = system(item["tenant_id"], "advance_runs")
    started: bool = (await database().call(by, "start_scheduled_run_v1", args)).result["started"]
    return started


async def due_runs(limit: int) -> list[dict[str, Any]]:
    """Runs of any tenant that can go on: {tenant_id, run_id}."""
    found: list[dict[str, Any]] = await database().claim("claim_due_runs_v1", limit)
    return found


async def drive(tenant_id: str, run_id: str, begin_until: float) -> Visit:
    """Takes a run on, step by step, until it waits, is over, or the time (monotonic) to begin steps is.

    Raises what no step is to blame for, as a database that is away; the lease then runs out by itself, and the run is
    taken on again. What is still so when the time for the run is over ends it, so that a person is told.
    """
    by, fence = system(tenant_id, "advance_runs"), str(uuid.uuid4())
    args = {"run_id": run_id, "fence": fence, "lease_seconds": _lease()}
    claim = (await database().call(by, "claim_run_v1", args)).result
    if not claim["claimed"]:
        return "not_claimed"
    held = Held(by, fence, claim, LoopSpec.model_validate(claim["loop"]), list(claim["steps"]))
    try:
        return await _advance(held, begin_until)
    except psycopg.Error as error:
        if error.diag.message_detail in ("lease_lost", "run_not_under_way"):
            return "lost"
        if isinstance(error, psycopg.OperationalError):
            raise
        return await _broken(held, error)
    except Exception as error:
        return await _broken(held, error)


async def _broken(held: Held, error: Exception) -> Visit:
    """What broke on our side, or does not open: it may do better in another instance, until the run's time is over."""
    if held.claim["status"] != "running" or not held.overdue:
        raise error
    log.exception("run %s broke until its time was over", held.run_id, exc_info=error)
    more = f" {error.told}" if isinstance(error, BrokenError) else ""
    return await _fail(held, f"It broke on our side each time until its time was over; that was logged.{more}", None)


def _lease() -> int:
    """Seconds that one step may take: a read and what is written down of it, with room."""
    return 2 * settings().lease_seconds


async def _advance(held: Held, begin_until: float) -> Visit:
    try:
        if held.claim["status"] == "running":
            held.claim["kept"] = await sealing.keys_for(held.principal, held.claim["kept"])
            await reading.look_again(held)
        while (step := await _next(held, begin_until)) is not None:
            await _take(held, step)
    except PutOffError as later:
        if later.step is not None and held.overdue:
            return await _fail(held, f"The time for this run was over before {later.step.name} worked.", later.step)
        await _take(held, later.step, pause_seconds=max(0, round(later.seconds)))
        return "put_off"
    except FailedError as failed:
        return await _fail(held, failed.message, failed.step)
    except Problem as problem:
        return await _fail(held, str(problem.detail), None)
    return await _settle(held)


async def _next(held: Held, begin_until: float) -> Step | None:
    """Takes the next step; None when everything is proposed. Raises PutOffError and FailedError."""
    if held.claim["status"] == "waiting":
        return None
    read = next(reading.left(held), None)
    reasoned = held.ended("reason")
    if reasoned is None:
        _in_time(held, begin_until)
        if read is not None:
            return await reading.read(held, *read)
        return await _think(held)
    for number in range(reasoned["detail"]["proposes"]):
        if held.ended(f"propose:{number}") is None:
            _in_time(held, begin_until)
            return await thinking.propose(held, number, thinking.suggestions(held)[number])
    return None


def _in_time(held: Held, begin_until: float) -> None:
    if held.overdue:
        raise FailedError(
            f"The run took longer than the {held.loop.deadline_minutes} minutes that its workflow gives it."
        )
    if time.monotonic() >= begin_until:
        raise PutOffError(0)


async def _think(held: Held) -> Step:
    longest = round(reasoners.longest(held.loop.reasoner)) + _lease()
    await _take(held, None, lease_seconds=longest)
    return await thinking.think(held)


async def _settle(held: Held) -> Visit:
    if held.claim["status"] == "running":
        await _take(held, None, status="waiting")
        return "waiting"
    if held.claim["open"]:
        await _take(held, None, pause_seconds=30)
        return "waiting"
    step = Step("settle", "done", held.now, {"actions": held.claim["actions"]})
    await _take(held, step, status="completed")
    return "completed"


async def _fail(held: Held, reason: str, step: Step | None) -> Visit:
    await _take(held, step, status="failed", reason=reason[:1000])
    return "failed"


async def _take(held: Held, step: Step | None, **more: Any) -> None:
    """Writes the step down and says how the run goes on; nothing is done beyond a lease that is over."""
    args = {"run_id": held.run_id, "fence": held.fence, "lease_seconds": _lease()} | more
    args["step"] = asdict(step) if step is not None else None
    await database().call(held.principal, "take_run_step_v1", args)
    if step is not None:
        held.steps.append(asdict(step))
