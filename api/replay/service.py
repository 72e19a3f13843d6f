"""Deciding again what was decided: page by page, for as long as a request may take, and honest about what is left."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.gate.models import ConstitutionFacts, Rule
from api.pagination import PageRequest
from api.replay.compare import Candidate, Tally
from api.replay.models import Backtest, BacktestReport, Report
from api.replay.stored import Row, rows_of
from api.sql import query

#: Decisions that are fetched at once: what was read in their runs may be large.
PAGE = 50
#: After so many seconds an answer ends where it is.
BUDGET_SECONDS = 20.0


async def backtest(principal: Principal, body: Backtest) -> BacktestReport:
    """What the candidate would have decided where something was decided before; see the models.

    Raises Problem 404 without such a draft or version, 400 for a cursor that is none.
    """
    in_force, rules, name = await _candidate(principal, body)
    after = PageRequest(limit=1, cursor=body.cursor).key() if body.cursor else {}
    start = (after["after_at"], after["after_id"]) if after else None
    report = await examine(principal, Candidate(in_force, rules), body.limit, body.since, start)
    return BacktestReport(**dict(report), candidate=name, in_force_version=in_force.version)


async def backtest_rule(principal: Principal, rule: Rule, limit: int) -> tuple[int, Report]:
    """A backtest of the rules in force and one more, over the newest decisions; with the version in force."""
    in_force, _, _ = await _candidate(principal, Backtest())
    rules = [*(held for held in in_force.rules if held.id != rule.id), rule]
    candidate = Candidate(in_force, ConstitutionFacts(version=in_force.version + 1, rules=rules))
    return in_force.version, await examine(principal, candidate, limit)


async def examine(
    principal: Principal,
    candidate: Candidate,
    limit: int,
    since: datetime | None = None,
    start: tuple[datetime, UUID] | None = None,
    seconds: float = BUDGET_SECONDS,
) -> Report:
    """Makes up to `limit` decisions again, newest first, after `start` if one is given, for up to `seconds`."""
    tally = Tally(candidate)
    deadline = time.monotonic() + seconds
    last: Row | None = None
    async for row in decisions(principal, since, start, min(PAGE, limit + 1)):
        if tally.examined >= limit or time.monotonic() >= deadline:
            return tally.report(_cursor(last))
        tally.add(row.found)
        last = row
        await asyncio.sleep(0)  # whoever else is served meanwhile
    return tally.report(None)


async def decisions(
    principal: Principal, since: datetime | None, start: tuple[datetime, UUID] | None, size: int = PAGE
) -> AsyncIterator[Row]:
    """Every stored decision that the principal may see, newest first, each with what it rested on.

    size: how many are fetched at once.
    """
    args: dict[str, Any] = {"limit": size, "since": since}
    if start is not None:
        args |= {"after_at": start[0], "after_id": start[1]}
    while True:
        page = (await database().call(principal, "stored_decisions_v1", args)).result
        for row in rows_of(page):
            yield row
            args |= {"after_at": row.decided_at, "after_id": row.id}
        if len(page["decisions"]) < size:
            return


def _cursor(last: Row | None) -> str | None:
    if last is None:
        raise Problem(503, "too_slow", "Not one decision could be made again in time; try again.")
    position = {"at": last.decided_at, "id": last.id}
    cursor: str | None = PageRequest(limit=1).page([position, position], "at", "id")["next_cursor"]
    return cursor


async def _candidate(principal: Principal, body: Backtest) -> tuple[ConstitutionFacts, ConstitutionFacts | None, str]:
    """The constitution in force, the candidate, and the candidate's name."""
    parameters = {"draft_id": body.draft_id, "version": body.version}
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        row = await (await connection.execute(query("replay/candidate_rules"), parameters)).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no constitution yet.")
    in_force = ConstitutionFacts(version=row["in_force_version"], rules=row["in_force"])
    name, rules = "the rules in force", None
    if body.draft_id is not None:
        name, rules = f"the draft {body.draft_id}", row["draft"]
    elif body.version is not None:
        name, rules = f"version {body.version}", row["version_rules"]
    elif body.rules is not None:
        name, rules = "the rules that were given", body.rules
    else:
        return in_force, None, name
    if rules is None:
        raise Problem(404, "not_found", f"There is no such constitution: {name}.")
    return in_force, ConstitutionFacts(version=in_force.version + 1, rules=rules), name
