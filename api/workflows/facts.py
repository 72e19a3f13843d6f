"""The facts of a workflow's gate, held in memory by control epoch.

What is held may be stale. What is recorded names the epoch it rests on, and the database refuses to record it under
another (DESIGN section 2). A refusal records nothing that the database could check, so `judge` makes it final only on
facts that were loaded for it. Between the two, nothing here needs to expire.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.gate.models import Facts, Proposer

_LIMIT = 512
_Verdict = TypeVar("_Verdict")
_facts: OrderedDict[tuple[str, ...], tuple[Facts, Proposer]] = OrderedDict()


def _key(principal: Principal, workflow: str) -> tuple[str, ...]:
    return (*principal.cache_key, workflow)


async def load(principal: Principal, workflow: str) -> tuple[Facts, Proposer]:
    """Facts as of now, and the principal as the database sees it: one round trip.

    Raises a database error CS404 without such a workflow, CS409 when no version of it is live.
    """
    answer = await database().call(principal, "gate_facts_v1", {"workflow": workflow})
    proposer = Proposer.model_validate(answer.result["principal"])
    return keep(principal, workflow, answer.result["facts"], proposer), proposer


async def get(principal: Principal, workflow: str) -> tuple[Facts, Proposer]:
    """Facts from memory, or loaded."""
    held = _facts.get(_key(principal, workflow))
    if held is None:
        return await load(principal, workflow)
    _facts.move_to_end(_key(principal, workflow))
    return held


async def judge(
    principal: Principal, workflow: str, verdict: Callable[[Facts, Proposer], _Verdict]
) -> tuple[Facts, Proposer, _Verdict]:
    """The verdict on the facts in memory, with the facts it was made on.

    A Problem that it raises on facts from memory leads to one load and one more verdict; on loaded facts it is final.
    """
    held = _facts.get(_key(principal, workflow))
    if held is not None:
        _facts.move_to_end(_key(principal, workflow))
        try:
            return *held, verdict(*held)
        except Problem:
            pass  # the rules may have moved since
    loaded = await load(principal, workflow)
    return *loaded, verdict(*loaded)


def keep(principal: Principal, workflow: str, document: dict[str, Any], proposer: Proposer) -> Facts:
    """Takes facts that the database sent along with a refusal."""
    facts = Facts.model_validate(document)
    _facts[_key(principal, workflow)] = (facts, proposer)
    while len(_facts) > _LIMIT:
        _facts.popitem(last=False)
    return facts
