"""What an action would change, looked at while it waits for a person."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, join, new_organisation, note, payment
from tests.http.problems import problem
from tests.http.test_compensation import GET, READ, UPDATE, change_behind_our_back, contact, keeps_contacts
from tests.http.world import World

LOOKS = "select purpose from app.observations where action_id = %s"

FLOOD = """
    insert into app.observations (tenant_id, id, environment, run_id, tool, contract_version, connection_id, source,
        status, args, result, labels, digest, finished_at, lease_expires_at)
    select tenant_id, gen_random_uuid(), environment, run_id, tool, contract_version,
        case source when 'gateway' then (select connection_id from app.observations c
            where c.run_id = o.run_id and c.connection_id is not null limit 1) end,
        source, status, '{"contact_id": "con_piet"}', '{}', '{}', digest, now(), lease_expires_at
    from app.observations o, generate_series(1, 201) where id = %s returning 1
"""


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("keep-contacts", "Keep contacts", keeps_contacts(made))
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house, "keep-contacts") as working:
        yield working


def proposed(agent: Agent, world: World, identity: str, title: str) -> dict[str, Any]:
    """A change of a contact that the agent has read, and is not sure enough of."""
    agent.observe(GET, args={"contact_id": identity})
    args = {"contact_id": identity, "version": contact(world, identity)["version"], "title": title}
    action = agent.propose(UPDATE, args, confidence=0.1)
    assert action["status"] == "awaiting_approval", action
    return action


def look(person: Member, action: dict[str, Any], key: dict[str, str] | None = None) -> httpx.Response:
    return person.api.post(f"/v1/exceptions/{action['exception']['id']}/look", headers=key or once())


def target(person: Member, action: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = ok(person.api.get(f"/v1/exceptions/{action['exception']['id']}/target"))
    return shown


def test_who_decides_sees_what_is_there_and_what_has_moved(house: Organisation, agent: Agent, world: World) -> None:
    before = contact(world, "con_piet")
    action = proposed(agent, world, "con_piet", "Head of all")
    known = target(house.approver, action)
    (read,) = known["reads"]
    assert (read["tool"], read["serves"], read["looked"]) == (GET, ["state", "premise"], False)
    assert (known["change"]["now"]["title"], known["change"]["then"]["title"]) == (before["title"], "Head of all")
    assert known["change"]["now"]["name"] == known["change"]["then"]["name"] == before["name"]
    assert (known["readable"], known["compared"], known["moved"]) == (True, False, [])

    key = once()
    seen = ok(look(house.approver, action, key))
    assert (seen["compared"], seen["moved"], seen["reads"][0]["looked"]) == (True, [], True)
    change_behind_our_back(world, "con_piet", title="Left the company")
    again = ok(look(house.approver, action))
    assert again["change"]["now"]["title"] == "Left the company"
    assert {part["pointer"]: (part["was"], part["now"]) for part in again["moved"]} == {
        "/title": (before["title"], "Left the company"), "/version": (before["version"], before["version"] + 1),
    }  # fmt: skip
    assert {part["trust"] for part in again["moved"]} == {"trusted"}
    # No more than the access spec names, whatever the CRM answered; and each part says how far it is trusted.
    assert {f"/{name}" for name in again["reads"][0]["result"]} <= set(READ)
    assert again["reads"][0]["labels"]["/title"]["trust"] == "trusted"

    # The same request looks once.
    replayed = look(house.approver, action, key)
    assert (replayed.headers["idempotent-replayed"], replayed.json()) == ("true", again)
    assert world.rows(LOOKS, action["id"]) == [("look",)] * 2
    looked = "select distinct record::jsonb -> 'principal' from app.audit_events where type like 'observation.%%'"
    [(principal,)] = world.rows(f"{looked} and action_id = %s", action["id"])
    assert (principal["id"], principal["on_behalf_of"]["id"]) == ("look", house.approver.user_id)

    # To look decides nothing, and what has moved is not sent on an old decision.
    assert agent.action(action["id"])["status"] == "awaiting_approval"
    ok(decide(house.approver, action))
    assert agent.settled(action["id"])["status"] == "superseded"
    problem(look(house.approver, action), 409, "not_waiting")


def test_only_people_look_and_only_who_decides_asks_a_provider(house: Organisation, agent: Agent, world: World) -> None:
    action = proposed(agent, world, "con_ada", "Buyer of everything")
    here = f"/v1/exceptions/{action['exception']['id']}"
    auditor = join(house, "auditor", name="Aud Itor")
    assert target(auditor, action)["readable"]
    problem(look(auditor, action), 403, "permission_denied")
    problem(agent.api.post(f"{here}/look", headers=once()), 403, "people_only")
    problem(agent.api.get(f"{here}/target"), 403, "people_only")
    stranger = new_organisation(world, connected=False).owner
    problem(look(stranger, action), 404, "not_found")
    problem(stranger.api.get(f"{here}/target"), 404, "not_found")
    # Who decides may still not read whatever they like in the run.
    body = {"tool": GET, "args": {"contact_id": "con_ruth"}}
    refused = house.approver.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
    problem(refused, 403, "permission_denied")
    assert world.rows(LOOKS, action["id"]) == []


def test_of_a_payment_it_shows_what_the_decision_rests_on(house: Organisation, agent: Agent, world: World) -> None:
    """Nothing is there before a payment; its bill is, and the balance is not for this workflow to read."""
    agent.observe(args={"reference": "INV-1042"})
    action = agent.propose(PAY, payment(reference="INV-1042"))
    seen = ok(look(house.approver, action))
    assert seen["change"] is None
    balance, bills = seen["reads"]
    assert (balance["tool"], balance["observation_id"]) == ("sandbox_bank.accounts.balance", None)
    assert (bills["tool"], bills["looked"], bills["serves"]) == ("sandbox_bank.bills.list", True, ["premise"])
    assert (seen["compared"], seen["moved"]) == (True, [])
    with sqlite3.connect(world.stack.state / "sandbox_bank.sqlite3", timeout=30) as bank:
        bank.execute("update bills set iban = 'NL02ABNA0123456789' where reference = 'INV-1042'")
    moved = ok(look(house.approver, action))["moved"]
    with sqlite3.connect(world.stack.state / "sandbox_bank.sqlite3", timeout=30) as bank:
        bank.execute("update bills set iban = ? where reference = 'INV-1042'", (moved[0]["was"],))
    assert [(part["pointer"], part["now"]) for part in moved] == [("/bills/0/iban", "NL02ABNA0123456789")]


def test_nothing_that_a_client_says_covers_up_a_look(house: Organisation, agent: Agent, world: World) -> None:
    """The agent's key is good while its action waits: it may say what it likes, and read as much as it likes."""
    before = agent.observe(GET, args={"contact_id": "con_ada"})["result"]
    action = proposed(agent, world, "con_ada", "Head of none")
    agent.observe(GET, args={"contact_id": "con_ada"}, result=before)
    known = target(house.approver, action)
    assert (known["compared"], known["reads"][0]["source"]) == (False, "gateway")
    change_behind_our_back(world, "con_ada", title="Left the company")
    seen = ok(look(house.approver, action))
    assert "/title" in {part["pointer"] for part in seen["moved"]}
    said = agent.observe(GET, args={"contact_id": "con_ada"}, result=before)
    assert world.rows(FLOOD, said["id"])[0] == (1,)
    known = target(house.approver, action)
    assert (known["reads"], known["moved"], known["change"]) == (seen["reads"], seen["moved"], seen["change"])


def test_what_cannot_be_looked_at_is_said_and_keeps_nobody_from_deciding(
    house: Organisation, agent: Agent, world: World
) -> None:
    plain = agent.propose(NOTE, note(), confidence=0.1)
    assert target(house.owner, plain)["readable"] is False
    problem(look(house.owner, plain), 422, "no_way_to_look")

    action = proposed(agent, world, "con_ruth", "Nobody")
    with world.provider("crm") as crm:
        crm.post("/_faults", json={"operation": "contacts.get", "kind": "error", "status": 500}).raise_for_status()
    (read,) = ok(look(house.owner, action))["reads"]
    assert (read["looked"], bool(read["error"])) == (False, True)
    assert read["result"]["title"] == contact(world, "con_ruth")["title"]
    body = {"scope": "connection", "target": house.connections["sandbox_crm/read"], "reason": "Something is odd"}
    switch = ok(house.owner.api.post("/v1/kill-switches", json=body, headers=once()))
    told = problem(look(house.owner, action), 409, "kill_switch_engaged")
    assert "You can decide without it." in told["detail"]
    ok(decide(house.owner, action, "reject"))
    assert agent.action(action["id"])["status"] == "rejected"
    release = {"reason": "It was nothing"}
    ok(house.owner.api.post(f"/v1/kill-switches/{switch['id']}/release", json=release, headers=once()))
