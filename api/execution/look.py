"""Looking at what an action would change, while it waits for a person: what was seen last, and one more read of it."""

import logging
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.db import Answer, Idempotency, Row, database
from api.errors import Problem, from_database
from api.execution import target as targets
from api.execution.target import Seen, Way
from api.gate.models import Contract
from api.privacy.run_keys import Keys, SealBrokenError
from api.privacy.sealing import opened
from api.runs import service as runs
from api.runs.models import NewObservation
from api.sql import query
from api.tools import service as tools

log = logging.getLogger("countersign.execution")
#: Of an answer, so much is shown and compared for a page; before the write all of it is.
MAX_ANSWER = 200_000
_GONE: Row = {"result": None, "labels": None, "too_large": False, "erased_classes": ["internal"]}
_NOT_GRANTED = ("outside_access_spec", "unknown_tool")
#: What stops a read and not the decision.
_NOT_NOW = (
    "connection_not_active",
    "connection_not_readable",
    "credential_missing",
    "kill_switch_engaged",
    "run_erased",
)
_NO_WAY = "The contract of this tool does not say how to look at what it would change."


async def target(principal: Principal, exception_id: UUID) -> dict[str, Any]:
    """What was read last of what the action of an exception would change and rests on; no provider is asked.

    Raises Problem 404 without such an exception, and 403 for whoever is no person.
    """
    waits = await _waiting(principal, exception_id, "exceptions.read")
    contract = await _contract(principal, waits)
    return await _told(principal, waits, contract)


async def look(principal: Principal, exception_id: UUID, once: Idempotency) -> Answer:
    """Looks at it once more through the gateway, with the connection of its run and what its access spec names of it.

    The reads are observations of the run, made for this action. Raises Problem 403 when the workflow may not read it,
    404 without such an exception, 409 when it does not wait any more, or its connection or a kill switch lets nothing
    be read, 422 `no_way_to_look`, and 429 when the connection takes no call now, or this was looked at too often.
    """
    waits = await _waiting(principal, exception_id, "exceptions.decide")
    contract = await _contract(principal, waits)
    answer = await database().stored(principal, "exceptions.decide", once)
    if answer is None:
        found = targets.ways(contract, waits["args"]) if contract else []
        if not found:
            raise Problem(422, "no_way_to_look", _NO_WAY)
        seen = await _look_at(principal, waits, found)
        args = {"exception_id": exception_id, "observations": seen}
        answer = await database().call(principal, "note_look_v1", args, once)
    return Answer(await _told(principal, waits, contract), answer.replayed)


def has_a_way(contract: Contract | None, args: dict[str, Any]) -> bool:
    """Whether a tool's contract says how to look at what a call with these arguments would change or rests on."""
    return contract is not None and bool(targets.ways(contract, args))


async def _waiting(principal: Principal, exception_id: UUID, permission: str) -> Row:
    if principal.kind != "user":
        raise Problem(403, "people_only", "This is for the people who decide; a key reads in a run of its own.")
    async with database().tenant_transaction(principal, permission) as connection:
        row = await (await connection.execute(query("execution/waiting"), {"id": exception_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such exception.")
    return row


async def _contract(principal: Principal, waits: Row) -> Contract | None:
    return (await tools.contracts_of(principal, [waits["tool"]])).get(waits["tool"])


async def _look_at(principal: Principal, waits: Row, found: list[Way]) -> list[str]:
    """Makes the reads, in the person's name; the ids of their observations. What may not be read is left out."""
    person = {"kind": "user", "id": principal.claims["sub"]}
    looker = system(waits["tenant_id"], "look", person)
    serves = runs.ForAction(waits["action_id"], "look")
    made: list[str] = []
    refused: Problem | None = None
    for way in found:
        body = NewObservation(tool=way.tool, args=way.args)
        try:
            made.append(str((await runs.observe(looker, waits["run_id"], body, None, serves)).result["id"]))
        except (Problem, psycopg.Error) as error:
            problem = error if isinstance(error, Problem) else from_database(error)
            if problem.code not in _NOT_GRANTED:
                raise _explained(problem) from error
            detail = f"The workflow may not read this: its access spec does not let it use {way.tool} so."
            refused = refused or Problem(403, "outside_access_spec", detail, problem.errors)
    if not made and refused is not None:
        raise refused
    return made


def _explained(problem: Problem) -> Problem:
    """A refusal in words for whoever decides: nothing was looked at, and they may decide all the same."""
    if problem.code not in _NOT_NOW:
        return problem
    detail = f"It could not be looked at: {problem.detail} You can decide without it."
    return Problem(problem.status_code, problem.code, detail, problem.errors)


async def _told(principal: Principal, waits: Row, contract: Contract | None) -> dict[str, Any]:
    found = targets.ways(contract, waits["args"]) if contract else []
    all_seen = await _seen(principal, waits, found) if found else []
    told: dict[str, Any] = {
        "exception_id": waits["exception_id"], "action_id": waits["action_id"], "readable": bool(found),
        "reads": [_read(one) for one in all_seen], "change": None, "compared": False, "moved": [],
    }  # fmt: skip
    if contract is None:
        return told
    state = next((one for one in all_seen if "state" in one.way.serves and one.newest), None)
    if state is not None and state.newest is not None:
        told["change"] = targets.change(contract, waits["args"], state.newest["result"])
    told["compared"], told["moved"] = targets.moved(contract, waits["args"], all_seen)
    return told


async def _seen(principal: Principal, waits: Row, found: list[Way]) -> list[Seen]:
    """What was read in these ways: which reads there are, and then the answers of those that count."""
    asked = {"run_id": waits["run_id"], "action_id": waits["action_id"], "tools": [way.tool for way in found]}
    asked["observed"] = waits["observed"]
    async with database().tenant_transaction(principal, "exceptions.read") as connection:
        rows = await (await connection.execute(query("execution/reads_of_run"), asked)).fetchall()
        reads = _opened(waits["keys"], rows)
        all_seen = [targets.seen(way, reads, waits["observed"]) for way in found]
        ids = [read["id"] for one in all_seen for read in (one.newest, one.based_on) if read]
        wanted = {"run_id": waits["run_id"], "ids": ids, "bytes": MAX_ANSWER}
        answers = await (await connection.execute(query("execution/answers_of_reads"), wanted)).fetchall()
    by_id = {row["id"]: row for row in _opened(waits["keys"], answers)}
    for one in all_seen:
        for read in (one.newest, one.based_on):
            if read is not None:
                read.update(by_id.get(read["id"], _GONE))
    return all_seen


def _opened(keys: Keys, rows: list[Row]) -> list[Row]:
    """Those that open; what does not is as if nobody had read it, so that a person looks again or decides without."""
    found: list[Row] = []
    for row in rows:
        try:
            found.append(opened(keys, row))
        except SealBrokenError:
            log.exception("observation %s does not open", row["id"])
    return found


def _read(one: Seen) -> dict[str, Any]:
    newest = one.newest or {}
    return {
        "tool": one.way.tool, "args": one.way.args, "serves": one.way.serves, "observation_id": newest.get("id"),
        "source": newest.get("source"), "read_at": newest.get("created_at"), "looked": newest.get("purpose") == "look",
        "result": newest.get("result"), "labels": newest.get("labels"),
        "error": one.failed["error"] if one.failed else None,
        "failed_at": one.failed["created_at"] if one.failed else None,
    }  # fmt: skip
