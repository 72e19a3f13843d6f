"""The constitution: what is in force, its history, and the way from a draft to the next version."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import rfc8785

from api.actions.service import proposal_of, well_formed
from api.auth import Principal
from api.constitution import diff
from api.constitution.library import Ready, library
from api.constitution.models import NewConstitution, NewDraft, Rebasing, Simulation
from api.constitution.rebase import Side, preview, require_decided
from api.constitution.validation import Fault, Schemas, broken, parsed, unknown_names, warnings
from api.db import Answer, Idempotency, Row, database
from api.directory.service import questions_of
from api.errors import Problem
from api.gate.decide import decide as decide_action
from api.gate.models import Decision, Facts, Proposer, Rule
from api.ids import new_id
from api.pagination import PageRequest
from api.sql import query
from api.workflows import facts as workflow_facts


async def list_versions(principal: Principal, limit: int, versions: list[int] | None = None) -> list[Row]:
    """Versions, newest first: the newest, or those named."""
    parameters = {"limit": limit, "versions": versions}
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        return await (await connection.execute(query("constitution/list_versions"), parameters)).fetchall()


async def history(principal: Principal, before: int | None, limit: int) -> list[Row]:
    """Versions without their rules, newest first: those before a number, or the newest. rules: how many it has."""
    parameters = {"limit": limit, "before": before}
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        return await (await connection.execute(query("constitution/history"), parameters)).fetchall()


async def since(principal: Principal) -> dict[str, Row]:
    """The version, and its time, since which each rule in force says what it says, by the rule's id.

    at_least: it may be older; only the newest 30 versions are looked at.
    """
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        rows = await (await connection.execute(query("constitution/since"))).fetchall()
    return {row["id"]: row for row in rows}


async def get_version(principal: Principal, version: int | None = None) -> Row:
    """The version of this number, or the one in force; Problem 404 when there is no such."""
    # What is no number of a version is in no row.
    named = [version] if version is not None and version < 2**31 else None
    if version is not None and named is None:
        raise Problem(404, "not_found", "There is no such version.")
    rows = await list_versions(principal, 1, named)
    if not rows:
        raise Problem(404, "not_found", "There is no such version.")
    return rows[0]


async def publish(principal: Principal, body: NewConstitution, once: Idempotency) -> Answer:
    """Publishes the next version at once.

    Raises Problem 412 when another was published since it was written, 409 `second_person_needed` when it may let more
    happen without a person: that takes a draft and somebody else.
    """
    await _require_known_names(principal, body.rules, "constitution.publish", once)
    args = body.model_dump(mode="json")
    args["payload"] = _payload(body.expected_version, args["rules"])
    return await database().call(principal, "publish_constitution_v1", args, once)


async def list_drafts(principal: Principal, page: PageRequest, status: str | None) -> Row:
    rows = await _drafts(principal, page.key() | {"status": status, "id": None})
    return page.page(rows, "created_at", "id")


async def get_draft(principal: Principal, draft_id: UUID) -> Row:
    parameters = {"id": draft_id, "status": None, "after_at": None, "after_id": None, "limit": 1}
    rows = await _drafts(principal, parameters)
    if not rows:
        raise Problem(404, "not_found", "There is no such draft.")
    return rows[0]


async def create_draft(principal: Principal, body: NewDraft, once: Idempotency) -> Answer:
    """Writes a draft; 412 when its base is not in force."""
    await _require_known_names(principal, body.rules, "constitution.draft", once)
    args = {"id": new_id()} | _content(body)
    return await database().call(principal, "create_constitution_draft_v1", args, once)


async def change_draft(principal: Principal, draft_id: UUID, body: NewDraft, if_match: list[str] | None) -> Any:
    """Writes one's own draft anew, while it is one; 412 when it is another than the caller has read."""
    await _require_known_names(principal, body.rules, "constitution.draft", None)
    args = {"id": draft_id, "if_match": if_match} | _content(body)
    return (await database().call(principal, "update_constitution_draft_v1", args)).result


async def preview_rebase(principal: Principal, draft_id: UUID, keep: Mapping[str, Side] | None = None) -> Row:
    """A draft on top of the version in force, which `to_version` is, and what it changes there; saves nothing."""
    draft, now = await get_draft(principal, draft_id), await get_version(principal)
    base = await get_version(principal, draft["base_version"])
    return preview(base, draft["rules"], now, keep or {})


async def rebase(principal: Principal, draft_id: UUID, body: Rebasing, once: Idempotency) -> Answer:
    """Writes one's own overtaken draft anew on top of the version in force; one in review is replaced by a new draft.

    Raises Problem 409: `already_decided`, `not_overtaken`, `conflicts` with each rule that is not decided on; 412 when
    another version is in force than was looked at; 422 when the rules do not hold together. Database errors CS403 for
    somebody else than its author, CS412 when the draft was changed meanwhile.
    """
    before = await database().stored(principal, "constitution.draft", once)
    if before is not None:
        await _replaced(principal, draft_id, before.result)
        return before
    draft, told = await get_draft(principal, draft_id), await preview_rebase(principal, draft_id, body.keep)
    require_decided(draft, told, body.to_version, body.keep, principal.claims["sub"])
    rules, faults = parsed(told["rules"])
    _refuse([*faults, *broken(rules), *unknown_names(rules, await _schemas(principal))])
    content = {
        "base_version": told["to_version"],
        "rules": told["rules"],
        "payload": _payload(told["to_version"], told["rules"]),
        "reason": draft["reason"],
    }
    if draft["status"] == "draft":
        args = content | {"id": draft_id, "if_match": [str(draft["revision"])]}
        return await database().call(principal, "update_constitution_draft_v1", args, once)
    # What was handed over does not change: a draft of now takes its place, and only then it is taken back.
    answer = await database().call(principal, "create_constitution_draft_v1", content | {"id": new_id()}, once)
    await _replaced(principal, draft_id, answer.result)
    return answer


async def _replaced(principal: Principal, draft_id: UUID, anew: Row) -> None:
    """Takes back the draft in review that another stands for; also when that was as far as an earlier request came.

    What was decided or taken back meanwhile stays that: the new draft is there all the same.
    """
    if str(draft_id) == str(anew["id"]) or (await get_draft(principal, draft_id))["status"] != "in_review":
        return
    args = {"id": draft_id, "reason": f"Brought up to version {anew['base_version']}, in draft {anew['id']}."}
    try:
        await database().call(principal, "withdraw_constitution_draft_v1", args)
    except psycopg.Error as error:
        if error.sqlstate != "CS409":
            raise


async def submit(principal: Principal, draft_id: UUID, once: Idempotency) -> Answer:
    return await database().call(principal, "submit_constitution_draft_v1", {"id": draft_id}, once)


async def withdraw(principal: Principal, draft_id: UUID, reason: str, once: Idempotency) -> Answer:
    args = {"id": draft_id, "reason": reason}
    return await database().call(principal, "withdraw_constitution_draft_v1", args, once)


async def decide(
    principal: Principal, draft_id: UUID, verdict: str, digest: str, reason: str, once: Idempotency
) -> Answer:
    """Publishes a draft in review, which is in force at once, or rejects it.

    Raises a database error CS409 for another digest, or for who wrote what widens; CS412 when the constitution has
    moved since; CS403 for who may not publish, or has no second factor.
    """
    args = {"id": draft_id, "verdict": verdict, "digest": digest, "reason": reason}
    return await database().call(principal, "decide_constitution_draft_v1", args, once)


async def restore(principal: Principal, version: int, reason: str, once: Idempotency) -> Answer:
    """Drafts an older version anew, to be published like any other.

    Raises Problem 422 when it is one that could not be written any more.
    """
    before = await database().stored(principal, "constitution.draft", once)
    if before is not None:
        return before
    old, now = await get_version(principal, version), await get_version(principal)
    rules, faults = parsed(old["rules"])
    faults += [*broken(rules), *unknown_names(rules, await _schemas(principal))]
    _refuse(faults)
    args = {
        "id": new_id(),
        "base_version": now["version"],
        "rules": old["rules"],
        "payload": _payload(now["version"], old["rules"]),
        "reason": reason,
        "origin_version": version,
    }
    return await database().call(principal, "create_constitution_draft_v1", args, once)


async def compare(principal: Principal, version: int, other: int | None) -> Row:
    """What a version lets happen beyond another: the one named, else the one in force."""
    new, old = await get_version(principal, version), await get_version(principal, other)
    return _difference(old, new["rules"], new["version"])


async def compare_draft(principal: Principal, draft_id: UUID) -> Row:
    """What a draft lets happen beyond the version that it was written against."""
    draft = await get_draft(principal, draft_id)
    old = await get_version(principal, draft["base_version"])
    return _difference(old, draft["rules"], draft["version"])


async def validate(principal: Principal, documents: Sequence[dict[str, Any]]) -> Row:
    """What is wrong with rules, what is odd about them, and how they differ from those in force; saves nothing."""
    now, schemas = await get_version(principal), await _schemas(principal)
    rules, errors = parsed(documents)
    errors += [*broken(rules), *unknown_names(rules, schemas)]
    whole = [rule.model_dump(mode="json") for rule in rules if rule is not None]
    return _difference(now, whole, None) | {
        "valid": not errors,
        "errors": errors,
        "warnings": list(warnings(rules, schemas, datetime.now(UTC))),
    }


def list_library(area: str | None) -> list[Ready]:
    """Rules that are ready to be taken over, of one area or all."""
    return [ready for ready in library() if area in (None, ready.area)]


async def simulate(principal: Principal, body: Simulation) -> Row:
    """The decision on a proposal under the rules in force and under others, on the same facts; records nothing.

    Raises Problem 404 without such a draft or run, 422 for what is no proposal of the workflow's.
    """
    proposed, rules = body.proposal, body.rules
    if body.draft_id is not None:
        rules = [Rule.model_validate(rule) for rule in (await get_draft(principal, body.draft_id))["rules"]]

    def both(facts: Facts, proposer: Proposer) -> tuple[Decision, Decision]:
        proposal, now = proposal_of(proposed, proposer), datetime.now(UTC)
        others = facts.constitution.model_copy(update={"rules": rules})
        under_others = facts.model_copy(update={"constitution": others})
        in_force = decide_action(proposal, facts, now)
        well_formed(proposal, in_force)
        if facts.run is None:
            raise Problem(404, "not_found", "There is no such run.")
        return in_force, decide_action(proposal, under_others, now)

    asked = workflow_facts.Asked.by(proposed.run_id, proposed.args)
    # Nothing is recorded, so only this load tells whether whoever asks still may: what is in memory does not know.
    in_force, candidate = both(*await workflow_facts.load(principal, proposed.workflow, asked))
    if in_force.limits:
        # What the limits have counted is asked for each time; a proposal would be told of it when it is recorded.
        arguments = {
            "workflow": proposed.workflow,
            "run_id": proposed.run_id,
            "keys": questions_of(asked.keys),
            "limits": [claim.model_dump(mode="json") for claim in in_force.limits],
        }
        told = (await database().call(principal, "gate_facts_v1", arguments)).result
        in_force, candidate = both(*workflow_facts.keep(principal, proposed.workflow, told, asked))
    return {"in_force": in_force, "candidate": candidate, "differs": _verdict(in_force) != _verdict(candidate)}


def _verdict(decision: Decision) -> Any:
    """What follows from a decision."""
    return decision.outcome, decision.required_approvals


def _difference(old: Row, rules: list[Row], to_version: int | None) -> Row:
    return {
        "from_version": old["version"],
        "to_version": to_version,
        "widens": diff.widens(old["rules"], rules),
        "changes": diff.changes(old["rules"], rules),
    }


def _content(body: NewDraft) -> Row:
    args = body.model_dump(mode="json")
    return args | {"payload": _payload(body.base_version, args["rules"])}


def _payload(base_version: int, rules: list[Row]) -> str:
    """The bytes that a draft's digest covers (RFC 8785)."""
    return rfc8785.dumps({"base_version": base_version, "rules": rules}).decode()


async def _drafts(principal: Principal, parameters: Row) -> list[Row]:
    async with database().tenant_transaction(principal, "constitution.read") as connection:
        return await (await connection.execute(query("constitution/list_drafts"), parameters)).fetchall()


async def _schemas(principal: Principal) -> Schemas:
    """What each tool takes that the tenant knows."""
    tools = (await database().call(principal, "list_tools_v1", {})).result
    return {tool["name"]: tool["input_schema"] for tool in tools}


async def _require_known_names(
    principal: Principal, rules: list[Rule], permission: str, once: Idempotency | None
) -> None:
    """Refuses rules that name what no tool takes; but a request that was answered before gets its answer."""
    faults = list(unknown_names(rules, await _schemas(principal)))
    if faults and await database().stored(principal, permission, once) is None:
        _refuse(faults)


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        errors = [{"pointer": fault.pointer, "message": fault.message, "kind": fault.kind} for fault in faults[:50]]
        raise Problem(422, "invalid_rules", "The rules do not hold together.", errors)
