"""A model that was shown tokens answers with tokens; the gate alone holds their values against the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from api.gate.models import Contract
from api.runs.reasoners.conversation import Tool
from api.runs.reasoners.judging import judge
from api.runs.reasoners.reasoner import Ask
from api.runs.reasoners.reply import Reply, ToolUse
from tests.unit.gate.world import contract, rule

NAME = "pay"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["to_iban", "amount"],
    "properties": {
        "to_iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"},
        "amount": {"type": "integer", "minimum": 1},
    },
}


def answered(args: dict[str, Any]) -> list[str]:
    """What is wrong with an answer that proposes this."""
    pay: Contract = contract(input_schema=SCHEMA)
    said = {"args": args, "confidence": 0.9, "rationale": "due", "citations": [rule().id], "evidence": []}
    ask = Ask(
        run_id=uuid4(), workflow="pay", instruction="Pay.", subject=None, observations=[], tools={pay.name: pay},
        rules=[rule()], now=datetime(2026, 11, 28, tzinfo=UTC),
    )  # fmt: skip
    reply = Reply("done", [ToolUse("1", NAME, said)], "", {})
    return list(judge(reply, {NAME: Tool(NAME, "Pay", SCHEMA, pay)}, ask).complaints.values())


@pytest.mark.parametrize(
    "args", [{"to_iban": "<IBAN_1_1>", "amount": 5}, {"to_iban": "DE89370400440532013000", "amount": 5}]
)
def test_a_token_stands_for_what_the_schema_asks_for(args: dict[str, Any]) -> None:
    assert answered(args) == []


@pytest.mark.parametrize(
    ("args", "where"),
    [
        ({"to_iban": "<IBAN_1_1> ", "amount": 5}, "/args/to_iban"),
        ({"to_iban": "pay <IBAN_1_1>", "amount": 5}, "/args/to_iban"),
        ({"to_iban": "<MONEY_1_1>", "amount": 5}, "/args/to_iban"),
        ({"to_iban": "<IBAN_1_1>", "amount": 0}, "/args/amount"),
        ({"to_iban": "<IBAN_1_1>"}, "/args"),
        ({"to_iban": "<IBAN_1_1>", "amount": 5, "more": "<IBAN_1_1>"}, "/args"),
    ],
)
def test_and_excuses_nothing_else(args: dict[str, Any], where: str) -> None:
    [wrong] = answered(args)
    assert wrong.startswith(f"{where}: ")
