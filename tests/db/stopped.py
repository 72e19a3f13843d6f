"""What is proposed while a kill switch stops it, as the gate decides it."""

from __future__ import annotations

from typing import Any

from tests.db.names import ACME, NOTE, Row, Tenant
from tests.db.world import Action, World

#: What the gate finds when nothing but a kill switch denies.
FINDINGS: list[Row] = [{"check": "kill_switch", "outcome": "deny", "message": "Stopped", "control": 8}]


def manual(world: World, tenant: Tenant = ACME, **more: Any) -> Action:
    """A note that nothing but a kill switch denied: an item of the manual queue."""
    by = more.get("by") or tenant.service(more.get("environment", "production"))
    proposal = world.proposal(tenant, NOTE, outcome="deny", limits=[], **more)
    proposal["decision"] |= {"findings": FINDINGS}
    answer = world.call(by, "record_action_v1", proposal)
    assert (answer["status"], answer["exception"]["kind"]) == ("denied", "manual")
    return world.recorded(proposal, answer)
