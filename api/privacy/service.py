"""Requests for erasure: who is meant is looked for in what can be opened, and kept nowhere."""

import re
import time
from collections.abc import Iterator
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
from api.privacy.sealing import opened_run
from api.sql import query

#: Runs that are opened at once: what was read in them may be large.
PAGE = 50
#: After so many seconds a search ends where it is.
BUDGET_SECONDS = 20.0


async def request(principal: Principal, body: NewErasure, once: Idempotency) -> Answer:
    """Finds the runs about somebody and, unless it is a dry run, records that they are to be erased.

    The answer is the request as `get` shows it; of a dry run, what it would be, with no id.
    """
    stored = await database().stored(principal, "privacy.erase", once)
    if stored is not None:
        return Answer(await get(principal, UUID(stored.result["id"])), replayed=True)
    found, searched_to = await _search(principal, body.subject, body.before)
    subject = masked(body.subject)
    if body.dry_run:
        runs = await _described(principal, found)
        shown = {"id": None, "subject": subject, "reason": body.reason, "searched_to": searched_to, "runs": runs}
        return Answer(shown, replayed=False)
    args = {"id": new_id(), "subject": subject, "reason": body.reason, "searched_to": searched_to, "run_ids": found}
    answer = await database().call(principal, "request_erasure_v1", args, once)
    return Answer(await get(principal, UUID(answer.result["id"])), answer.replayed)


async def get(principal: Principal, erasure_id: UUID) -> dict[str, Any]:
    """A request with its runs; Problem 404 when the tenant has none of this id."""
    async with database().tenant_transaction(principal, "privacy.read") as connection:
        row = await (await connection.execute(query("privacy/get_erasure"), {"id": erasure_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such request for erasure.")
    run_ids = row.pop("run_ids")
    return row | {"runs": await _described(principal, run_ids)}


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


async def _search(
    principal: Principal, subject: AboutWhom, before: datetime | None
) -> tuple[list[UUID], datetime | None]:
    """The runs about somebody, and up to when was searched if the time was too short for all."""
    pattern = pattern_of(subject)
    if pattern is not None and len(re.sub(r"\W", "", subject.id)) < 4:
        raise Problem(422, "value_too_short", "This value is too short to find one person by; name more of it.")
    deadline = time.monotonic() + BUDGET_SECONDS
    key: dict[str, Any] = {"after_at": None, "after_id": None}
    found: list[UUID] = []
    record = subject.type if pattern is None else None
    parameters = {"before": before, "type": record, "subject_id": subject.id, "limit": PAGE}
    while True:
        async with database().tenant_transaction(principal, "privacy.erase") as connection:
            cursor = await connection.execute(query("privacy/search_runs"), parameters | key)
            rows = await cursor.fetchall()
        found += [row["id"] for row in rows if pattern is None or pattern.search(_text(opened_run(row)))]
        if len(rows) < PAGE:
            return found, None
        key = {"after_at": rows[-1]["created_at"], "after_id": rows[-1]["id"]}
        if time.monotonic() >= deadline:
            return found, rows[-1]["created_at"]


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
