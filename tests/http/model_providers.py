"""Model providers as a person registers them over the API."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.organisation import Member, ok, once

KEY = "sk-a-key-of-a-model-provider-0001"
PATH = "/v1/model-providers"


def body(**changes: Any) -> dict[str, Any]:
    """A provider to be registered, under a name of its own."""
    made = {
        "name": f"models-{uuid.uuid4().hex[:8]}", "kind": "anthropic", "environment": "sandbox",
        "base_url": "https://models.example.com/v1", "currency": "EUR",
        "models": {"claude-example-1": {"input_price": 3_000_000, "output_price": 15_000_000}},
        "declares": {"trains_on_data": False, "retention_days": 0, "basis": "Contract 12, section 3"},
        "api_key": KEY,
    }  # fmt: skip
    return made | changes


def registered(person: Member, **changes: Any) -> dict[str, Any]:
    """One that a person has registered."""
    made: dict[str, Any] = ok(person.api.post(PATH, json=body(**changes), headers=once()))
    return made
