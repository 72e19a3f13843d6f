"""The numbers of a tenant, and what waits for a second person."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, PAY, access_spec, at_work, decide, join, new_organisation, note, payment
from tests.http.world import World

LIMITS = [
    {"name": "pay-day", "window_hours": 24, "currency": "EUR", "max_amount": 10000},
    {"name": "per-payee", "per": ["counterparty"], "window_hours": 24, "currency": "EUR", "max_amount": 4000},
]


@pytest.fixture(scope="module")
def organisation(world: World) -> Organisation:
    """One payment was approved, one rejected, one denied; two wait, one beyond the limits; a note is written."""
    made = new_organisation(world)
    made.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(made, limits=LIMITS))
    with at_work(made) as agent:
        paid, refused = agent.propose(PAY, payment(1250)), agent.propose(PAY, payment(700))
        ok(decide(made.approver, paid))
        ok(decide(made.approver, refused, "reject"))
        agent.propose(PAY, payment(2000))
        agent.propose(PAY, payment(990000))
        written = agent.propose(NOTE, note())
        denied = agent.propose(PAY, payment(900, from_account="acc_reserve"))
        assert denied["status"] == "denied"
        assert {agent.settled(each["id"])["status"] for each in (paid, written)} == {"succeeded"}
    return made


def metrics(person: Member, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = ok(person.api.get("/v1/metrics", params=asked))
    return found


def test_a_day_counts_what_was_proposed_and_what_became_of_it(organisation: Organisation) -> None:
    numbers = metrics(organisation.owner, days=3)
    assert len(numbers["days"]) == 3
    assert numbers["days"][0]["proposed"] == 0
    assert numbers["days"][0]["escalation_rate"] is None
    totals = numbers["totals"]
    assert {name: totals[name] for name in ("proposed", "allowed", "escalated", "denied", "succeeded", "failed")} == {
        "proposed": 6, "allowed": 1, "escalated": 4, "denied": 1, "succeeded": 2, "failed": 0,
    }  # fmt: skip
    assert totals["escalation_rate"] == 0.6667
    assert 6 in (numbers["days"][-1]["proposed"], numbers["days"][-2]["proposed"])
    assert numbers["time_to_decision"]["decided"] == 2
    assert numbers["time_to_decision"]["p90_seconds"] >= numbers["time_to_decision"]["median_seconds"] > 0


def test_money_is_what_moved_and_limits_are_what_is_taken_of_them(organisation: Organisation) -> None:
    numbers = metrics(organisation.owner)
    moved = [{"currency": "EUR", "amount": 1250, "actions": 1}]
    midnight = numbers["days"][-1]["proposed"] == 0  # has passed since
    assert numbers["money"] == {"today": [] if midnight else moved, "window": moved}
    # What waits is counted: it may be approved at any moment. What was rejected is not, nor what did not fit.
    used = {each["name"]: (each["amount"], each["count"], each["share"]) for each in numbers["limits"]}
    assert used == {"pay-day": (3250, 2, 0.325), "per-payee": (3250, 2, 0.8125)}
    assert [each["name"] for each in numbers["limits"]] == ["per-payee", "pay-day"]


def test_what_is_open_is_counted_for_who_asks(organisation: Organisation) -> None:
    queue = ok(organisation.owner.api.get("/v1/exceptions", params={"status": "open"}))["items"]
    path = f"/v1/exceptions/{queue[0]['id']}/assign"
    ok(organisation.owner.api.post(path, json={"user_id": str(organisation.approver.user_id)}, headers=once()))
    for person, mine in ((organisation.owner, 0), (organisation.approver, 1)):
        found = metrics(person)["exceptions"]
        assert (found["open"], found["mine"], found["unassigned"]) == (2, mine, 1)
        assert found["oldest_at"] == queue[-1]["created_at"]
        assert found["next_ends_at"] == min(each["expires_at"] for each in queue)
        assert sum(found["by_severity"].values()) == 2


def test_another_environment_and_another_tenant_have_numbers_of_their_own(
    world: World, organisation: Organisation
) -> None:
    assert metrics(organisation.owner, environment="sandbox")["totals"]["proposed"] == 6
    other = new_organisation(world, connected=False)
    for numbers in (metrics(organisation.owner, environment="production"), metrics(other.owner)):
        assert numbers["totals"]["proposed"] == numbers["exceptions"]["open"] == 0
        assert numbers["money"] == {"today": [], "window": []}
        assert numbers["limits"] == []
    with organisation.agent() as key:
        assert ok(key.get("/v1/metrics"))["exceptions"]["mine"] == 0


def test_kill_switches_and_connections_are_told(organisation: Organisation) -> None:
    body = {"scope": "tool", "target": NOTE, "reason": "looking into it"}
    ok(organisation.owner.api.post("/v1/kill-switches", json=body, headers=once()))
    numbers = metrics(organisation.owner)
    assert numbers["kill_switches"] == 1
    assert numbers["connections"] == {"active": 4, "degraded": 0, "expired": 0, "ending": 0}
    assert numbers["loops_failing"] == 0
    assert numbers["unsettled"] == {"unknown": 0, "dead_letter": 0}
    assert numbers["setup"] == {"connections": 4, "live_workflows": 1, "keys": 1, "actions": True}


def test_what_waits_for_a_second_person_names_its_author(organisation: Organisation) -> None:
    developer = join(organisation, "developer")
    assert ok(developer.api.get("/v1/waiting")) == []
    body = {"spec": access_spec(organisation)}
    made = ok(developer.api.post("/v1/workflows/pay-vendor-bills/versions", json=body, headers=once()))
    path = f"/v1/workflows/pay-vendor-bills/versions/{made['version']}/submit"
    ok(developer.api.post(path, headers=once()))
    change = {
        "kind": "create", "environment": "sandbox", "reason": "an invoice",
        "entry": {"kind": "vendor", "name": "Northwind Paper GmbH", "details": []},
    }  # fmt: skip
    ok(organisation.owner.api.post("/v1/directory/changes", json=change, headers=once()))
    waiting = ok(developer.api.get("/v1/waiting"))
    assert [(each["kind"], each["name"], each["author_id"]) for each in waiting] == [
        ("workflow_version", "Pay vendor bills", str(developer.user_id)),
        ("directory_change", "Northwind Paper GmbH", str(organisation.owner.user_id)),
    ]
    assert waiting[0]["id"] == f"pay-vendor-bills/{made['version']}"
    assert ok(developer.api.get("/v1/waiting", params={"environment": "production"})) == []
