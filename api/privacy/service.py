"""Requests for erasure: who is meant is looked for in what can be opened, and kept nowhere."""

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.sensitive import shown
from api.ids import new_id
from api.privacy.models import AboutWhom, NewErasure
from api.privacy.rotation import rewrap as rewrap
from api.privacy.sealing import opened_as_far
from api.sql import query

log = logging.getLogger("countersign.privacy")
#: Runs that are opened at once: what was read in them may be large.
PAGE = 50
#: Runs that could not be read, of which so many are named.
MAX_UNREAD = 100
#: After so many seconds a search ends where it is.
BUDGET_SECONDS = 20.0


async def request(principal: Principal, body: NewErasure, once: Idempotency) -> Answer:
    """Finds the runs about somebody and, unless it is a dry run, records that they are to be erased.

    The answer is the request as `get` shows it; of a dry run, what it would be, with no id.
    """
    stored = await database().stored(principal, "privacy.erase", once)
    if stored is not None:
        return Answer(await get(principal, UUID(stored.result["id"])), replayed=True)
    search = await _search(principal, body.subject, body.before)
    told: dict[str, Any] = {"subject": masked(body.subject), "reason": body.reason, "searched_to": search.searched_to}
    told |= {"unread_count": search.unread_count}
    if body.dry_run:
        runs, unread = await _described(principal, search.found), await _described(principal, search.unread)
        return Answer(told | {"id": None, "runs": runs, "unread": unread}, replayed=False)
    args = told | {"id": new_id(), "run_ids": search.found, "unread": search.unread}
    answer = await database().call(principal, "request_erasure_v1", args, once)
    return Answer(await get(principal, UUID(answer.result["id"])), answer.replayed)


async def get(principal: Principal, erasure_id: UUID) -> dict[str, Any]:
    """A request with its runs; Problem 404 when the tenant has none of this id."""
    async with database().tenant_transaction(principal, "privacy.read") as connection:
        row = await (await connection.execute(query("privacy/get_erasure"), {"id": erasure_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such request for erasure.")
    run_ids = row.pop("run_ids")
    return row | {
        "runs": await _described(principal, run_ids),
        "unread": await _described(principal, row["unread"]),
    }


def masked(subject: AboutWhom) -> str:
    """Whom a request is about, so that who asked recognises it and nobody else is told."""
    if subject.type == "email":
        return f"email {_cut(subject.id.partition('@')[0])}@…"
    return f"{subject.type} {_cut(subject.id)}"


def _cut(value: str) -> str:
    return value[: 2 if len(value) > 6 else 1] + "…"


def pattern_of(subject: AboutWhom) -> re.Pattern[str] | None:
    """What a text is searched for, in any case; None where a record is named, which the database finds.

    An account may be written in groups. A value is found only as a whole, never within a longer one.
    """
    value = shown(subject.id).strip().casefold()
    if subject.type == "iban":
        return re.compile(r"(?<![0-9a-z])" + r"[\s-]*".join(re.sub(r"[^0-9a-z]", "", value)) + r"(?![0-9a-z])")
    if subject.type == "email":
        return re.compile(r"(?<![\w.+-])" + re.escape(value) + r"(?![\w-])")
    if subject.type == "text":
        return re.compile(r"(?<!\w)" + r"\s+".join(re.escape(word) for word in value.split()) + r"(?!\w)")
    return None


@dataclass(slots=True)
class _Search:
    """The runs about somebody; up to when was searched if the time was too short for all; what could not be read."""

    found: list[UUID] = field(default_factory=list)
    searched_to: datetime | None = None
    unread: list[UUID] = field(default_factory=list)
    unread_count: int = 0

    def look(self, row: dict[str, Any], pattern: re.Pattern[str] | None) -> None:
        """Looks through one run, as far as it opens. Who is found in a part of it is found."""
        if pattern is None:
            self.found.append(row["id"])
            return
        run, whole = opened_as_far(row)
        if pattern.search(_text(run)):
            self.found.append(row["id"])
        elif not whole:
            log.error("run %s could not be looked through: a seal in it is broken", row["id"])
            self.unread_count += 1
            self.unread += [row["id"]] if len(self.unread) < MAX_UNREAD else []


async def _search(principal: Principal, subject: AboutWhom, before: datetime | None) -> _Search:
    pattern = pattern_of(subject)
    if pattern is not None and len(re.sub(r"\W", "", subject.id)) < 4:
        raise Problem(422, "value_too_short", "This value is too short to find one person by; name more of it.")
    deadline = time.monotonic() + BUDGET_SECONDS
    key: dict[str, Any] = {"after_at": None, "after_id": None}
    search = _Search()
    record = subject.type if pattern is None else None
    parameters = {"before": before, "type": record, "subject_id": subject.id, "limit": PAGE}
    while True:
        async with database().tenant_transaction(principal, "privacy.erase") as connection:
            cursor = await connection.execute(query("privacy/search_runs"), parameters | key)
            rows = await cursor.fetchall()
        for row in rows:
            search.look(row, pattern)
        if len(rows) < PAGE:
            return search
        key = {"after_at": rows[-1]["created_at"], "after_id": rows[-1]["id"]}
        if time.monotonic() >= deadline:
            search.searched_to = rows[-1]["created_at"]
            return search


def _text(run: dict[str, Any]) -> str:
    """Every name and value of a run, each in its line, as it is seen: NFKC, without characters that are not seen."""
    return shown("\n".join(_texts(run))).casefold()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


async def _described(principal: Principal, run_ids: list[UUID]) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "privacy.read") as connection:
        return await (await connection.execute(query("privacy/describe_runs"), {"ids": run_ids})).fetchall()
