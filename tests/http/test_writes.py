"""Writes and the world that they rest on, end to end: what moved between decision and call is decided again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.oauth.files import admin_token
from sandbox.organisation import Organisation, ok
from tests.http.integrator import PAY, Agent, access_spec, at_work, decide, new_organisation, objections, payment
from tests.http.world import World

BALANCE, BILLS = "sandbox_bank.accounts.balance", "sandbox_bank.bills.list"
BILL = ("id", "iban", "amount", "currency", "reference", "status")


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    spec = access_spec(made)
    tools = spec["tools"] | {
        BALANCE: {"access": "read", "read_fields": ["/balance", "/currency"]},
        BILLS: {"access": "read", "read_fields": [f"/bills/*/{name}" for name in BILL]},
    }
    made.go_live("look-twice", "Look twice", spec | {"tools": tools})
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house, "look-twice") as working:
        yield working


def bank(world: World, statement: str, *values: Any) -> list[dict[str, Any]]:
    """What the bank's own file holds, or a change of it that nobody told us about."""
    with sqlite3.connect(world.stack.state / "sandbox_bank.sqlite3", timeout=30) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(statement, values).fetchall()]


def waiting(agent: Agent, reference: str, amount: int = 4100) -> dict[str, Any]:
    """A payment on what was read, that waits for a person."""
    seen = [agent.observe(BALANCE, args={"account_id": "acc_operating"})["id"]]
    seen.append(agent.observe(BILLS, args={"reference": reference})["id"])
    evidence = [{"observation_id": one} for one in seen]
    action = agent.propose(PAY, payment(amount, reference=reference), evidence=evidence)
    assert action["status"] == "awaiting_approval", action
    return action


def in_its_place(house: Organisation, agent: Agent, action: dict[str, Any]) -> dict[str, Any]:
    """What took the place of an action that was approved on a world that had moved by then."""
    ok(decide(house.approver, action))
    assert agent.settled(action["id"])["status"] == "superseded"
    trace = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    shown = [agent.action(each["id"]) for each in trace["actions"]]
    return next(each for each in shown if each["supersedes"] == action["id"])


def paid(world: World, action: dict[str, Any]) -> int:
    return len(bank(world, "select id from transfers where idempotency_key = ?", f"cs_{action['id']}"))


def again_by_a_person(action: dict[str, Any]) -> None:
    assert action["status"] == "awaiting_approval"
    assert objections(action)["stale_world"] == "escalate"
    assert action["approvals"] == []


def test_a_balance_that_falls_after_the_approval_was_asked_for(agent: Agent, house: Organisation, world: World) -> None:
    action = waiting(agent, "INV-1042")
    before = bank(world, "select balance from accounts where id = 'acc_operating'")[0]["balance"]
    bank(world, "update accounts set balance = 4099 where id = 'acc_operating'")
    try:
        again = in_its_place(house, agent, action)
        again_by_a_person(again)
        (moved,) = again["moved"]
        assert (moved["tool"], moved["pointer"], moved["was"], moved["is"]) == (BALANCE, "/balance", before, 4099)
        assert again["digest"] == action["digest"]
        assert paid(world, action) == paid(world, again) == 0
        # It is not done while the money is not there, whoever approves it.
        later = in_its_place(house, agent, again)
        again_by_a_person(later)
    finally:
        bank(world, "update accounts set balance = ? where id = 'acc_operating'", before)
    ok(decide(house.approver, later))
    assert agent.settled(later["id"])["status"] == "succeeded"
    assert (paid(world, action), paid(world, again), paid(world, later)) == (0, 0, 1)


def test_a_vendor_s_account_that_changes_meanwhile(agent: Agent, house: Organisation, world: World) -> None:
    action = waiting(agent, "HL-2026-0777")
    bank(world, "update bills set iban = 'DE94000123450532013000' where reference = 'HL-2026-0777'")
    again = in_its_place(house, agent, action)
    again_by_a_person(again)
    assert [one["pointer"] for one in again["moved"]] == ["/bills/0/iban"]
    message = next(f["message"] for f in again["decision"]["findings"] if f["check"] == "stale_world")
    assert "/bills/0/iban" in message
    assert "DE94000123450532013000" not in message
    assert paid(world, action) == 0
    # Decided on what is there now, it is done once a person says so.
    ok(decide(house.approver, again))
    assert agent.settled(again["id"])["status"] == "succeeded"


def test_a_world_that_stands_still_is_paid_in(agent: Agent, house: Organisation, world: World) -> None:
    action = waiting(agent, "KS-3310")
    ok(decide(house.approver, action))
    done = agent.settled(action["id"])
    assert (done["status"], len(done["attempts"]), done["moved"]) == ("succeeded", 1, None)
    assert paid(world, action) == 1


def test_what_cannot_be_read_again_is_not_written_on_and_is_tried_later(
    agent: Agent, house: Organisation, world: World
) -> None:
    action = waiting(agent, "LE-5521")
    admin = {"X-Sandbox-Admin": admin_token(world.stack.state, "bank")}
    fault = {"operation": "accounts.balance", "kind": "error", "status": 500}
    assert httpx.post(f"{world.stack.url['bank']}/_faults", json=fault, headers=admin).status_code == 201
    ok(decide(house.approver, action))
    for _ in range(60):
        time.sleep(0.25)
        world.stack.tick()
        done = agent.action(action["id"])
        if done["status"] not in ("authorized", "executing"):
            break
    assert done["status"] == "succeeded"
    assert done["attempts"][0]["response"]["reached"] == "no"
    assert "could not be read" in done["attempts"][0]["error"]
    assert paid(world, action) == 1


def test_what_was_not_read_is_not_compared(agent: Agent, house: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment(4200, reference="INV-1042"))
    bank(world, "update bills set amount = amount + 1 where reference = 'INV-1042'")
    ok(decide(house.approver, action))
    assert agent.settled(action["id"])["status"] == "succeeded"
