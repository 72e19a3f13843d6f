"""A tool that can be undone, and what is done and undone with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.db.names import Environment, Row, Tenant
from tests.db.world import Action, World

TAG, UNTAG = "sandbox_crm.tags.create", "sandbox_crm.tags.delete"


def publish(world: World) -> None:
    """Publishes the two contracts, as whoever deploys does."""
    for name, compensate in ((TAG, {"tool": UNTAG, "args": {"tag": "{tag}"}}), (UNTAG, None)):
        contract: Row = {
            "name": name, "provider": "sandbox_crm", "access": "write", "effect": "write", "title": "Tag",
            "reversible": True, "idempotency": "natural", "input_schema": {}, "arguments": {},
            "execution": {"mode": "http"}, "output": {"trust": {}, "data_classes": {}},
        }  # fmt: skip
        contract |= {"compensate": compensate} if compensate else {}
        world.owner.execute(
            "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
            " values (%s, 1, 'sandbox_crm', 'write', 'write', %s) on conflict do nothing",
            (name, Jsonb(contract)),
        )


def tagged(world: World, tenant: Tenant, environment: Environment = "production", **more: Any) -> Action:
    """A tag that was set: an action that succeeded and can be undone."""
    args = {"tag": str(new_id())}
    action = world.propose(tenant, TAG, args, environment=environment, outcome="allow", effect="write", **more)
    world.finish(tenant, world.claim(action))
    return action


def undoing(world: World, action: str, tenant: Tenant, environment: Environment, **more: Any) -> Row:
    """The arguments of compensate_action_v1."""
    more.setdefault("tool", UNTAG)
    more.setdefault("outcome", "allow")
    proposal = world.proposal(tenant, environment=environment, effect="write", by=tenant.system(), **more)
    return {"action_id": action, "action": proposal}


def undo(world: World, action: Action, by: Mapping[str, Any] | None = None, **more: Any) -> Row:
    """Records the undo of an action, as its service does."""
    environment: Environment = "production" if action.environment == "production" else "sandbox"
    args = undoing(world, action.id, action.tenant, environment, **more)
    return world.call(by or action.tenant.service(environment), "compensate_action_v1", args)
