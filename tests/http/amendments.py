"""Amendments as people propose and decide them over HTTP."""

from typing import Any

import httpx

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, Agent, decide, note


def unsure(agent: Agent, confidence: float = 0.5, body: str = "Called back", **changes: Any) -> dict[str, Any]:
    """A note that waits for nothing but that the agent is unsure."""
    action = agent.propose(NOTE, note(body), confidence=confidence, **changes)
    assert action["status"] == "awaiting_approval", action["decision"]
    return action


def ask(person: Member, action: dict[str, Any], **body: Any) -> httpx.Response:
    """Asks for an amendment of the exception that an action opened."""
    path = f"/v1/exceptions/{action['exception']['id']}/amendment"
    return person.api.post(path, json={"reason": "Notes may be wrong."} | body, headers=once())


def proposed(person: Member, action: dict[str, Any], **body: Any) -> dict[str, Any]:
    amendment: dict[str, Any] = ok(ask(person, action, **body))
    return amendment


def amendment_of(organisation: Organisation, agent: Agent) -> dict[str, Any]:
    """One that the owner proposes from what the approver has approved."""
    action = unsure(agent)
    ok(decide(organisation.approver, action))
    return proposed(organisation.owner, action)
