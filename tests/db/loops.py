"""Runs that are driven here, in the two tenants that database tests are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.ids import new_id
from tests.db.names import Environment, Row, Tenant

if TYPE_CHECKING:
    from tests.db.world import World

CRON = "0 4 1 1 *"


def loop_of(tenant: Tenant, environment: Environment, reasoner: Row) -> Row:
    """The loop of the workflow's access spec."""
    return {
        "triggers": [
            {"kind": "call"},
            {"kind": "schedule", "cron": CRON, "time_zone": "UTC"},
            {"kind": "webhook", "provider": "sandbox_crm", "events": ["message.received"]},
        ],
        "instruction": tenant.mark(environment),
        "observe": [],
        "reasoner": reasoner,
        "max_actions": 20,
        "max_concurrent": 20,
        "deadline_minutes": 600,
    }


def queued(world: World, tenant: Tenant, environment: Environment = "sandbox", **changes: object) -> str:
    """A run that waits for its first step; its id."""
    run = {"id": str(new_id()), "workflow": tenant.slug(environment), "instruction": tenant.mark(environment)}
    world.call(tenant.service(environment), "queue_run_v1", run | {"subject": None} | changes)
    return str(run["id"])


def claimed(world: World, tenant: Tenant, run_id: str, lease_seconds: int = 86400) -> Row:
    """The arguments that whoever holds the run's lease takes a step with."""
    held: Row = {"run_id": run_id, "fence": str(new_id()), "lease_seconds": lease_seconds}
    claim: Row = world.call(tenant.system(), "claim_run_v1", held)
    assert claim["claimed"], claim
    return held


def failed(world: World, tenant: Tenant, environment: Environment = "sandbox", **changes: object) -> str:
    """A run that could not go on; its id."""
    held = claimed(world, tenant, queued(world, tenant, environment, **changes))
    world.call(tenant.system(), "take_run_step_v1", held | {"step": None, "status": "failed", "reason": "no bank"})
    return str(held["run_id"])


def step(name: str = "reason", outcome: str = "done", **more: object) -> Row:
    return {"step": {"name": name, "outcome": outcome, "started_at": datetime.now(UTC).isoformat()} | more}


def work(world: World, tenant: Tenant, environment: Environment) -> None:
    """One run waits for its first step, one has failed, and one is under way."""
    queued(world, tenant, environment)
    failed(world, tenant, environment)
    held = claimed(world, tenant, queued(world, tenant, environment))
    taken = step("observe:bills", "skipped", detail={"error": tenant.mark(environment)})
    world.call(tenant.system(), "take_run_step_v1", held | taken)


def scheduled(tenant: Tenant, environment: Environment, **changes: object) -> Row:
    """The arguments that take a slot of the schedule."""
    slot = {"slot": "2026-01-01T04:00:00+00:00", "next_at": "2030-01-01T04:00:00+00:00"}
    what = {"id": str(new_id()), "workflow_id": tenant.workflow(environment), "cron": CRON, "time_zone": "UTC"}
    return what | slot | changes
