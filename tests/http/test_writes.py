"""Writes and the world that they rest on, end to end: what moved between decision and call is decided again."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from sandbox.oauth.files import admin_token
from sandbox.organisation import Organisation, ok
from tests.concurrency.patience import eventually
from tests.http.integrator import PAY, Agent, access_spec, at_work, decide, new_organisation, objections, payment
from tests.http.sealed import spoil
from tests.http.world import World

BALANCE, BILLS = "sandbox_bank.accounts.balance", "sandbox_bank.bills.list"
GET, UPDATE, DELETE = (f"sandbox_crm.contacts.{name}" for name in ("get", "update", "delete"))
SENDS = {"access": "write", "data_classes": ["personal", "internal"]}
BILL = ("id", "iban", "amount", "currency", "reference", "status")


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    spec = access_spec(made)
    tools = spec["tools"] | {
        BALANCE: {"access": "read", "read_fields": ["/balance", "/currency"]},
        BILLS: {"access": "read", "read_fields": [f"/bills/*/{name}" for name in BILL]},
        GET: {"access": "read", "read_fields": ["/id", "/email", "/phone", "/version"]},
        UPDATE: SENDS | {"irreversible_alone": True},
        DELETE: SENDS,
    }
    made.go_live("look-twice", "Look twice", spec | {"tools": tools})
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house, "look-twice") as working:
        yield working


def bank(world: World, statement: str, *values: Any, of: str = "bank") -> list[dict[str, Any]]:
    """What a provider's own file holds, or a change of it that nobody told us about."""
    with sqlite3.connect(world.stack.state / f"sandbox_{of}.sqlite3", timeout=30) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(statement, values).fetchall()]


def break_next(world: World, provider: str, **fault: Any) -> None:
    admin = {"X-Sandbox-Admin": admin_token(world.stack.state, provider)}
    assert httpx.post(f"{world.stack.url[provider]}/_faults", json=fault, headers=admin).status_code == 201


@contextmanager
def frozen_api(world: World) -> Iterator[None]:
    """Meanwhile the application does nothing at all."""
    pid = int((world.stack.state / "api.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


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
    break_next(world, "bank", operation="accounts.balance", kind="error", status=500)
    ok(decide(house.approver, action))

    def ended() -> dict[str, Any] | None:
        world.stack.tick()
        shown = agent.action(action["id"])
        return None if shown["status"] in ("authorized", "executing") else shown

    done = eventually(ended, "it is tried again")
    assert done["status"] == "succeeded"
    assert done["attempts"][0]["response"]["reached"] == "no"
    assert "could not be read" in done["attempts"][0]["error"]
    assert paid(world, action) == 1


def test_what_was_not_read_is_not_compared(agent: Agent, house: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment(4200, reference="INV-1042"))
    bank(world, "update bills set amount = amount + 1 where reference = 'INV-1042'")
    ok(decide(house.approver, action))
    assert agent.settled(action["id"])["status"] == "succeeded"


def contact(world: World, identity: str) -> dict[str, Any]:
    """A contact of its own, as the CRM's file has it."""
    made = "insert or ignore into contacts (id, company_id, name, email, phone, title, updated_at) values"
    values = (identity, "com_juniper", "Jo Wren", f"{identity}@juniper.example", "+31 20 555 0150", "", "2026-11-01")
    bank(world, f"{made} (?, ?, ?, ?, ?, ?, ?)", *values, of="crm")
    return bank(world, "select * from contacts where id = ?", identity, of="crm")[0]


def test_a_contact_that_changes_before_it_is_deleted(agent: Agent, house: Organisation, world: World) -> None:
    before = contact(world, "con_wren1")
    agent.observe(GET, args={"contact_id": "con_wren1"})
    action = agent.propose(DELETE, {"contact_id": "con_wren1"})
    bank(world, "update contacts set phone = '+31 6 1', version = 2 where id = 'con_wren1'", of="crm")
    again = in_its_place(house, agent, action)
    again_by_a_person(again)
    moved = {one["pointer"]: (one["was"], one["is"]) for one in again["moved"]}
    assert moved == {"/version": (1, 2), "/phone": (before["phone"], "+31 6 1")}
    assert contact(world, "con_wren1")["deleted_at"] is None
    ok(decide(house.approver, again))
    assert agent.settled(again["id"])["status"] == "succeeded"
    assert contact(world, "con_wren1")["deleted_at"] is not None


def test_a_contact_that_changes_before_it_is_changed(agent: Agent, house: Organisation, world: World) -> None:
    """What is asked for is still the version of before: the CRM refuses that, whoever approves it."""
    contact(world, "con_wren2")
    agent.observe(GET, args={"contact_id": "con_wren2"})
    action = agent.propose(UPDATE, {"contact_id": "con_wren2", "version": 1, "title": "Clerk"}, confidence=0.1)
    bank(world, "update contacts set phone = '+31 6 2', version = 2 where id = 'con_wren2'", of="crm")
    again = in_its_place(house, agent, action)
    again_by_a_person(again)
    ok(decide(house.approver, again))
    assert agent.settled(again["id"])["status"] == "failed"
    assert (contact(world, "con_wren2")["title"], contact(world, "con_wren2")["version"]) == ("", 2)


def test_what_a_run_changed_itself_has_not_moved(agent: Agent, house: Organisation, world: World) -> None:
    """Also when nobody could read it after the first change: the newest read is the one before it."""
    contact(world, "con_wren3")
    agent.observe(GET, args={"contact_id": "con_wren3"})
    break_next(world, "crm", operation="contacts.update", kind="hang", seconds=300, after=True)
    first = agent.propose(UPDATE, {"contact_id": "con_wren3", "version": 1, "title": "Clerk"})
    read = "select 1 from app.observations where action_id = %s and purpose = 'before' and status = 'succeeded'"
    eventually(lambda: world.rows(read, first["id"]), "it was read before")
    eventually(lambda: contact(world, "con_wren3")["title"] == "Clerk", "it is written")
    with frozen_api(world), world.provider("crm") as crm:
        crm.delete("/_faults").raise_for_status()  # it is answered
        break_next(world, "crm", operation="contacts.get", kind="error", status=500)
    assert (done := agent.settled(first["id"]))["status"] == "succeeded", done
    second = agent.propose(UPDATE, {"contact_id": "con_wren3", "version": 2, "title": "Buyer"}, confidence=0.1)
    ok(decide(house.approver, second))
    assert agent.settled(second["id"])["status"] == "succeeded"
    purposes = "select purpose, status from app.observations where action_id = %s order by created_at"
    assert world.rows(purposes, first["id"]) == [
        ("premise", "succeeded"), ("before", "succeeded"), ("after", "failed"),
    ]  # fmt: skip
    assert contact(world, "con_wren3")["title"] == "Buyer"


def test_nothing_is_sent_on_what_does_not_open_any_more(house: Organisation, agent: Agent, world: World) -> None:
    action = waiting(agent, "INV-2003")
    spoil(world, agent.run_id)
    ok(decide(house.approver, action))

    def tried() -> list[str]:
        attempts = agent.action(action["id"])["attempts"]
        return [] if "executing" in {one["status"] for one in attempts} else [one["error"] for one in attempts]

    told = eventually(tried, "it was tried")
    assert all("does not open" in error and "docs/runbook.md" in error for error in told)
    assert (paid(world, action), agent.action(action["id"])["status"]) == (0, "authorized")
