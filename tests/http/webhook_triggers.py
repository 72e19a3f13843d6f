"""Webhook triggers as a person creates them over the API."""

from __future__ import annotations

from typing import Any

from sandbox.organisation import Member, ok, once

PATH = "/v1/webhook-triggers"


def webhook_trigger(person: Member, workflow: str, provider: str = "sandbox_crm") -> dict[str, Any]:
    """A new one, with the secret that only this answer shows."""
    body = {"workflow": workflow, "provider": provider}
    made: dict[str, Any] = ok(person.api.post(PATH, json=body, headers=once()))
    return made
