"""The directory: counterparties the tenant vouches for, changed by what one proposes and another person approves."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import rfc8785

from api.auth import Principal
from api.db import Answer, Idempotency, Row, database
from api.directory.matching import Asked, account_key, match_of
from api.directory.models import EntryData, LookTwice, Match, NewChange
from api.errors import Problem
from api.gate import normalise
from api.gate.models import DirectoryAnswer, Environment
from api.ids import new_id
from api.pagination import PageRequest
from api.sql import query


async def list_entries(
    principal: Principal, page: PageRequest, search: str | None, environment: str | None, kind: str | None, status: str
) -> Row:
    """Entries by part of a name or by a detail in full, newest first."""
    words = normalise.words(search) if search else None
    parameters = page.key() | {"environment": environment, "kind": kind, "status": status}
    parameters |= {"search": search, "words": words or None, "keys": _keys(search) if search else []}
    rows = await _rows(principal, query("directory/list_entries"), parameters)
    return page.page(rows, "created_at", "id")


async def get_entry(principal: Principal, entry_id: UUID) -> Row:
    rows = await _rows(principal, query("directory/get_entry"), {"id": entry_id})
    if not rows:
        raise Problem(404, "not_found", "There is no such entry.")
    return rows[0]


async def get_settings(principal: Principal) -> Row:
    """The cooling-off period in force, by the database's reckoning, and what it is lowered to from when."""
    return (await _rows(principal, query("directory/get_settings"), {}))[0]


async def list_changes(principal: Principal, page: PageRequest, status: str | None) -> Row:
    rows = await _rows(principal, query("directory/list_changes"), page.key() | {"status": status, "id": None})
    return page.page(rows, "created_at", "id")


async def get_change(principal: Principal, change_id: UUID) -> Row:
    """A change with what is there now, and what looks like something that it is not."""
    parameters = {"id": change_id, "status": None, "after_at": None, "after_id": None, "limit": 1}
    rows = await _rows(principal, query("directory/list_changes"), parameters)
    if not rows:
        raise Problem(404, "not_found", "There is no such change.")
    change = rows[0]
    before: Row | None = None
    if change["kind"] == "settings":
        found = await get_settings(principal)
        before = {name: found[name] for name in ("cooling_off_hours", "lowered_to", "lowered_from_at")}
    elif change["kind"] != "create":
        entry = await get_entry(principal, change["entry_id"])
        before = {
            "kind": entry["kind"],
            "name": entry["name"],
            "version": entry["version"],
            "details": entry["details"],
        }
    return change | {"before": before, "warnings": await _warnings(principal, change)}


async def propose(principal: Principal, body: NewChange, once: Idempotency) -> Answer:
    """Records a proposal; nothing else changes until another person approves it.

    Raises Problem 404 for an entry that is not there, 409 when it has changed since or another change of it is open.
    """
    before = await database().stored(principal, "directory.propose", once)
    if before is not None:
        return before
    environment: str | None = body.environment
    entry_id = body.entry_id or (new_id() if body.kind == "create" else None)
    if body.kind in ("change", "remove") and entry_id:
        environment = (await get_entry(principal, entry_id))["environment"]
    payload: Row = {
        "id": str(new_id()),
        "environment": environment,
        "kind": body.kind,
        "entry_id": str(entry_id) if entry_id else None,
        "base_version": body.version or 0,
        "entry": _entry(body.entry) if body.entry else None,
        "details": _details(body.entry) if body.entry else [],
        "settings": {"cooling_off_hours": body.cooling_off_hours} if body.kind == "settings" else None,
    }
    canonical = rfc8785.dumps(payload)
    args = {name: payload[name] for name in ("id", "environment", "kind", "entry_id", "base_version")} | {
        "payload": canonical.decode(),
        "digest": f"sha256:{sha256(canonical).hexdigest()}",
        "reason": body.reason,
        "evidence": [evidence.model_dump() for evidence in body.evidence],
        "expires_at": datetime.now(UTC) + timedelta(hours=body.expires_in_hours),
    }
    return await database().call(principal, "propose_directory_change_v1", args, once)


async def decide(
    principal: Principal, change_id: UUID, verdict: str, digest: str, reason: str, once: Idempotency
) -> Answer:
    """Approves a change, which does it at once, or rejects it.

    Raises Problem 403 for its maker, or at aal1; 409 for another digest, or when it is decided or has expired.
    """
    args = {"id": change_id, "verdict": verdict, "digest": digest, "reason": reason}
    return await database().call(principal, "decide_directory_change_v1", args, once)


async def withdraw(principal: Principal, change_id: UUID, reason: str, once: Idempotency) -> Answer:
    return await database().call(principal, "withdraw_directory_change_v1", {"id": change_id, "reason": reason}, once)


async def match(
    principal: Principal,
    environment: Environment,
    *,
    account: str | None = None,
    email: str | None = None,
    domain: str | None = None,
    name: str | None = None,
) -> Match:
    """What the tenant vouches for of a counterparty, as of now. Exact: what only looks alike is a warning.

    The gate's facts ask this function. Everything given must belong to one entry, or the state is `unknown`; bank
    details that are cooling off say until when. Raises Problem 422 for what is no account, address or domain.
    """
    try:
        asked = Asked.of(environment, account, email, domain, name)
    except ValueError as error:
        raise Problem(422, "not_comparable", f"This cannot be looked up: {error}.") from None
    if not asked.keys:
        raise Problem(422, "nothing_asked", "Ask by account, email, domain or name.")
    rows = await _rows(principal, query("directory/match"), asked.parameters())
    return match_of(asked, rows, datetime.now(UTC))


_TYPES = {"account": "bank_account", "email": "email", "domain": "domain", "name": "name"}
#: Of how many names and how many domains of a proposal it is asked whom they resemble.
_LOOKED_AT = 20


def questions_of(keys: Iterable[str]) -> list[Row]:
    """The keys of a proposal (api/gate/lookups.py) as private.directory_answers is asked."""
    looked = dict.fromkeys(("name", "domain"), 0)
    asked = []
    for key in keys:
        by, _, value = key.partition(":")
        question: Row = {"key": key, "type": _TYPES[by], "value": value}
        if by in looked and looked[by] < _LOOKED_AT and len(value) <= 100:
            looked[by] += 1
            question["skeleton"] = normalise.looks(value) if by == "name" else normalise.looks_of_domain(value)
        asked.append(question)
    return asked


def answers_of(told: Row) -> dict[str, DirectoryAnswer]:
    """What private.directory_answers told, by key; a key about which it says nothing has no answer."""
    found = {}
    for key, answer in told.items():
        by, _, value = key.partition(":")
        looks = normalise.looks(value) if by == "name" else normalise.looks_of_domain(value)
        near = {f"{n['value']} ({n['name']})" for n in answer["near"] if normalise.alike(looks, n["skeleton"])}
        # Who is known under this very key resembles nobody: two entries may share a domain.
        alike = [] if answer["entries"] else sorted(near)
        if answer["entries"] or alike:
            found[key] = DirectoryAnswer(entries=answer["entries"], alike=alike)
    return found


async def _warnings(principal: Principal, change: Row) -> list[LookTwice]:
    """What of a proposed entry looks like another entry, or is another's already."""
    entry, details = change["proposal"]["entry"], change["proposal"]["details"]
    if entry is None:
        return []
    found: dict[Any, LookTwice] = {}
    asked = [Asked(change["environment"], {"name": entry["key"]})]
    asked += [Asked(change["environment"], {"domain": d["key"].rpartition("@")[2]}) for d in details if d["skeleton"]]
    asked += [Asked(change["environment"], {"account": d["key"]}) for d in details if d["type"] == "bank_account"]
    for one in asked:
        rows = await _rows(principal, query("directory/match"), one.parameters() | {"except": change["entry_id"]})
        answer = match_of(one, rows, datetime.now(UTC))
        for warning in answer.warnings:
            found[warning.kind, warning.message] = warning
        for known in answer.findings[0].entries:
            by = answer.findings[0].by
            told = f"{known.name} has this {by} already."
            found[by, known.id] = LookTwice(kind="different_entries", message=told, entry_id=known.id)
    return list(found.values())


def _entry(data: EntryData) -> Row:
    return {
        "kind": data.kind,
        "name": data.name.strip(),
        "key": normalise.words(data.name),
        "skeleton": normalise.looks(data.name),
    }


def _details(data: EntryData) -> list[Row]:
    found = [
        {"type": d.type, "key": d.key, "skeleton": d.skeleton, "value": d.model_dump(exclude_none=True)}
        for d in data.details
    ]
    return sorted(found, key=lambda d: (d["type"], d["key"]))


def _keys(search: str) -> list[str]:
    """Everything that a search could be the key of."""
    found = [normalise.words(search)]
    for key in (account_key, normalise.email, normalise.domain, normalise.phone):
        try:
            found.append(key(search))
        except ValueError:
            continue
    return found


async def _rows(principal: Principal, statement: str, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "directory.read") as connection:
        return await (await connection.execute(statement, parameters)).fetchall()
