"""Actions of which nobody knows whether they happened, and what is found when the provider is asked."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from tests.db.names import BILLS, Environment, Row, Tenant
from tests.db.world import Action, World

#: A write of which the provider says at once, and for good, that it was not done.
STAMP = "sandbox_crm.stamps.create"
MAYBE = {"status": None, "reached": "maybe", "body": None}


def publish(world: World, conclusive_after: int | None = 0, idempotency: str = "none") -> None:
    """Publishes its contract, as whoever deploys does."""
    contract: Row = {
        "name": STAMP, "provider": "sandbox_crm", "access": "write", "effect": "write", "title": "Stamp",
        "reversible": True, "idempotency": idempotency, "input_schema": {}, "arguments": {},
        "execution": {"mode": "http"}, "output": {"trust": {}, "data_classes": {}},
        "read_back": {"tool": BILLS, "args": {}, "found": "/bills/0", "conclusive_after": conclusive_after},
    }  # fmt: skip
    world.owner.execute(
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " values (%s, 1, 'sandbox_crm', 'write', 'write', %s) on conflict do nothing",
        (STAMP, Jsonb(contract)),
    )


def lost(world: World, tenant: Tenant, environment: Environment = "production", **more: Any) -> Action:
    """A stamp whose request got no answer: its outcome is unknown."""
    action = world.propose(tenant, STAMP, {}, environment=environment, outcome="allow", effect="write", **more)
    assert world.finish(tenant, world.claim(action), "unknown", response=MAYBE)["status"] == "unknown"
    return action


def looked(world: World, action: Action, **more: Any) -> str:
    """The id of a read-back that found nothing."""
    tenant = action.tenant
    environment: Environment = "production" if action.environment == "production" else "sandbox"
    reading = world.observation(tenant, environment, action_id=action.id, purpose="read_back") | more
    claimed = world.call(tenant.system(), "claim_observation_v1", reading)
    finish = {"id": claimed["id"], "status": "succeeded", "result": {}, "labels": {}, "digest": "sha256:ab"}
    world.call(tenant.system(), "finish_observation_v1", finish)
    return str(claimed["id"])


def answered_late(world: World, tenant: Tenant, environment: Environment, **more: Any) -> Row:
    """The arguments of note_late_answer_v1 for an attempt that was given up."""
    action = world.propose(tenant, STAMP, {}, environment=environment, outcome="allow", effect="write", **more)
    claimed = world.claim(action, lease_seconds=0)
    expired = {"attempt_id": claimed["attempt_id"], "outcome": "unknown", "error": "died", "response": MAYBE}
    world.call(tenant.system(), "expire_attempt_v1", expired)
    answer = {"status": 201, "reached": "yes", "body": {"said": tenant.mark(environment)}}
    return late(claimed) | {"response": answer, "error": tenant.mark(environment)}


def late(claimed: Row) -> Row:
    return {
        "attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "outcome": "succeeded",
        "response": {"status": 201, "reached": "yes", "body": None}, "response_digest": None, "error": None,
    }  # fmt: skip
