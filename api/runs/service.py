"""Runs, and reading through the gateway: scoped, minimised, labelled."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from math import ceil
from typing import Any, Literal
from uuid import UUID

import psycopg
import rfc8785

from api.auth import Principal
from api.config import ConfigurationError
from api.connections import service as connections
from api.connections.vault import SealError
from api.db import Answer, Idempotency, database
from api.errors import Problem
from api.gate.checks.contract import violations
from api.gate.checks.scope import outside_of_grant
from api.gate.models import Contract, Facts, ToolGrant
from api.ids import new_id
from api.privacy import sealing
from api.privacy.run_keys import Keys
from api.providers import client
from api.runs import tokens, turns
from api.runs.minimise import label, masked, minimise
from api.runs.models import NewObservation, NewRun
from api.sql import query
from api.workflows import facts as workflow_facts

REFRESH_TRIES = 20


async def start(principal: Principal, body: NewRun, once: Idempotency) -> Answer:
    """Starts a run of the workflow's live version."""
    args = {"id": new_id()} | body.model_dump(mode="json")
    answer = await database().call(principal, "start_run_v1", args, once)
    if not answer.replayed:
        workflow_facts.started(principal, answer.result)
    return answer


async def get(principal: Principal, run_id: UUID) -> dict[str, Any]:
    """The trace of a run; Problem 404 when this tenant has none of this id."""
    async with database().tenant_transaction(principal, "runs.read") as connection:
        row = await (await connection.execute(query("runs/get_run"), {"id": run_id})).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such run.")
    return sealing.shown_run(row)


def _granted(facts: Facts, body: NewObservation) -> tuple[Contract, ToolGrant]:
    """The contract and grant of a read, if the access spec allows it.

    Raises Problem 404 for an unknown tool, 403 for one outside of the spec, 422 for arguments that do not fit.
    """
    contract, grant = facts.contracts.get(body.tool), facts.workflow.spec.tools.get(body.tool)
    if body.tool not in facts.known_tools:
        raise Problem(404, "unknown_tool", f"There is no tool named {body.tool}.")
    if contract is None or grant is None:
        raise Problem(403, "outside_access_spec", f"The workflow {facts.workflow.slug} may not use {body.tool}.")
    if contract.access != "read" or grant.access != "read":
        raise Problem(403, "not_a_read_tool", "Only read tools can be observed with; propose an action instead.")
    errors = [{"pointer": f.pointer, "message": f.message} for f in violations(contract, body.args)]
    if errors:
        raise Problem(422, "contract_violation", "The arguments do not fit the tool's contract.", errors)
    outside = [
        {"pointer": f.pointer, "message": f.message}
        for f in islice(outside_of_grant(body.args, grant, f"tools.{body.tool}"), 20)
    ]
    if outside:
        raise Problem(403, "outside_access_spec", "The workflow may not read this.", outside)
    return contract, grant


async def _workflow_of(principal: Principal, run_id: UUID, once: Idempotency | None) -> dict[str, Any]:
    """{workflow, answer, kept} of a run: its workflow's slug, what the same request was answered before, and its keys.

    Raises Problem 404 without such a run.
    """
    parameters = {
        "run_id": run_id,
        "key": once.key if once else None,
        "request": once.request if once else None,
    }
    async with database().tenant_transaction(principal, "runs.read") as connection:
        row = await (await connection.execute(query("runs/workflow_of_run"), parameters)).fetchone()
    if row is None:
        raise Problem(404, "not_found", "There is no such run.")
    return row


@dataclass(frozen=True, slots=True)
class ForAction:
    """A read that serves one action: around its call, to find out what became of it, or what it would change."""

    action_id: UUID
    purpose: Literal["premise", "before", "after", "read_back", "look"]


async def observe(
    principal: Principal,
    run_id: UUID,
    body: NewObservation,
    once: Idempotency | None,
    serves: ForAction | None = None,
) -> Answer:
    """Reads through the gateway, or takes what the client says it read, and keeps what the access spec names.

    A failed read is an observation with status `failed`, not an error: it never blocks the run. Raises Problem 429 with
    `Retry-After` when the connection takes no call now.
    """
    of_run = await _workflow_of(principal, run_id, once)
    workflow = of_run["workflow"]
    if of_run["answer"] is not None:
        answer = Answer(sealing.opened(of_run["kept"], of_run["answer"]), replayed=True)
    else:
        body = await tokens.with_values(principal, workflow, run_id, body)
        answer = await _observe(principal, run_id, body, once, serves, of_run)
    shown = await tokens.shown_to(principal, workflow, run_id, answer.result)
    return Answer(shown, answer.replayed)


async def _observe(
    principal: Principal,
    run_id: UUID,
    body: NewObservation,
    once: Idempotency | None,
    serves: ForAction | None,
    of_run: dict[str, Any],
) -> Answer:
    workflow = of_run["workflow"]
    facts, _, (contract, grant) = await workflow_facts.judge(principal, workflow, lambda f, _: _granted(f, body))
    read = _Read(new_id(), await sealing.keys_for(principal, of_run["kept"]), facts, contract, grant, body.args)
    if body.result is not None:
        # Nobody saw the answer that a client asserts: the contract's word counts only where a reviewer said so.
        args = {"run_id": run_id, "tool": contract.name, "args": read.sealed_args()}
        args |= {"contract_version": contract.version} | read.kept(body.result, asserted=grant.asserted == "untrusted")
        answer = await database().call(principal, "assert_observation_v1", args | {"id": read.id}, once)
        return _remembered(principal, read.keys, answer)
    if contract.execution.mode == "external":
        raise Problem(422, "external_tool", "Your client reads with this tool itself; send its result along.")
    for attempt in range(2):
        connection_id = facts.connection_of(contract)
        claim = {
            "id": read.id,
            "run_id": run_id,
            "epoch": facts.epoch,
            "tool": contract.name,
            "contract_version": contract.version,
            "connection_id": connection_id,
            "args": read.sealed_args(),
            "lease_seconds": 60,
            "action_id": serves.action_id if serves else None,
            "purpose": serves.purpose if serves else None,
        }
        claimed = await turns.claimed(partial(_claim, principal, claim), serves.purpose if serves else None)
        if "credential" in claimed:
            return await _read(principal, read, claimed["credential"], once)
        if claimed.get("until"):
            raise _held(claimed)
        if attempt == 0:
            facts, _ = await workflow_facts.load(principal, workflow)
            contract, grant = _granted(facts, body)
            read = _Read(read.id, read.keys, facts, contract, grant, body.args)
    raise Problem(409, "epoch_moved", "The rules changed twice while this was read; try again.")


async def _claim(principal: Principal, claim: dict[str, Any]) -> dict[str, Any]:
    return dict((await database().call(principal, "claim_observation_v1", claim)).result)


def _held(claimed: dict[str, Any]) -> Problem:
    wait = max(1, ceil((datetime.fromisoformat(claimed["until"]) - datetime.now(UTC)).total_seconds()))
    detail = f"This connection takes no call now ({claimed['reason']}); try again in {wait} s."
    return Problem(429, claimed["reason"], detail, headers={"Retry-After": str(wait)})


def _remembered(principal: Principal, keys: Keys, answer: Answer) -> Answer:
    """The answer with what was read opened; remembered, if it is new."""
    observation = sealing.opened(keys, answer.result)
    if not answer.replayed:
        workflow_facts.observed(principal, observation)
    return Answer(observation, answer.replayed)


@dataclass(frozen=True, slots=True)
class _Read:
    """One read: its id, the keys of its run, facts, contract and grant that it is made under, and its arguments."""

    id: UUID
    keys: Keys
    facts: Facts
    contract: Contract
    grant: ToolGrant
    args: dict[str, Any]

    def sealed_args(self) -> dict[str, Any]:
        return sealing.seal_args(self.keys, self.id, self.args)

    def kept(self, result: Any, *, asserted: bool = False) -> dict[str, Any]:
        """What is kept of an answer, with labels, sealed; and the digest of what is within (SHA-256 over RFC 8785)."""
        kept = minimise(result, self.grant.read_fields)
        labels = label(self.contract, kept, asserted=asserted)
        kept, labels = masked(kept, labels, self.facts.workflow.spec.data_classes)
        digest = "sha256:" + sha256(rfc8785.dumps(kept)).hexdigest()
        return sealing.seal_result(self.keys, self.id, kept, labels) | {"digest": digest}


async def _read(principal: Principal, read: _Read, credential: dict[str, Any], once: Idempotency | None) -> Answer:
    outcome = await call_with_credential(credential, str(read.id), read.contract, read.args, None)
    if outcome.troubled or outcome.pause:
        note = {"observation_id": read.id, "health": "failed" if outcome.troubled else None}
        await database().call(principal, "note_read_v1", note | {"retry_after": outcome.pause})
    finish: dict[str, Any] = {"id": read.id, "status": "failed", "error": outcome.error}
    if outcome.reached == "yes" and outcome.error is None:
        try:
            finish = {"id": read.id, "status": "succeeded"} | read.kept(outcome.body)
        except rfc8785.CanonicalizationError:
            finish["error"] = "The answer contains numbers that cannot be kept exactly."
    answer = await database().call(principal, "finish_observation_v1", finish, once)
    if answer.replayed:  # the same request was sent twice at once, and the other one was first
        finish = {"id": read.id, "status": "failed", "error": "The same request was answered already."}
        await database().call(principal, "finish_observation_v1", finish)
    return _remembered(principal, read.keys, answer)


#: What keeps a call from being made at all.
_NOT_SENT = (client.TokenError, connections.RefreshBusyError, SealError, ConfigurationError, Problem, psycopg.Error)


async def call_with_credential(
    credential: dict[str, Any],
    claimed_for: str,
    contract: Contract,
    args: dict[str, Any],
    idempotency_key: str | None,
    lease: client.Lease | None = None,
) -> client.Outcome:
    """Calls a tool with a released credential: refreshes it when it is about to end, and once more after a 401.

    Raises nothing for what a provider, a token or the database can do; whatever kept the call from being made is an
    outcome that did not reach the provider.
    """
    try:
        site = connections.site_of(credential)
        tokens = connections.open_credential(credential)
        if connections.is_expiring(credential) and tokens.get("refresh_token"):
            tokens = await _renew(credential, tokens, claimed_for, lease)
        outcome = await client.call_tool(site, contract, args, tokens["access_token"], idempotency_key, lease)
        if outcome.unauthorized:
            tokens = await _refresh(credential, claimed_for, lease)
            outcome = await client.call_tool(site, contract, args, tokens["access_token"], idempotency_key, lease)
    except _NOT_SENT as error:
        return _not_sent(error)
    return outcome


def _not_sent(error: Exception) -> client.Outcome:
    if isinstance(error, psycopg.Error):
        reason = error.diag.message_primary if (error.sqlstate or "").startswith("CS") else None
        return client.Outcome("no", error=reason or "The database did not answer while the tokens were refreshed.")
    reason = str(error.detail) if isinstance(error, Problem) else str(error)
    return client.Outcome("no", error=reason, hopeless=isinstance(error, client.TokenError) and error.final)


async def _renew(
    credential: dict[str, Any], tokens: dict[str, str], claimed_for: str, lease: client.Lease | None
) -> dict[str, str]:
    """Fresh tokens ahead of time; the old ones, while they last, if that does not work just now."""
    try:
        return await _refresh(credential, claimed_for, lease)
    except (client.TokenError, connections.RefreshBusyError) as error:
        if connections.is_expiring(credential, 0) or (isinstance(error, client.TokenError) and error.final):
            raise
        return tokens


async def _refresh(credential: dict[str, Any], claimed_for: str, lease: client.Lease | None) -> dict[str, str]:
    for _ in range(REFRESH_TRIES):
        try:
            return await connections.refresh(credential, claimed_for)
        except connections.RefreshBusyError:
            if lease is not None and lease.remaining() < 2 * client.RESERVE:
                raise
            await asyncio.sleep(0.25)
    return await connections.refresh(credential, claimed_for)
