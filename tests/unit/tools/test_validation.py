"""What keeps a tenant's contract from being registered."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.tools.input_schema import InputSchema
from api.tools.models import NewTool
from api.tools.validation import mistakes, warnings

CONTRACT: dict[str, Any] = {
    "name": "till.refunds.create", "title": "Refund a card payment", "access": "write", "effect": "money_movement",
    "reversible": False, "idempotency": "key",
    "input_schema": {
        "type": "object", "additionalProperties": False, "required": ["to", "amount", "currency"],
        "properties": {
            "to": {"type": "array", "items": {"type": "string"}}, "amount": {"type": "integer"},
            "currency": {"type": "string"}, "note": {"type": "string"},
        },
    },
    "arguments": {
        "/to/*": {"role": "recipient"}, "/amount": {"role": "amount", "currency": "/currency"},
        "/currency": {"role": "setting"}, "/note": {"role": "free_text"},
    },
    "output": {"trust": {"": "untrusted", "/id": "trusted"}, "data_classes": {"/iban": "financial"}},
    "execution": {"mode": "external"}, "read_back": {"tool": "till.refunds.get"}, "compensate": None,
}  # fmt: skip
AMOUNT = {"role": "amount", "currency": "/currency"}
READERS: Any = {"till.refunds.get": "read", "till.refunds.undo": "write"}


def found(**changes: Any) -> dict[str, str]:
    tool = NewTool.model_validate(CONTRACT | changes)
    told = mistakes(tool, InputSchema(tool.input_schema), {"sandbox_bank"}, READERS)
    return {mistake["pointer"]: mistake["message"] for mistake in told}


def test_the_documented_contract_is_fine() -> None:
    assert found() == {}
    assert found(read_back=None) == {}


def test_every_value_needs_a_role() -> None:
    arguments = {name: role for name, role in CONTRACT["arguments"].items() if name != "/note"}
    assert found(arguments=arguments)["/arguments"].startswith("/note has no role.")
    hidden = CONTRACT["input_schema"] | {"allOf": [{"properties": {"bcc": {"type": "string"}}}]}
    assert found(input_schema=hidden)["/arguments"].startswith("/bcc has no role.")


@pytest.mark.parametrize(
    ("changes", "pointer", "told"),
    [
        ({"name": "sandbox_bank.payments.copy"}, "/name", "are a provider's"),
        ({"name": "tenant.payments"}, "/name", "are a provider's"),
        ({"execution": {"mode": "http"}}, "/execution/mode", "its effect decides what always waits for a person"),
        ({"effect": "read"}, "/effect", "A tool that reads has the effect read"),
        ({"access": "read", "read_back": None}, "/effect", "A tool that reads has the effect read"),
        ({"read_back": {"tool": "till.nothing.get"}}, "/read_back/tool", "no tool named till.nothing.get that reads"),
        ({"read_back": {"tool": "till.refunds.undo"}}, "/read_back/tool", "that reads"),
        ({"read_back": {"tool": "till.refunds.get", "args": {"id": "{secret}"}}}, "/read_back", "{secret} is neither"),
        ({"read_back": {"tool": "till.refunds.get", "equals": "{amount}{x}"}}, "/read_back", "{x} is neither"),
    ],
)
def test_what_does_not_hold_together_is_told_with_its_place(changes: dict[str, Any], pointer: str, told: str) -> None:
    assert told in found(**changes)[pointer]


@pytest.mark.parametrize(
    ("pointer", "argument", "at", "told"),
    [
        ("/two", {"role": "recipient"}, "/arguments/~1two", "has no argument /two"),
        ("/to", {"role": "recipient"}, "/arguments/~1to", "name /to/*"),
        ("", {"role": "setting"}, "/arguments/", "single values"),
        ("/to/0", {"role": "recipient"}, "/arguments/~1to~10", "has no argument /to/0"),
        ("/amount", {"role": "amount", "currency": "/nowhere"}, "/arguments/~1amount/currency", "no text at /nowhere"),
        ("/amount", {"role": "amount", "currency": "/amount"}, "/arguments/~1amount/currency", "no text at /amount"),
        ("/note", {"role": "setting", "currency": "/currency"}, "/arguments/~1note", "Only an amount"),
        ("/note", {"role": "setting", "unit": "major"}, "/arguments/~1note", "Only an amount"),
        ("/amount", AMOUNT | {"fixed_currency": "EUR"}, "/arguments/~1amount", "not both"),
    ],
)  # fmt: skip
def test_a_role_leads_to_a_value(pointer: str, argument: dict[str, Any], at: str, told: str) -> None:
    messages = found(arguments=CONTRACT["arguments"] | {pointer: argument})
    assert at in messages
    assert told in messages[at]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "til\u04cf.refunds.create"},
        {"name": "TILL.refunds"},
        {"name": "refunds"},
        {"title": "Refund\u202e"},
        {"title": ""},
        {"effect": "harmless"},
        {"access": "admin"},
        {"version": 7},
        {"provider": "sandbox_bank"},
        {"execution": {"mode": "external", "path": "/v1/x"}},
        {"execution": {}},
        {"compensate": {"tool": "till.refunds.undo"}},
        {"arguments": {"/note": {"role": "sink"}}},
        {"arguments": {"/note": {"role": "setting", "trusted": True}}},
        {"arguments": {"note": {"role": "setting"}}},
        {"output": {"trust": {"": "very trusted"}}},
        {"output": {"trust": {"id": "trusted"}}},
        {"output": {"data_classes": {"/iban": "Fin\u0430ncial"}}},
        {"output": {"schema": {}}},
        {"intents": ["x" * 61]},
        {"intents": ["pay"] * 21},
        {"input_schema": []},
    ],
)
def test_what_is_no_contract_is_refused_before_that(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewTool.model_validate(CONTRACT | changes)


def noted(**changes: Any) -> list[str]:
    tool = NewTool.model_validate(CONTRACT | changes)
    return [each["message"] for each in warnings(tool, InputSchema(tool.input_schema))]


def test_it_warns_of_what_deserves_a_second_look() -> None:
    # A currency is a text, and called a setting; nothing else of the contract is worth a word.
    assert [text.split(".")[0] for text in noted()] == ["What is called a setting is not compared with what is known"]
    schema = {name: part for name, part in CONTRACT["input_schema"].items() if name != "additionalProperties"}
    assert any("additionalProperties: false" in text for text in noted(input_schema=schema))
    assert any("Is nothing in it written" in text for text in noted(output={"trust": {"": "trusted"}}))
    alone = CONTRACT["arguments"] | {"/amount": {"role": "amount"}}
    assert any("Without a currency" in text for text in noted(arguments=alone))
    assert any("no number" in text for text in noted(arguments=alone | {"/note": {"role": "amount"}}))
