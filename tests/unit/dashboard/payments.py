"""A tool that pays, as the tests of forms and facts use it."""

from typing import Any

from api.gate.models import Contract

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["to_iban", "amount", "currency"],
    "properties": {
        "to_iban": {"type": "string", "maxLength": 34},
        "amount": {"type": "integer", "minimum": 1},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "reference": {"type": "string", "maxLength": 140},
        "note": {"type": "string", "maxLength": 2000},
        "due": {"type": "string", "format": "date"},
        "urgent": {"type": "boolean"},
        "share": {"type": "number"},
        "kind": {"enum": ["full", "part", 3]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 5},
        "payer": {"type": "object", "properties": {"name": {"type": "string"}, "vat/id": {"type": "string"}}},
        "extra": {},
    },
    "$defs": {
        "line": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {"type": "string"}, "n": {"type": "integer"}},
        }
    },
}
CONTRACT = Contract.model_validate(
    {
        "name": "bank.pay",
        "version": 1,
        "provider": "bank",
        "title": "Pay",
        "access": "write",
        "effect": "money_movement",
        "reversible": False,
        "idempotency": "key",
        "input_schema": SCHEMA,
        "arguments": {"/amount": {"role": "amount", "currency": "/currency"}, "/to_iban": {"role": "recipient"}},
        "execution": {},
    }
)
ARGS: dict[str, Any] = {
    "to_iban": "DE89370400440532013000",
    "amount": 129900,
    "currency": "EUR",
    "reference": "INV-1042",
    "note": "first\nsecond",
    "due": "2026-12-01",
    "urgent": False,
    "share": 0.5,
    "kind": 3,
    "tags": ["a", "b"],
    "lines": [{"text": "x", "n": 1}, {"text": "y"}],
    "payer": {"name": "Ada", "vat/id": "DE1"},
    "extra": {"deep": [1, None]},
}
