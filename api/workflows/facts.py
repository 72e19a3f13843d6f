"""What a decision rests on, held in memory: a workflow's facts by control epoch, its runs, and the directory's answers.

What is held may be stale. What is recorded names the epoch and the observations that it rests on, and the database
refuses to record it on others (DESIGN section 2). A refusal records nothing that the database could check, so `judge`
makes it final only on facts that were loaded for it. Between the two, nothing here needs to expire.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.directory.service import answers_of, questions_of
from api.errors import Problem
from api.gate.arguments import canonical
from api.gate.lookups import keys_of
from api.gate.models import DirectoryAnswer, Facts, LimitState, ObservationFacts, Proposer, RunFacts
from api.privacy.sealing import opened_run

_LIMIT = 512
#: What was read in a run may be large.
_RUN_LIMIT = 64
_KEY_LIMIT = 20_000
_Verdict = TypeVar("_Verdict")
_Held = TypeVar("_Held")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one proposal asks beside the workflow's facts: its run, and keys of the directory (api/gate/lookups.py)."""

    run_id: UUID | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def by(cls, run_id: UUID, args: dict[str, Any]) -> "Asked":
        """What a proposal of these arguments asks; of arguments that no proposal can have, nothing is asked."""
        try:
            return cls(run_id, tuple(keys_of(canonical(args))))
        except ValueError:
            return cls(run_id)


NOTHING_MORE = Asked()


@dataclass(slots=True)
class _Workflow:
    """What is held of one workflow for one principal, of one epoch. answers: None where the directory says nothing."""

    facts: Facts
    proposer: Proposer
    answers: dict[str, DirectoryAnswer | None] = field(default_factory=dict)


_workflows: OrderedDict[tuple[str, ...], _Workflow] = OrderedDict()
_runs: OrderedDict[tuple[str, ...], RunFacts] = OrderedDict()


def _key(principal: Principal, name: str | UUID) -> tuple[str, ...]:
    return (*principal.cache_key, str(name))


def _hold(kept: OrderedDict[tuple[str, ...], _Held], key: tuple[str, ...], value: _Held, limit: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)


async def load(principal: Principal, workflow: str, asked: Asked = NOTHING_MORE) -> tuple[Facts, Proposer]:
    """Facts as of now, and the principal as the database sees it: one round trip.

    Raises a database error CS404 without such a workflow, CS409 when no version of it is live.
    """
    arguments = {"workflow": workflow, "run_id": asked.run_id, "keys": questions_of(asked.keys)}
    result = (await database().call(principal, "gate_facts_v1", arguments)).result
    return keep(principal, workflow, result, asked)


async def get(principal: Principal, workflow: str) -> tuple[Facts, Proposer]:
    """The workflow's facts from memory, or loaded; without what one proposal rests on."""
    return _held(principal, workflow, NOTHING_MORE) or await load(principal, workflow)


async def judge(
    principal: Principal, workflow: str, verdict: Callable[[Facts, Proposer], _Verdict], asked: Asked = NOTHING_MORE
) -> tuple[Facts, Proposer, _Verdict]:
    """The verdict on the facts in memory, with the facts it was made on; they are loaded when one of them is missing.

    A Problem that it raises on facts from memory leads to one load and one more verdict; on loaded facts it is final.
    """
    held = _held(principal, workflow, asked)
    if held is not None:
        try:
            return *held, verdict(*held)
        except Problem:
            pass  # the rules may have moved since
    loaded = await load(principal, workflow, asked)
    return *loaded, verdict(*loaded)


def keep(
    principal: Principal, workflow: str, moved: dict[str, Any], asked: Asked, proposer: Proposer | None = None
) -> tuple[Facts, Proposer]:
    """Takes what the database sent, in an answer or along with a refusal: all of it, or what has moved.

    moved: {facts, principal} of another epoch, with the `directory`'s answers to what was asked; `run`; `limits`.
    States of limits are for the next decision only, and not held.
    """
    held = _workflows.get(_key(principal, workflow))
    if moved.get("facts") is not None:
        known = Proposer.model_validate(moved["principal"]) if moved.get("principal") else proposer
        if known is None:
            raise ValueError("facts come with the principal that they are for")
        facts = Facts.model_validate(moved["facts"])
        same_epoch = held is not None and held.facts.epoch == facts.epoch
        held = _Workflow(facts, known, held.answers if held is not None and same_epoch else {})
    if held is None:
        raise ValueError("there are no facts of this workflow")
    if moved.get("directory") is not None:
        told = answers_of(moved["directory"])
        if len(held.answers) > _KEY_LIMIT:
            held.answers = {}
        held.answers.update({key: told.get(key) for key in asked.keys})
    if moved.get("run") is not None:
        run_facts = RunFacts.model_validate(opened_run(moved["run"]))
        _hold(_runs, _key(principal, moved["run"]["id"]), run_facts, _RUN_LIMIT)
    _hold(_workflows, _key(principal, workflow), held, _LIMIT)
    limits = {key: LimitState.model_validate(state) for key, state in (moved.get("limits") or {}).items()}
    run = _runs.get(_key(principal, asked.run_id)) if asked.run_id else None
    return _facts(held, run, asked.keys, limits), held.proposer


def started(principal: Principal, run: dict[str, Any]) -> None:
    """Remembers a run that this instance has started, so that the first proposal in it need not ask for it."""
    facts = RunFacts(id=run["id"], instruction=run["instruction"], subject=run["subject"])
    _hold(_runs, _key(principal, run["id"]), facts, _RUN_LIMIT)


def observed(principal: Principal, observation: dict[str, Any]) -> None:
    """Remembers what this instance has read in a run that it holds, if nothing was read elsewhere in between."""
    key = _key(principal, observation["run_id"])
    run = _runs.get(key)
    if run is None or observation["status"] != "succeeded":
        return
    if observation.get("number") != run.observed + 1:
        _runs.pop(key, None)
        return
    seen = ObservationFacts.model_validate(observation | {"labels": observation["labels"] or {}})
    held = RunFacts(
        id=run.id,
        instruction=run.instruction,
        subject=run.subject,
        observed=run.observed + 1,
        observations=[*run.observations, seen],
    )
    _hold(_runs, key, held, _RUN_LIMIT)


def _held(principal: Principal, workflow: str, asked: Asked) -> tuple[Facts, Proposer] | None:
    """Everything that was asked, if all of it is in memory."""
    held = _workflows.get(_key(principal, workflow))
    if held is None:
        return None
    _workflows.move_to_end(_key(principal, workflow))
    run = None
    if asked.run_id is not None:
        run = _runs.get(_key(principal, asked.run_id))
        if run is None:
            return None
        _runs.move_to_end(_key(principal, asked.run_id))
    if any(key not in held.answers for key in asked.keys):
        return None
    return _facts(held, run, asked.keys, {}), held.proposer


def _facts(held: _Workflow, run: RunFacts | None, keys: Iterable[str], limits: dict[str, LimitState]) -> Facts:
    told = {key: answer for key in keys if (answer := held.answers.get(key)) is not None}
    return held.facts.model_copy(update={"run": run, "directory": told, "limits": limits})
