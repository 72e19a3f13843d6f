"""A webhook trigger of each environment: what tests of webhooks rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ids import new_id
from tests.db.names import Environment, Row, Tenant

if TYPE_CHECKING:
    from tests.db.world import World

#: Sealed under a key that nobody has.
ENVELOPE = '{"v": 1, "kek": "k1", "key": "c2VhbGVk", "data": "c2VhbGVk"}'


def trigger(tenant: Tenant, environment: Environment = "production", **changes: object) -> Row:
    """The arguments of create_webhook_trigger_v1."""
    made = {"id": str(new_id()), "workflow": tenant.slug(environment), "provider": "sandbox_crm"}
    return made | {"envelope": ENVELOPE} | changes


def rotation(trigger_id: str, **changes: object) -> Row:
    """The arguments of rotate_webhook_secret_v1, for the second secret."""
    return {"id": trigger_id, "generation": 2, "overlap_hours": 24, "envelope": ENVELOPE} | changes


def event(trigger_id: str, **changes: object) -> Row:
    """The arguments of accept_webhook_v1."""
    said = {"trigger_id": trigger_id, "generation": 1, "event_id": f"msg_{new_id()}", "event_type": "message.received"}
    return {"id": str(new_id())} | said | {"subject": {"type": "message", "id": "msg_1"}} | changes


def work(world: World, tenant: Tenant, environment: Environment) -> None:
    """One address for the events of the CRM, whose secret was once handed out to be wrapped anew."""
    made = trigger(tenant, environment)
    world.call(tenant.user("admin"), "create_webhook_trigger_v1", made)
    world.call(tenant.system(), "claim_webhook_rewrap_v1", {"trigger_id": made["id"], "generation": 1, "kek": "new"})
