"""What a run thinks and proposes: thought once, sealed, and then proposed one by one under keys of their own."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import psycopg
import rfc8785

from api.actions import service as actions
from api.actions.models import Evidence, NewAction
from api.db import Idempotency
from api.errors import Problem, from_database
from api.gate.models import Facts
from api.gate.pseudonyms import Pseudonyms
from api.privacy import run_keys, sealing
from api.runs.loop.held import FailedError, Held, PutOffError, Step
from api.runs.loop.reading import missing, pause
from api.runs.reasoners import service as reasoners
from api.runs.reasoners.reasoner import Ask, ReasonerError, Suggestion
from api.workflows import facts as workflow_facts

#: The step that holds the thought, as it is bound to its seal.
_PLACE = "run_step/reason"
#: Characters of a sealed thought that a step has room for.
_ROOM = 2_000_000
_LATER = frozenset({"rate_limited", "unavailable", "stopped"})
_PASSING = frozenset({"epoch_moved", "database_unavailable", "kill_switch_engaged"})


def ask_of(held: Held, facts: Facts) -> Ask:
    """What the reasoner is asked, of what this run has seen; a model sees tokens where the workflow says so."""
    grants = facts.workflow.spec.tools
    ask = Ask(
        run_id=held.run_id,
        workflow=held.workflow,
        instruction=held.claim["instruction"],
        subject=held.claim["subject"],
        observations=list(held.seen.values()),
        tools={name: each for name, each in facts.contracts.items() if name in grants and each.access == "write"},
        rules=list(facts.constitution.rules),
        now=held.began,
        missing=missing(held),
    )
    if held.loop.reasoner.kind == "rules" or not facts.workflow.spec.hidden:
        return ask
    tokens = Pseudonyms.of(facts.run, facts.workflow.spec.hidden)
    seen = [replace(each, result=tokens.hide(each.result)) for each in ask.observations]
    return replace(ask, instruction=tokens.hide(ask.instruction), subject=tokens.hide(ask.subject), observations=seen)


async def think(held: Held) -> Step:
    """Asks the workflow's reasoner. Raises PutOffError, or FailedError when asking again would not help."""
    started = held.now
    facts, _ = await workflow_facts.load(held.principal, held.workflow, workflow_facts.Asked(held.run_id))
    keys = await sealing.keys_for(held.principal, held.claim["kept"])

    def seal(value: dict[str, Any], bound_to: bytes) -> str:
        return json.dumps({"sealed": run_keys.seal(keys, "prompt", value, bound_to.decode())})

    try:
        thought = await reasoners.think(held.principal, held.loop.reasoner, ask_of(held, facts), seal)
    except ReasonerError as error:
        detail = {"error": error.message[:500], "kind": error.kind, "model_calls": [str(c.id) for c in error.calls]}
        step = Step("reason", "failed", started, detail)
        if error.kind not in _LATER:
            raise FailedError(f"Nothing was thought: {error.message}", step) from None
        wait = (error.retry_at - datetime.now(UTC)).total_seconds() if error.retry_at else 0.0
        raise PutOffError(max(wait, pause(held.tries("reason"))), step) from None
    document: dict[str, Any] = {  # of no more than what is proposed
        "suggestions": [each.model_dump(mode="json") for each in thought.suggestions[: held.loop.max_actions]],
        "notes": thought.notes,
    }
    counted: dict[str, Any] = {
        "suggestions": len(thought.suggestions),
        "proposes": min(len(thought.suggestions), held.loop.max_actions),
        "model_calls": [str(call.id) for call in thought.calls],
        "missing": missing(held)[:50],
    }
    sealed = run_keys.seal(keys, "payload", document, _PLACE)
    if len(sealed) > _ROOM:
        step = Step("reason", "failed", started, counted | {"error": "What was thought is too large to be kept."})
        raise FailedError("What was thought is too large to be kept; lower max_actions, or propose less in each.", step)
    return Step(
        "reason",
        "done",
        started,
        counted,
        sealed=sealed,
        digest=f"sha256:{sha256(rfc8785.dumps(document)).hexdigest()}",
    )


def suggestions(held: Held) -> list[Suggestion]:
    """What was thought, as it was kept. Raises FailedError when it was erased."""
    step = held.ended("reason")
    kept = held.claim["kept"]
    thought = run_keys.unseal(kept, "payload", step["sealed"], _PLACE) if step and step["sealed"] else None
    if thought is None:
        raise FailedError("What was thought in this run was erased before all of it was proposed.")
    return [Suggestion.model_validate(each) for each in thought["suggestions"]][: held.loop.max_actions]


def notes(kept: dict[str, Any], sealed: str) -> str | None:
    """The reasoner's own words on a thought, for the trace; None when they were erased."""
    thought = run_keys.unseal(kept, "payload", sealed, _PLACE)
    return None if thought is None else str(thought["notes"])


async def propose(held: Held, number: int, suggestion: Suggestion) -> Step:
    """Proposes one suggestion, once however often it is tried. Raises PutOffError or FailedError."""
    name, started = f"propose:{number}", held.now
    evidence = [Evidence(observation_id=held.seen[each].id) for each in suggestion.evidence if each in held.seen]
    said = suggestion.model_dump(mode="json")
    try:
        body = NewAction(
            workflow=held.workflow, run_id=held.run_id, tool=said["tool"], args=said["args"], evidence=evidence,
            confidence=said["confidence"], rationale=said["rationale"], citations=said["citations"],
            subject=suggestion.subject,
        )  # fmt: skip
        once = Idempotency(f"run:{held.run_id}:{number}", f"sha256:{sha256(rfc8785.dumps(said)).hexdigest()}")
        made = (await actions.propose(held.principal, body, once)).result
    except (Problem, psycopg.Error) as error:
        problem = error if isinstance(error, Problem) else from_database(error)
        if problem.code in _PASSING:
            raise PutOffError(pause(1)) from None
        if problem.code in ("workflow_version_moved", "run_completed"):
            raise FailedError(str(problem.detail)) from None
        return Step(name, "skipped", started, {"tool": said["tool"], "error": str(problem.detail)[:500]})
    except ValueError as error:
        return Step(name, "skipped", started, {"tool": said["tool"], "error": f"It is no proposal: {error}"[:500]})
    return Step(name, "done", started, {"tool": said["tool"], "status": made["status"]}, action_id=made["id"])
