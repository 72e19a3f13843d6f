"""A channel of each environment, and what it was told: what tests of channels rest on."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from api.ids import new_id
from tests.db.names import Environment, Row, Tenant

if TYPE_CHECKING:
    from tests.db.world import World

#: Sealed under a key that nobody has.
ENVELOPE = '{"v": 1, "kek": "k1", "key": "c2VhbGVk", "data": "c2VhbGVk"}'
CODE = sha256(b"a code").hexdigest()


def channel(environment: Environment | None = "production", kind: str = "webhook", **changes: object) -> Row:
    """The arguments of create_channel_v1."""
    target = {"email": f"on-call-{new_id()}@example.com", "slack": "hooks.slack.com"}.get(kind, "https://example.com/x")
    made: Row = {
        "id": str(new_id()), "kind": kind, "name": "On call", "target": target, "environment": environment,
        "least_severity": "info", "owner_id": None,
    }  # fmt: skip
    return made | ({} if kind == "email" else {"envelope": ENVELOPE}) | changes


def created(world: World, tenant: Tenant, environment: Environment | None = "production", **changes: object) -> str:
    """An unverified channel's id."""
    made = channel(environment, **changes)  # type: ignore[arg-type]
    world.call(tenant.user("admin"), "create_channel_v1", made)
    return str(made["id"])


def checked(world: World, tenant: Tenant, channel_id: str, **changes: object) -> str:
    """A message was sent to a channel, or a code; the check's id."""
    check = {"id": channel_id, "check_id": str(new_id())} | changes
    world.call(tenant.user("admin"), "begin_channel_check_v1", check)
    return str(check["check_id"])


def in_use(world: World, tenant: Tenant, environment: Environment | None = "production", **changes: object) -> str:
    """A verified channel's id."""
    made = created(world, tenant, environment, **changes)
    checked(world, tenant, made)
    world.call(tenant.user("admin"), "verify_channel_v1", {"id": made})
    return made


def alert(tenant: Tenant, environment: Environment | None = "production", **changes: object) -> Row:
    """The arguments of raise_alert_v1."""
    raised: Row = {
        "kind": "tests.told", "severity": "warning", "environment": environment, "subject_type": "run",
        "subject_id": str(new_id()), "title": tenant.mark(environment or ""),
    }  # fmt: skip
    return raised | changes


def told(world: World, channel_id: str) -> list[str]:
    """The events that a channel was told, oldest first."""
    return [event for (event,) in world.rows(
        "select event from app.notifications where channel_id = %s order by created_at, id", channel_id)]  # fmt: skip


def work(world: World, tenant: Tenant, environment: Environment) -> None:
    """A channel whose secret was once handed out to be wrapped anew. One delivery is leased, one dead, one waits."""
    made = in_use(world, tenant, environment, name=tenant.mark(environment), least_severity="info")
    rewrap = {"channel_id": made, "generation": 1, "kek": "new"}
    world.call(tenant.system(), "claim_channel_rewrap_v1", rewrap)
    for outcome in ("", "dead"):
        raised = alert(tenant, environment)
        world.call(tenant.system(), "raise_alert_v1", raised)
        [(notification,)] = world.rows(
            "select n.id::text from app.notifications n join app.alerts a using (tenant_id) where a.id = n.alert_id"
            " and a.subject_id = %s", raised["subject_id"],
        )  # fmt: skip
        claim = {"id": notification, "lease_seconds": 300}
        claimed = world.call(tenant.system(), "claim_notification_v1", claim)
        if outcome:
            settled = {"id": notification, "fence": claimed["fence"], "outcome": outcome, "error": "It answered 500."}
            world.call(tenant.system(), "settle_notification_v1", settled)
    world.call(tenant.user("admin"), "change_channel_v1", {"id": made, "if_match": None, "least_severity": "critical"})
    world.call(tenant.system(), "raise_alert_v1", alert(tenant, environment, severity="critical"))
