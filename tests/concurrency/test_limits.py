"""Many at once against one limit: it is never overspent, by one cent or one action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.organisation import once
from tests.concurrency.patience import persistently
from tests.concurrency.world import NOTE, World, another

pytestmark = pytest.mark.slow

#: 30 payments of 3.33 fit into 100.00, and leave 10 cents.
BUDGET, EACH, FIT = 10_000, 333, 30
LIMITS: list[dict[str, Any]] = [
    {"name": "spend", "window_hours": 24, "currency": "EUR", "max_amount": BUDGET},
    {"name": "notes", "window_hours": 1, "tools": [NOTE], "max_count": 7, "exceeded": "deny"},
]


@pytest.fixture
def tenant(world: World) -> World:
    made = another(world, "Budget")
    made.limits = LIMITS
    made.new_version()
    made.start_run()
    return made


def at_once(tenant: World, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Proposes all of them at the same time; the actions."""

    def propose(body: dict[str, Any]) -> dict[str, Any]:
        key = once()
        action: dict[str, Any] = persistently(lambda: tenant.agent.post("/v1/actions", json=body, headers=key))
        return action

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(propose, bodies))


def said(action: dict[str, Any], name: str) -> dict[str, Any]:
    [finding] = [f for f in action["decision"]["findings"] if f.get("setting") == f"limits.{name}"]
    return dict(finding)


def counted(tenant: World, over: bool) -> list[int]:
    rows = tenant.rows(
        "select amount from app.limit_reservations where tenant_id = %s and key like %s and over = %s",
        tenant.organisation.tenant_id, "%/spend/EUR", over,
    )  # fmt: skip
    return [row["amount"] for row in rows]


def test_sixty_four_proposals_never_overspend_a_budget(tenant: World) -> None:
    actions = at_once(tenant, [tenant.payment(EACH) for _ in range(64)])
    outcomes = Counter(said(action, "spend")["outcome"] for action in actions)
    assert outcomes == {"allow": FIT, "escalate": 64 - FIT}
    assert counted(tenant, over=False) == [EACH] * FIT
    assert sum(counted(tenant, over=False)) == 9_990
    over = next(a for a in actions if said(a, "spend")["outcome"] == "escalate")
    assert said(over, "spend")["message"].startswith(
        "More than the limit spend of 100.00 EUR within 24 hours: 99.90 EUR"
    )
    # Ten cents are left: they fit, eleven do not.
    assert said(tenant.propose(tenant.payment(11)), "spend")["outcome"] == "escalate"
    assert said(tenant.propose(tenant.payment(10)), "spend")["outcome"] == "allow"
    assert said(tenant.propose(tenant.payment(1)), "spend")["outcome"] == "escalate"


def test_what_ends_without_effect_gives_its_room_back(tenant: World) -> None:
    first = tenant.propose(tenant.payment(BUDGET))
    assert said(first, "spend")["outcome"] == "allow"
    assert said(tenant.propose(tenant.payment(1)), "spend")["outcome"] == "escalate"
    verdict = {"verdict": "reject", "digest": first["digest"], "reason": "too much"}
    path = f"/v1/exceptions/{first['exception']['id']}/decision"
    persistently(lambda: tenant.organisation.approver.api.post(path, json=verdict, headers=once()))
    second = tenant.propose(tenant.payment(BUDGET))
    assert said(second, "spend")["outcome"] == "allow"
    # What is done has taken its room for good, and what a person approves beyond the limit counts from then on.
    tenant.settle([tenant.approve(second)])
    beyond = tenant.propose(tenant.payment(500))
    assert said(beyond, "spend")["outcome"] == "escalate"
    tenant.settle([tenant.approve(beyond)])
    assert "105.00 EUR" in said(tenant.propose(tenant.payment(1)), "spend")["message"]
    tenant.check()


def test_a_limit_that_denies_lets_exactly_so_many_through(tenant: World) -> None:
    note: Callable[[], dict[str, Any]] = lambda: tenant.proposal(NOTE, {"contact_id": "con_ada", "body": "Called"})  # noqa: E731
    actions = at_once(tenant, [note() for _ in range(20)])
    assert Counter(action["status"] for action in actions) == {"authorized": 7, "denied": 13}
    assert {said(a, "notes")["outcome"] for a in actions if a["status"] == "denied"} == {"deny"}
