"""The reads of a run: what its loop names, one after the other, each written down before the next."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import psycopg
import rfc8785

from api.db import Idempotency
from api.errors import Problem, from_database
from api.gate.loop_spec import Observe
from api.gate.pointer import resolve
from api.runs import service as runs
from api.runs.loop.held import MAX_ITEMS, FailedError, Held, PutOffError, Step
from api.runs.models import NewObservation
from api.runs.reasoners.filling import FillingError, fill
from api.runs.reasoners.reasoner import Seen
from api.workflows import facts as workflow_facts

_PASSING = frozenset({"epoch_moved", "database_unavailable"})
_PAUSES = (2, 5, 15, 60, 300)


def pause(tries: int) -> int:
    """Seconds until what failed so often is tried again."""
    return _PAUSES[min(tries, len(_PAUSES) - 1)]


async def look_again(held: Held) -> None:
    """Takes up what was read before this instance had the run."""
    names = {
        str(step["observation_id"]): step["name"].partition(":")[2]
        for step in held.steps
        if step["observation_id"] and step["outcome"] == "done"
    }
    if not names.keys() - {str(seen.id) for seen in held.seen.values()}:
        return
    facts, _ = await workflow_facts.load(held.principal, held.workflow, workflow_facts.Asked(held.run_id))
    for read in facts.run.observations if facts.run else []:
        if (name := names.get(str(read.id))) is not None:
            labels = {at: dict(label) for at, label in read.labels.items()}
            held.seen[name] = Seen(name, read.id, read.tool, read.result, labels)


def missing(held: Held) -> list[str]:
    """Names of what was to be read and could not be."""
    return [
        step["name"].partition(":")[2]
        for step in held.steps
        if step["outcome"] == "skipped" and step["name"].startswith("observe:")
    ]


def values(held: Held) -> dict[str, Any]:
    """What placeholders are filled with."""
    return {
        "subject": held.claim["subject"] or {},
        "observations": {name: seen.result for name, seen in held.seen.items()},
        "now": held.began.isoformat(),
        "today": held.began.date().isoformat(),
    }


def left(held: Held) -> Iterator[tuple[str, Observe, dict[str, Any]]]:
    """Reads that have not ended yet: the step's name, the read, and what its placeholders are filled with."""
    for observe in held.loop.observe:
        if observe.for_each is None:
            found = [(observe.name, values(held))]
        else:
            items = _items(held, observe)
            found = [(f"{observe.name}_{n}", values(held) | {"item": item}) for n, item in enumerate(items)]
        for name, filled in found:
            if held.ended(f"observe:{name}") is None:
                yield f"observe:{name}", observe, filled


def _items(held: Held, observe: Observe) -> list[Any]:
    """The items to read for; none when the list itself could not be read."""
    source = held.seen.get(observe.for_each.observation) if observe.for_each else None
    if source is None or observe.for_each is None:
        return []
    lists = [value for _, value in resolve(source.result, observe.for_each.pointer)]
    return lists[0][:MAX_ITEMS] if len(lists) == 1 and isinstance(lists[0], list) else []


async def read(held: Held, name: str, observe: Observe, filled: dict[str, Any]) -> Step:
    """Reads once; the step as it ended. An optional read that cannot be made now is left out, and holds nothing up.

    Raises PutOffError to try again later, FailedError when a required read never works.
    """
    started, tries = held.now, held.tries(name)
    try:
        body = NewObservation(tool=observe.tool, args=fill(observe.args, filled))
    except (FillingError, ValueError) as error:
        return _given_up(observe, Step(name, "skipped", started, {"error": f"Its arguments cannot be made: {error}"}))
    asked = f"{observe.tool}:{sha256(rfc8785.dumps(body.args)).hexdigest()}"
    once = Idempotency(f"run:{held.run_id}:{name}:{tries}", asked)
    try:
        seen = (await runs.observe(held.principal, held.run_id, body, once)).result
    except (Problem, psycopg.Error) as error:
        problem = error if isinstance(error, Problem) else from_database(error)
        if problem.code in _PASSING or (problem.code == "kill_switch_engaged" and not observe.optional):
            raise PutOffError(pause(2)) from None
        if problem.status_code == 429 and not observe.optional:
            raise PutOffError(float((problem.headers or {}).get("Retry-After", "5"))) from None
        if problem.code == "workflow_version_moved":
            raise FailedError(str(problem.detail)) from None
        step = Step(name, "skipped", started, {"error": str(problem.detail)[:500]})
        if problem.code == "connection_not_active" and not observe.optional:
            raise PutOffError(pause(tries), _again(step)) from None
        return _given_up(observe, step)
    detail = {"tool": observe.tool} | ({"error": seen["error"]} if seen["error"] else {})
    step = Step(name, "done", started, detail, digest=seen["digest"], observation_id=seen["id"])
    if seen["status"] == "succeeded":
        short = name.partition(":")[2]
        held.seen[short] = Seen(short, seen["id"], seen["tool"], seen["result"], seen["labels"] or {})
        return step
    if observe.optional:
        return Step(name, "skipped", started, detail, observation_id=seen["id"])
    raise PutOffError(pause(tries), _again(step))


def _again(step: Step) -> Step:
    return Step(step.name, "failed", step.started_at, step.detail, observation_id=step.observation_id)


def _given_up(observe: Observe, step: Step) -> Step:
    """What no further try would change: left out where it may be, and else the end of the run."""
    if observe.optional:
        return step
    raise FailedError(f"{observe.name} could not be read: {step.detail['error']}", _again(step))
