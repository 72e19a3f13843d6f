"""A tool with an argument of every role, a run that has read something, and what grounding says of a proposal."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.gate.case import Case
from api.gate.checks import grounding
from api.gate.models import Facts, Finding, Ground, Outcome
from tests.unit.gate.world import NOW, TOOL, contract, facts, proposal, spec

IBAN, OTHER_IBAN = "DE89370400440532013000", "GB82WEST12345698765432"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "usual": {"type": "integer", "default": 3},
        "mode": {"type": "string", "enum": ["fast_lane", "slow"], "default": "slow"},
        "only": {"const": "x-1"},
        "notify": {"type": "boolean", "default": False},
        "urgent": {"type": "boolean"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
    },
    "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer", "default": 1}}}},
}
ROLES: dict[str, Any] = {
    "/to": {"role": "recipient"},
    "/account": {"role": "account"},
    "/amount": {"role": "amount", "currency": "/currency"},
    "/price": {"role": "amount", "currency": "/currency", "unit": "major"},
    "/fee": {"role": "amount", "fixed_currency": "JPY"},
    "/count": {"role": "quantity"},
    "/usual": {"role": "quantity"},
    "/link": {"role": "url"},
    "/ticket_id": {"role": "object_id"},
    "/stage": {"role": "setting"},
    "/mode": {"role": "setting"},
    "/only": {"role": "setting"},
    "/notify": {"role": "setting"},
    "/urgent": {"role": "setting"},
    "/day": {"role": "setting"},
    "/currency": {"role": "setting"},
    "/text": {"role": "free_text"},
    "/lines/*/count": {"role": "quantity"},
}


def tool(**changes: Any) -> Any:
    return contract(**{"input_schema": SCHEMA, "arguments": ROLES, "reversible": True, "title": "Do"} | changes)


def observation(
    result: Any, trust: dict[str, str] | str = "trusted", number: int = 0, **changes: Any
) -> dict[str, Any]:
    """What was read: by pattern of pointer the trust of each part, or the same trust for all of it."""
    from api.gate.pointer import leaves

    found = ["/".join("*" if p.isdecimal() else p for p in at.split("/")) for at, _ in leaves(result)]
    labels = dict.fromkeys(found, trust) if isinstance(trust, str) else trust
    document = {
        "id": UUID(int=200 + number),
        "tool": "acme.things.get",
        "source": "gateway",
        "result": result,
        "labels": {at: {"trust": label} for at, label in labels.items()},
    }
    return document | changes


def world(instruction: str, *observations: dict[str, Any], subject: Any = None, **changes: Any) -> Facts:
    run = {"id": UUID(int=5), "instruction": instruction, "subject": subject, "observations": list(observations)}
    return facts(**{"tool": tool(), "run": run} | changes)


def case(args: dict[str, Any], held: Facts, now: datetime = NOW) -> Case:
    return Case(proposal(args), held, now)


def objections(args: dict[str, Any], held: Facts, now: datetime = NOW) -> list[Finding]:
    return [f for f in grounding.check(case(args, held, now)) if f.outcome is not Outcome.ALLOW]


def grounds(args: dict[str, Any], held: Facts, now: datetime = NOW) -> list[Ground]:
    return case(args, held, now).grounds


def source(args: dict[str, Any], held: Facts, now: datetime = NOW) -> str:
    """The source of the one value that is grounded."""
    (found,) = grounds(args, held, now)
    return found.source


def granted(**grant: Any) -> Any:
    return spec(grant)


__all__ = ["IBAN", "NOW", "OTHER_IBAN", "TOOL"]
