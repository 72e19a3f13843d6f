"""Undoing, end to end: back to what it was, through the gate, once, and never over somebody else's change."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from api.ids import new_id
from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import NOTE, PAY, Agent, access_spec, at_work, decide, new_organisation, note, payment
from tests.http.world import World

UPDATE, GET = "sandbox_crm.contacts.update", "sandbox_crm.contacts.get"
CREATE, DELETE = "sandbox_crm.contacts.create", "sandbox_crm.contacts.delete"
READ = [f"/{name}" for name in ("id", "company_id", "name", "email", "phone", "title", "version")]
WRITES = {"access": "write", "data_classes": ["personal", "internal"]}


def keeps_contacts(organisation: Organisation, **more: Any) -> dict[str, Any]:
    """An access spec that also reads, changes, adds and deletes contacts."""
    spec = access_spec(organisation)
    tools = spec["tools"] | {
        GET: {"access": "read", "read_fields": READ},
        UPDATE: WRITES | {"irreversible_alone": True},
        CREATE: WRITES | {"irreversible_alone": True},
        DELETE: WRITES,
    }
    return spec | {"tools": tools} | more


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("keep-contacts", "Keep contacts", keeps_contacts(made))
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house, "keep-contacts") as working:
        yield working


def contact(world: World, identity: str) -> dict[str, Any]:
    """A contact as the CRM's own file has it."""
    with sqlite3.connect(f"file:{world.stack.state / 'sandbox_crm.sqlite3'}?mode=ro", uri=True, timeout=30) as crm:
        crm.row_factory = sqlite3.Row
        return dict(crm.execute("select * from contacts where id = ?", (identity,)).fetchone())


def change_behind_our_back(world: World, identity: str, **fields: str) -> None:
    with sqlite3.connect(world.stack.state / "sandbox_crm.sqlite3", timeout=30) as crm:
        for name, value in fields.items():
            crm.execute(f"update contacts set {name} = ?, version = version + 1 where id = ?", (value, identity))


def carried_out(house: Organisation, agent: Agent, action: dict[str, Any]) -> dict[str, Any]:
    """Approved where it waits, and done."""
    if action["status"] == "awaiting_approval":
        ok(decide(house.approver, action))
    return agent.settled(action["id"])


def changed(house: Organisation, agent: Agent, world: World, identity: str, **fields: str) -> dict[str, Any]:
    """A change of a contact that was made."""
    args = {"contact_id": identity, "version": contact(world, identity)["version"]} | fields
    done = carried_out(house, agent, agent.propose(UPDATE, args))
    assert done["status"] == "succeeded", done
    return done


def compensate(caller: httpx.Client, action_id: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", once())
    return caller.post(f"/v1/actions/{action_id}/compensate", json={"reason": "a mistake"} | more, headers=headers)


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 409, answer.text
    return str(answer.json()["code"])


def finished(house: Organisation, agent: Agent, world: World) -> dict[str, Any]:
    """The report on undoing the agent's run when it is over; whatever waits for a person meanwhile is approved."""
    path = f"/v1/runs/{agent.run_id}/compensation"
    for _ in range(300):
        report: dict[str, Any] = ok(house.owner.api.get(path))
        if report["status"] == "finished":
            return report
        for step in report["steps"]:
            if step["undo"] and step["undo"]["status"] == "awaiting_approval":
                ok(decide(house.approver, agent.action(step["undo"]["id"])))
        world.stack.tick()
        time.sleep(0.1)
    raise AssertionError(report)


def read_again(agent: Agent, action_id: str) -> dict[str, Any]:
    """The action once what it wrote to was read again, which comes after it has succeeded."""
    for _ in range(300):
        shown = agent.action(action_id)
        if not shown["not_read"]:
            return shown
        time.sleep(0.2)
    raise AssertionError(f"not read again: {shown['not_read']}")


def test_an_action_tells_what_it_changed(agent: Agent, house: Organisation, world: World) -> None:
    """By what was read around its call: to people with the values, to a key only where."""
    before = contact(world, "con_emil")
    done = changed(house, agent, world, "con_emil", title="Head of events")
    read_again(agent, done["id"])
    shown = ok(house.owner.api.get(f"/v1/actions/{done['id']}"))
    assert shown["not_read"] == []
    assert {each["pointer"]: (each["before"], each["after"]) for each in shown["changes"]} == {
        "/title": (before["title"], "Head of events"),
        "/version": (before["version"], before["version"] + 1),
    }
    assert agent.action(done["id"])["changes"] == [{"pointer": "/title"}, {"pointer": "/version"}]
    noted = agent.settled(agent.propose(NOTE, note("She was called."))["id"])
    untouched = read_again(agent, noted["id"])
    assert (untouched["changes"], untouched["not_read"]) == ([], [])


def test_a_change_is_put_back_to_what_it_was(agent: Agent, house: Organisation, world: World) -> None:
    before = contact(world, "con_noor")
    done = changed(house, agent, world, "con_noor", title="Head of practice", phone="+44 20 5550 0999")
    key = once()
    undo = ok(compensate(agent.api, done["id"], headers=key))
    assert undo["compensates"] == done["id"]
    assert ok(compensate(agent.api, done["id"], headers=key))["id"] == undo["id"]
    shown = agent.action(undo["id"])
    assert (shown["tool"], shown["compensates"]) == (UPDATE, done["id"])
    # What was changed, and nothing else; by the version that is there now.
    assert shown["args"] == {
        "contact_id": "con_noor", "version": before["version"] + 1,
        "title": before["title"], "phone": before["phone"],
    }  # fmt: skip
    assert carried_out(house, agent, undo)["status"] == "succeeded"
    after = contact(world, "con_noor")
    assert {n: after[n] for n in ("name", "email", "phone", "title")} == {
        n: before[n] for n in ("name", "email", "phone", "title")
    }
    assert agent.action(done["id"])["compensated_by"] == undo["id"]
    assert refused(compensate(agent.api, done["id"])) == "undone_already"
    assert refused(compensate(agent.api, undo["id"])) == "undo_of_undo"


def test_what_was_created_is_deleted_by_a_person_s_word_only(agent: Agent, house: Organisation, world: World) -> None:
    args = {"company_id": "com_juniper", "name": "Ilse Maas", "email": "ilse@juniper.example"}
    done = carried_out(house, agent, agent.propose(CREATE, args))
    made = done["attempts"][-1]["response"]["body"]["id"]
    undo = ok(compensate(house.owner.api, done["id"]))
    assert undo["status"] == "awaiting_approval"
    assert agent.action(undo["id"])["args"] == {"contact_id": made}
    grounds = [g["source"] for g in undo["decision"]["grounds"] if g["pointer"].endswith("/contact_id")]
    assert grounds == ["trusted_record"]
    own = decide(house.owner, undo)
    assert (own.status_code, own.json()["code"]) == (403, "own_payload")
    assert refused(compensate(agent.api, done["id"])) == "undo_under_way"
    assert contact(world, made)["deleted_at"] is None
    assert carried_out(house, agent, undo)["status"] == "succeeded"
    assert contact(world, made)["deleted_at"] is not None


def test_what_cannot_be_undone_says_so(agent: Agent, house: Organisation, world: World) -> None:
    written = carried_out(house, agent, agent.propose(NOTE, note("Called back")))
    answer = compensate(agent.api, written["id"])
    assert refused(answer) == "irreversible"
    assert "no call that takes this back" in answer.json()["detail"]
    paid = carried_out(house, agent, agent.propose(PAY, payment(1300)))
    answer = compensate(house.owner.api, paid["id"])
    assert refused(answer) == "irreversible"
    assert "propose the tool that pays back, which is a payment of its own" in answer.json()["detail"]
    waiting = agent.propose(PAY, payment(1301))
    assert refused(compensate(agent.api, waiting["id"])) == "not_succeeded"
    assert compensate(house.approver.api, paid["id"]).status_code == 403
    stranger = new_organisation(world, connected=False, name="Strangers Ltd")
    assert compensate(stranger.owner.api, paid["id"]).status_code == 404


def test_a_later_change_is_not_overwritten(agent: Agent, house: Organisation, world: World) -> None:
    """Neither when the undo is proposed, nor when it was approved before the change."""
    done = changed(house, agent, world, "con_emil", title="Chief producer")
    change_behind_our_back(world, "con_emil", title="Director")
    answer = compensate(agent.api, done["id"])
    assert refused(answer) == "changed_since"
    assert answer.json()["errors"] == [{"pointer": "/title", "message": "This changed since."}]
    change_behind_our_back(world, "con_emil", title="Chief producer")

    args = {"company_id": "com_marlow", "name": "Tom Reed", "email": "tom@marlowfinch.example"}
    made = carried_out(house, agent, agent.propose(CREATE, args))
    identity = made["attempts"][-1]["response"]["body"]["id"]
    second = changed(house, agent, world, identity, title="Clerk")
    undo = ok(compensate(agent.api, second["id"], reason="wrong title"))
    assert undo["status"] == "awaiting_approval"
    change_behind_our_back(world, identity, title="Partner")
    late = carried_out(house, agent, undo)
    assert (late["status"], late["attempts"][-1]["response"]["reached"]) == ("failed", "no")
    assert "Somebody has changed it since" in late["status_reason"]
    assert contact(world, identity)["title"] == "Partner"


def test_a_whole_run_is_undone_from_its_end(agent: Agent, house: Organisation, world: World) -> None:
    before = contact(world, "con_ada")
    first = changed(house, agent, world, "con_ada", title="Buyer")
    wrote = carried_out(house, agent, agent.propose(NOTE, note("Called back")))
    second = changed(house, agent, world, "con_ada", title="Head buyer", phone="+31 20 555 0199")
    pending = agent.propose(PAY, payment(1302))
    path = f"/v1/runs/{agent.run_id}/compensate"
    assert house.owner.api.get(f"/v1/runs/{agent.run_id}/compensation").status_code == 404
    plan = house.owner.api.post(path, json={"reason": "the wrong Ada"}, headers=once())
    assert (plan.status_code, plan.headers["Location"]) == (202, f"/v1/runs/{agent.run_id}/compensation")
    report = finished(house, agent, world)
    assert [(s["action"]["id"], s["code"]) for s in report["steps"]] == [
        (pending["id"], "not_done"), (second["id"], "undone"), (wrote["id"], "irreversible"), (first["id"], "undone"),
    ]  # fmt: skip
    assert report["counts"] == {"not_done": 1, "undone": 2, "irreversible": 1}
    undone = contact(world, "con_ada")
    assert {n: undone[n] for n in ("title", "phone")} == {n: before[n] for n in ("title", "phone")}
    # In reverse: the undo of the first began when that of the second had ended.
    undos = [s["undo"]["id"] for s in report["steps"] if s["code"] == "undone"]
    latest, earliest = (agent.action(one) for one in undos)
    assert latest["attempts"][-1]["finished_at"] <= earliest["created_at"]
    ((kind, asker),) = world.rows("select proposed_by_kind, proposed_by::text from app.actions where id = %s", undos[1])
    assert (kind, asker) == ("user", house.owner.user_id)
    ok(house.owner.api.post(f"/v1/actions/{pending['id']}/cancel", json={"reason": "x"}, headers=once()))
    # Asked again, it says of each that it was undone already.
    ok(house.owner.api.post(path, json={"reason": "once more"}, headers=once()))
    codes = [s["code"] for s in finished(house, agent, world)["steps"]]
    assert codes == ["undone_already", "irreversible", "undone_already"]


def test_what_undoing_a_run_would_do_is_told_before(agent: Agent, house: Organisation, world: World) -> None:
    """To people and keys alike, while nothing is recorded and what was added stays."""
    path = f"/v1/runs/{agent.run_id}/compensation/preview"
    assert ok(agent.api.get(path)) == {"run_id": agent.run_id, "under_way": None, "writes": 0, "steps": []}
    args = {"company_id": "com_juniper", "name": "Jan Maas", "email": "jan@juniper.example"}
    added = carried_out(house, agent, agent.propose(CREATE, args))
    wrote = carried_out(house, agent, agent.propose(NOTE, note("Called back")))
    pending = agent.propose(PAY, payment(1303))
    told = ok(house.owner.api.get(path))
    assert [(s["position"], s["action"]["id"], s["can"], s["tool"], s["code"]) for s in told["steps"]] == [
        (1, pending["id"], False, None, "not_done"),
        (2, wrote["id"], False, None, "irreversible"),
        (3, added["id"], True, DELETE, None),
    ]
    assert (told["under_way"], told["writes"]) == (None, 3)
    assert "no call that takes this back" in told["steps"][1]["reason"]
    assert ok(agent.api.get(path)) == told
    assert contact(world, added["attempts"][-1]["response"]["body"]["id"])["deleted_at"] is None
    assert house.owner.api.get(f"/v1/runs/{agent.run_id}/compensation").status_code == 404

    # A person has to approve the deletion, so that the plan is under way until then.
    begun = {"reason": "the wrong company"}
    plan = ok(house.owner.api.post(f"/v1/runs/{agent.run_id}/compensate", json=begun, headers=once()))
    assert ok(house.owner.api.get(path))["under_way"] == plan["id"]
    finished(house, agent, world)
    over = ok(house.owner.api.get(path))
    assert (over["under_way"], over["steps"][2]["code"]) == (None, "undone_already")
    stranger = new_organisation(world, connected=False, name="Strangers Ltd")
    assert stranger.owner.api.get(path).status_code == 404


def test_what_turned_out_to_have_happened_is_undone_too(agent: Agent, house: Organisation, world: World) -> None:
    """Nobody read what it left behind: that follows from what was there before, and from what it was asked to do."""
    before = contact(world, "con_ruth")
    with world.provider("crm") as crm:
        crm.post("/_faults", json={"operation": "contacts.update", "kind": "drop_after"}).raise_for_status()
    args = {"contact_id": "con_ruth", "version": before["version"], "title": "Senior partner"}
    lost = carried_out(house, agent, agent.propose(UPDATE, args))
    assert lost["status"] == "unknown"
    assert refused(compensate(agent.api, lost["id"])) == "outcome_unknown"
    said = {"outcome": "succeeded", "reason": "seen in the CRM"}
    ok(house.owner.api.post(f"/v1/actions/{lost['id']}/reconcile", json=said, headers=once()))
    assert contact(world, "con_ruth")["title"] == "Senior partner"
    undo = ok(compensate(agent.api, lost["id"]))
    assert carried_out(house, agent, undo)["status"] == "succeeded"
    assert contact(world, "con_ruth")["title"] == before["title"]


def test_another_instance_goes_on_with_a_plan(agent: Agent, house: Organisation, world: World) -> None:
    """Whoever planned it died at once: the schedule takes the steps, and once each when it runs twice."""
    before = contact(world, "con_noor")
    done = changed(house, agent, world, "con_noor", title="Director")
    plan = str(new_id())
    claims = {"kind": "user", "sub": house.owner.user_id, "tenant_id": house.tenant_id, "aal": "aal2"}
    asked = {"id": plan, "run_id": agent.run_id, "reason": "the wrong Noor"}
    with world.database.connect("countersign_api") as api:
        api.execute("select app.call_v1(%s, 'undo_run_v1', %s, null, null)", (json.dumps(claims), Jsonb(asked)))
    with ThreadPoolExecutor(4) as instances:
        list(instances.map(lambda _: world.stack.tick(), range(4)))
    (step,) = finished(house, agent, world)["steps"]
    assert (step["action"]["id"], step["code"]) == (done["id"], "undone")
    assert contact(world, "con_noor")["title"] == before["title"]
    ((undos,),) = world.rows("select count(*) from app.actions where compensates = %s", done["id"])
    assert undos == 1


def test_a_kill_switch_holds_up_what_is_undone_too(agent: Agent, house: Organisation, world: World) -> None:
    before = contact(world, "con_noor")
    done = changed(house, agent, world, "con_noor", title="Chair")
    stop = {"scope": "tool", "target": UPDATE, "reason": "it went wrong"}
    switch = ok(house.owner.api.post("/v1/kill-switches", json=stop, headers=once()))
    assert refused(compensate(agent.api, done["id"])) == "kill_switch_engaged"
    ok(house.owner.api.post(f"/v1/runs/{agent.run_id}/compensate", json={"reason": "x"}, headers=once()))
    world.stack.tick()
    report = ok(house.owner.api.get(f"/v1/runs/{agent.run_id}/compensation"))
    assert (report["status"], [s["status"] for s in report["steps"]]) == ("running", ["waiting"])
    release = {"reason": "put right"}
    ok(house.owner.api.post(f"/v1/kill-switches/{switch['id']}/release", json=release, headers=once()))
    (step,) = finished(house, agent, world)["steps"]
    assert step["code"] == "undone"
    assert contact(world, "con_noor")["title"] == before["title"]


def test_a_new_version_of_the_workflow_ends_undoing(agent: Agent, house: Organisation, world: World) -> None:
    done = changed(house, agent, world, "con_piet", title="Payables")
    path = "/v1/workflows/keep-contacts/versions"
    version = ok(house.owner.api.post(path, json={"spec": keeps_contacts(house)}, headers=once()))["version"]
    ok(house.owner.api.post(f"{path}/{version}/submit", headers=once()))
    ok(house.approver.api.post(f"{path}/{version}/approve", json={"reason": "read"}, headers=once()))
    assert refused(compensate(agent.api, done["id"])) == "workflow_version_moved"
    ok(house.owner.api.post(f"/v1/runs/{agent.run_id}/compensate", json={"reason": "x"}, headers=once()))
    (step,) = finished(house, agent, world)["steps"]
    assert (step["code"], step["undo"]) == ("workflow_version_moved", None)
    assert "new version" in step["reason"]
