"""Permits for what a tenant's own client executes, as api/permits/service.py asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.ids import new_id
from tests.db import tools
from tests.db.names import ACME, Row
from tests.db.world import Action, World

#: A contract that people approve at each use.
MONEY: Row = {"effect": "money_movement", "reversible": False}


def authorized(world: World, **more: Any) -> Action:
    """An authorized action of a tool of the tenant's own, which is registered for it."""
    tools.register(world, ACME)
    return tools.propose(world, ACME, **more)


def approved(world: World) -> Action:
    """As `authorized`, of a hard gate that a person has approved."""
    action = waiting(world)
    world.approve(action)
    return action


def waiting(world: World) -> Action:
    tools.register(world, ACME, **MONEY)
    return tools.propose(world, ACME, effect="money_movement", outcome="escalate")


def claim(world: World, action: Action, by: Mapping[str, Any] | None = None, seconds: int = 300, **more: Any) -> Row:
    args = {"action_id": action.id, "attempt_id": str(new_id()), "permit_seconds": seconds}
    return world.call(by or ACME.service(), "claim_permit_v1", args, **more)


def outcome(action: Action, permit: Row, result: str = "succeeded", **more: Any) -> Row:
    """The arguments of report_outcome_v1."""
    reached = {"succeeded": "yes", "failed": "no"}.get(result, "maybe")
    return {
        "action_id": action.id, "attempt_id": permit["attempt_id"], "digest": action.digest, "outcome": result,
        "error": None, "response": {"status": None, "reached": reached, "body": {"id": "r_1"}},
        "response_digest": f"sha256:{'a' * 64}",
    } | more  # fmt: skip


def report(world: World, action: Action, permit: Row, result: str = "succeeded", **more: Any) -> Row:
    return world.call(ACME.service(), "report_outcome_v1", outcome(action, permit, result, **more))


def end_the_time_of(world: World, attempt_id: str) -> None:
    """Makes it too late to report in time, which only the superuser can."""
    for statement in (
        "alter table app.attempts disable trigger attempts_keep_columns",
        f"update app.attempts set lease_expires_at = now() where id = '{attempt_id}'",
        "alter table app.attempts enable always trigger attempts_keep_columns",
    ):
        world.root.execute(statement.encode())


def unreported(world: World, permit: Row) -> Row:
    """Its deadline has passed, and the schedule has settled it."""
    end_the_time_of(world, permit["attempt_id"])
    args = {"attempt_id": permit["attempt_id"], "outcome": "retry", "error": "died", "response": None}
    return world.call(ACME.system(), "expire_attempt_v1", args)
