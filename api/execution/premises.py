"""What a write rests on: read again right before its call, and compared with what its decision was based on."""

from typing import Any

import psycopg

from api.auth import Principal
from api.db import database
from api.errors import Problem, from_database
from api.gate.models import Contract, Premise
from api.gate.pointer import resolve
from api.gate.values import equal
from api.privacy.sealing import opened
from api.providers.client import is_enough, premise_args, read_back_args, read_back_found
from api.runs import service as runs
from api.runs.models import NewObservation
from api.sql import query

#: Of a value that moved, this many characters are shown.
MAX_SHOWN = 200
#: The workflow may not read it: nothing was based on it, and nothing is compared.
_NOT_GRANTED = ("outside_access_spec", "unknown_tool")


class UnreadError(Exception):
    """What the write rests on could not be read now; the message says why. Nothing was sent."""


async def is_there(executor: Principal, contract: Contract, claimed: dict[str, Any]) -> bool:
    """Whether the provider already shows the write, where its contract asks before writing.

    False also where the workflow may not ask. Raises UnreadError when the provider cannot be asked now.
    """
    if contract.read_back is None or not contract.read_back.before_write:
        return False
    key = claimed["idempotency_key"]
    args = read_back_args(contract, claimed["args"], key)
    seen = await _read(executor, claimed, contract.read_back.tool, args, "read_back")
    return seen is not None and read_back_found(contract, claimed["args"], key, seen["result"])


async def moved_since(executor: Principal, contract: Contract, claimed: dict[str, Any]) -> list[dict[str, Any]]:
    """What has moved since the decision, as {what: read, tool, pointer, was, is, message}; empty when nothing has.

    What the run had not read when it was decided is not compared, nor what it has written itself since. An action of
    which an earlier attempt may have had its effect is not looked at: that attempt may be what has moved the world, and
    only the provider's answer to the same key settles it. Raises UnreadError when something cannot be read now.
    """
    if claimed["maybe_reached"] or claimed["observed"] is None:
        return []
    if not contract.rests_on:
        return []
    moved: list[dict[str, Any]] = []
    had = await _read_before(executor, contract, claimed)
    for premise in contract.rests_on:
        args = premise_args(contract, premise, claimed["args"])
        based_on = next((one for one in had if (one["tool"], one["args"]) == (premise.tool, args)), None)
        if based_on is None or based_on["overtaken"]:
            continue
        seen = await _read(executor, claimed, premise.tool, args, "premise")
        if seen is not None:
            moved += differences(contract, premise, claimed["args"], based_on["result"], seen["result"])
    return moved


def differences(contract: Contract, premise: Premise, args: dict[str, Any], was: Any, now: Any) -> list[dict[str, Any]]:
    """Where a premise of a write with these arguments does not hold any more."""
    found = []
    for pattern in premise.same:
        before, after = dict(resolve(was, pattern)), dict(resolve(now, pattern))
        for pointer in sorted({*before, *after}):
            old, new = before.get(pointer), after.get(pointer)
            if not equal(old, new):
                message = f"What {premise.tool} answers at {pointer} is not what it was."
                found.append(_moved(premise, pointer, old, new, message))
    for pattern, needed in premise.enough.items():
        before, after = dict(resolve(was, pattern)), dict(resolve(now, pattern))
        argument = needed.partition("|")[0]
        for pointer in sorted({*before, *after}):
            value = after.get(pointer)  # what is not told any more is not known to be enough
            if not is_enough(contract, needed, args, value):
                message = f"What {premise.tool} answers at {pointer} is not enough for {argument}."
                found.append(_moved(premise, pointer, before.get(pointer), value, message))
    return found[:20]


def _moved(premise: Premise, pointer: str, was: Any, now: Any, message: str) -> dict[str, Any]:
    return {
        "what": "read",
        "tool": premise.tool,
        "pointer": pointer,
        "was": _shown(was),
        "is": _shown(now),
        "message": message,
    }


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:MAX_SHOWN]


async def _read_before(executor: Principal, contract: Contract, claimed: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run had read when this was decided, with the tools that the write rests on; the newest first."""
    tools = [premise.tool for premise in contract.rests_on]
    asked = {name: claimed[name] for name in ("run_id", "action_id", "observed")} | {"tools": tools}
    async with database().tenant_transaction(executor, "actions.read") as connection:
        rows = await (await connection.execute(query("execution/premises"), asked)).fetchall()
    return [opened(row["keys"], row) for row in rows]


async def _read(
    executor: Principal, claimed: dict[str, Any], tool: str, args: dict[str, Any], purpose: Any
) -> dict[str, Any] | None:
    """What is read; None where the workflow may not read it."""
    body, serves = NewObservation(tool=tool, args=args), runs.ForAction(claimed["action_id"], purpose)
    try:
        seen = dict((await runs.observe(executor, claimed["run_id"], body, None, serves)).result)
    except (Problem, psycopg.Error) as error:
        problem = error if isinstance(error, Problem) else from_database(error)
        if problem.code in _NOT_GRANTED:
            return None
        raise UnreadError(f"{tool} could not be read before the write: {problem.detail}") from error
    if seen["status"] != "succeeded":
        raise UnreadError(f"{tool} could not be read before the write: {seen['error']}")
    return seen
