"""A small world to decide in: one live workflow that may pay through one connection."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.gate.decide import decide
from api.gate.models import (
    AccessSpec,
    Contract,
    Decision,
    Facts,
    Finding,
    Outcome,
    Proposal,
    Rule,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TOOL = "acme.payments.create"
WORKFLOW, WRITE, AGENT = UUID(int=1), UUID(int=2), UUID(int=3)

INSTRUCTION = "Pay the bill INV-1: 50.00 EUR, or 100.01 EUR with its fee, to DE89370400440532013000."
ARGS: dict[str, Any] = {"to": "DE89370400440532013000", "amount": 5000, "currency": "EUR", "note": "INV-1"}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["to"],
    "properties": {
        "to": {"type": "string", "maxLength": 40},
        "amount": {"type": "integer"},
        "currency": {"type": "string"},
        "note": {"type": "string"},
        "account": {"type": ["string", "integer"]},
        "items": {"type": "array", "items": {"type": "object"}},
        "meta": {"type": "object"},
    },
}


def contract(**changes: Any) -> Contract:
    """A tool that pays; its effect is a plain write unless told otherwise."""
    document = {
        "name": TOOL,
        "version": 4,
        "provider": "acme",
        "title": "Pay",
        "access": "write",
        "effect": "write",
        "reversible": False,
        "idempotency": "key",
        "input_schema": SCHEMA,
        "arguments": {"/to": {"role": "recipient"}, "/amount": {"role": "amount", "currency": "/currency"}},
        "execution": {"method": "POST", "path": "/v1/payments", "body": "json"},
    }
    return Contract.model_validate(document | changes)


def spec(grant: dict[str, Any] | None = None, **changes: Any) -> AccessSpec:
    """An access spec under which the world's proposal is allowed; `grant` changes what it says of the tool."""
    document = {
        "purpose": "Pay bills",
        "owner": "ada@example.com",
        "escalation_contact": "ada@example.com",
        "stage": "autonomous",
        "connections": {"acme": {"write": WRITE}},
        "tools": {TOOL: {"access": "write"} | (grant or {})},
        "confidence_min": 0.8,
        "value_max": {"EUR": 10_000},
    }
    return AccessSpec.model_validate(document | changes)


def facts(
    access: AccessSpec | None = None,
    tool: Contract | None = None,
    rules: list[dict[str, Any]] | None = None,
    connection: dict[str, Any] | None = None,
    **changes: Any,
) -> Facts:
    """The facts of the world; `connection` changes its one connection, `changes` any member of the facts."""
    tool = tool or contract()
    held = {"provider": "acme", "access": "write", "environment": "sandbox", "status": "active"}
    document = {
        "epoch": 7,
        "tenant_id": UUID(int=9),
        "workflow": {
            "id": WORKFLOW,
            "slug": "pay-bills",
            "environment": "sandbox",
            "version": 2,
            "spec": access or spec(),
        },
        "contracts": {tool.name: tool},
        "known_tools": {tool.name: {"version": tool.version, "effect": tool.effect}},
        "connections": {WRITE: held | (connection or {})},
        "kill_switches": [],
        "constitution": {"version": 3, "rules": [rule(**r) for r in rules or []]},
        "run": {"id": UUID(int=5), "instruction": INSTRUCTION},
    }
    return Facts.model_validate(document | changes)


def rule(**changes: Any) -> Rule:
    """A rule that asks for a person whenever its expression holds."""
    document = {
        "id": "a-rule",
        "title": "A rule",
        "principle": "Because.",
        "when": "true",
        "effect": "require_approval",
    }
    return Rule.model_validate(document | changes)


def proposal(args: Any = None, **changes: Any) -> Proposal:
    """What the agent proposes: a payment of 50.00 EUR, with confidence."""
    document = {
        "run_id": UUID(int=5),
        "tool": TOOL,
        "args": ARGS if args is None else args,
        "confidence": 0.95,
        "principal": {"kind": "service", "id": AGENT},
    }
    return Proposal.model_validate(document | changes)


def decided(held: Facts | None = None, proposed: Proposal | None = None) -> Decision:
    return decide(proposed or proposal(), held or facts(), NOW)


def of(decision: Decision, check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in decision.findings if finding.check == check]


def outcome_of(decision: Decision, check: str) -> Outcome:
    """The most severe finding of one check."""
    return max((finding.outcome for finding in of(decision, check)), key=lambda outcome: outcome.severity)


def objections(decision: Decision) -> set[str]:
    """The checks that did not allow."""
    return {finding.check for finding in decision.findings if finding.outcome is not Outcome.ALLOW}
