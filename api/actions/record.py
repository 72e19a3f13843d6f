"""What is recorded of a proposal: the canonical payload, its digest, and the decision on it."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import rfc8785

from api.directory.service import questions_of
from api.gate.case import Case
from api.gate.classes import class_of
from api.gate.lookups import keys_of
from api.gate.models import Contract, Decision, Facts, Outcome, Proposal
from api.gate.money import format_amount
from api.gate.pointer import resolve
from api.gate.redaction import redact
from api.ids import new_id


def payload_of(proposal: Proposal, facts: Facts) -> tuple[str, str]:
    """The RFC 8785 bytes that an approval binds to, as text, and `sha256:` of them."""
    contract = facts.contracts.get(proposal.tool)
    known = facts.known_tools[proposal.tool]
    connection = facts.connection_of(contract) if contract else None
    payload = rfc8785.dumps(
        {
            "tenant": str(facts.tenant_id),
            "environment": facts.workflow.environment,
            "workflow_version": facts.workflow.version,
            "tool": proposal.tool,
            "tool_contract_version": known.version,
            "connection": str(connection) if connection else None,
            "args": proposal.args,
        }
    )
    return payload.decode(), f"sha256:{sha256(payload).hexdigest()}"


def basis_of(facts: Facts) -> dict[str, Any]:
    """What a decision rested on beside the facts of its epoch: with it, anybody can decide again."""
    rests: dict[str, Any] = {
        "directory": {key: answer.model_dump(mode="json") for key, answer in facts.directory.items()},
        "limits": {key: state.model_dump() for key, state in facts.limits.items()},
    }
    return rests | ({"observed": facts.run.observed} if facts.run else {})


def record_of(proposal: Proposal, facts: Facts, decision: Decision, now: datetime) -> dict[str, Any]:
    """The arguments of record_action_v1, with ids made new for each decision."""
    payload, digest = payload_of(proposal, facts)
    contract = facts.contracts.get(proposal.tool)
    known = facts.known_tools[proposal.tool]
    return {
        "id": new_id(),
        "decision_id": new_id(),
        "exception_id": new_id(),
        "run_id": proposal.run_id,
        "workflow_id": facts.workflow.id,
        "epoch": facts.epoch,
        "basis": basis_of(facts),
        "keys": questions_of(keys_of(proposal.args)),
        "tool": proposal.tool,
        "contract_version": known.version,
        "effect": known.effect,
        "connection_id": facts.connection_of(contract) if contract else None,
        "payload": payload,
        "digest": digest,
        "confidence": proposal.confidence,
        "rationale": proposal.rationale,
        "citations": proposal.citations,
        "evidence": proposal.evidence,
        "subject": proposal.subject,
        "moved": proposal.moved,
        "decision": decision.model_dump(mode="json"),
        "reasons": reasons_of(decision),
        "class": _class(proposal, facts, decision),
        "severity": _severity(decision),
        "summary": summary_of(proposal, facts),
        "expires_at": now + timedelta(hours=facts.workflow.spec.approval_hours),
    }


def reasons_of(decision: Decision) -> list[dict[str, Any]]:
    """The findings that did not allow: what the audit record keeps of a decision, and so without personal values.

    The chain is kept for ever: it names the place (`pointer`), and never the value that is there.
    """
    found = [f.model_dump(mode="json", exclude_none=True) for f in decision.findings if f.outcome is not Outcome.ALLOW]
    return [f | {"message": redact(f["message"])} for f in found]


def _class(proposal: Proposal, facts: Facts, decision: Decision) -> dict[str, Any] | None:
    """The class of the exception that the decision opens, if it opens one."""
    if decision.outcome is not Outcome.ESCALATE:
        return None
    return class_of(Case(proposal, facts, decision.decided_at), decision).model_dump(mode="json")


def _severity(decision: Decision) -> str:
    escalated = {f.check for f in decision.findings if f.outcome is Outcome.ESCALATE}
    if {"hard_gate", "value"} <= escalated:
        return "critical"
    if escalated & {"hard_gate", "value"}:
        return "high"
    return "medium" if len(escalated) > 1 else "low"


def summary_of(proposal: Proposal, facts: Facts) -> str:
    """One line for the queue: the tool's title, and every amount with its currency."""
    contract = facts.contracts.get(proposal.tool)
    return line_of(contract, proposal.args) if contract else proposal.tool


def line_of(contract: Contract, args: dict[str, Any]) -> str:
    """What is done, in one line: the tool's title, and every amount with its currency."""
    amounts = []
    for pattern, argument in contract.arguments.items():
        if argument.role == "amount":
            currency = [v for _, v in resolve(args, argument.currency)] if argument.currency else []
            amounts += [
                format_amount(value, str(currency[0]))
                for _, value in resolve(args, pattern)
                if isinstance(value, int) and currency
            ]
    return ": ".join([contract.title, ", ".join(amounts)] if amounts else [contract.title])
