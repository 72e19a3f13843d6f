"""Dead letters: what was not done is found, understood, requeued (as it is, or through the gate again) or cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.constitutions import in_force, publish, rule
from tests.http.integrator import NOTE, PAY, Agent, access_spec, at_work, decide, new_organisation, note, payment
from tests.http.world import World

BUSY = {"kind": "rate_limit", "retry_after": 0}


@pytest.fixture(scope="module")
def house(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(made))
    return made


@pytest.fixture
def agent(house: Organisation) -> Iterator[Agent]:
    with at_work(house) as working:
        yield working


def break_next(world: World, provider: str, operation: str, times: int) -> None:
    with world.provider(provider) as client:
        client.post("/_faults", json={"operation": operation, "times": times} | BUSY).raise_for_status()


def driven(world: World, action_id: str, seconds: float = 120) -> str:
    """The status in which the action ends, when no retry has to be waited for."""
    hurry = "update app.actions set next_attempt_at = now() where id = %s and next_attempt_at > now()"
    ticks, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        with world.database.connect("superuser") as connection:
            connection.execute(hurry.encode(), (action_id,))
        ticks.append(world.stack.tick())
        ((status,),) = world.rows("select status from app.actions where id = %s", action_id)
        if status not in ("authorized", "executing"):
            return str(status)
    tried = (
        "select number, status, put_off, error, started_at::text from app.attempts where action_id = %s order by number"
    )
    raise AssertionError(f"the action is still {status} after {ticks}: {world.rows(tried, action_id)}")


def dead(world: World, agent: Agent, body: str = "Called back") -> str:
    """A note that the CRM was too busy for, six times."""
    break_next(world, "crm", "notes.create", 6)
    action: str = agent.propose(NOTE, note(body))["id"]
    assert driven(world, action) == "dead_letter"
    return action


def requeue(house: Organisation, action_id: str, reason: str = "it is well again") -> httpx.Response:
    path = f"/v1/actions/{action_id}/requeue"
    return house.approver.api.post(path, json={"reason": reason}, headers=once())


def test_a_dead_letter_says_what_it_was_and_what_can_be_done(agent: Agent, house: Organisation, world: World) -> None:
    break_next(world, "bank", "payments.create", 6)
    action = agent.propose(PAY, payment(4712))
    ok(decide(house.approver, action))
    assert driven(world, action["id"]) == "dead_letter"
    other = dead(world, agent)

    listed = ok(house.owner.api.get("/v1/dead-letters"))["items"]
    assert [one["id"] for one in listed] == [other, action["id"]]
    assert listed[1]["summary"].startswith(
        "Pay a vendor from one of our accounts: 47.12 EUR. The provider answered 429"
    )
    assert (listed[1]["tries"], listed[1]["workflow"]) == (6, "pay-vendor-bills")
    first = ok(house.owner.api.get("/v1/dead-letters", params={"limit": 1}))
    rest = {"limit": 1, "cursor": first["next_cursor"]}
    assert [one["id"] for one in ok(house.owner.api.get("/v1/dead-letters", params=rest))["items"]] == [action["id"]]
    for asked, found in (
        ("?tool=" + NOTE, [other]), ("?workflow=another", []), ("?older_than=3600", []),
        (f"?tool={PAY}&older_than=0", [action["id"]]),
    ):  # fmt: skip
        got = ok(house.owner.api.get(f"/v1/dead-letters{asked}"))["items"]
        assert [one["id"] for one in got] == found, asked

    shown = ok(house.owner.api.get(f"/v1/dead-letters/{action['id']}"))
    assert shown["args"] == payment(4712)
    assert [a["number"] for a in shown["attempts"]] == [1, 2, 3, 4, 5, 6]
    assert {a["response"]["status"] for a in shown["attempts"]} == {429}
    assert shown["moved"] == shown["requeues"] == []
    assert shown["options"]["requeue"]["how"] == "as_is"
    assert "earer" not in str(shown)
    stranger = new_organisation(world, connected=False, name="Strangers Ltd")
    assert stranger.owner.api.get(f"/v1/dead-letters/{action['id']}").status_code == 404
    assert ok(stranger.owner.api.get("/v1/dead-letters"))["items"] == []
    for one in (action["id"], other):
        cancelled = house.owner.api.post(f"/v1/actions/{one}/cancel", json={"reason": "by hand"}, headers=once())
        assert ok(cancelled)["status"] == "cancelled"
    assert world.transfers(action["id"]) == []


def test_a_requeued_one_gets_all_its_attempts_again(agent: Agent, house: Organisation, world: World) -> None:
    action = dead(world, agent, "Asked to call back")
    assert agent.api.post(f"/v1/actions/{action}/requeue", json={"reason": "x"}, headers=once()).status_code == 403
    break_next(world, "crm", "notes.create", 5)
    again = ok(requeue(house, action))
    assert (again["id"], again["status"], again["supersedes"]) == (action, "authorized", None)
    assert driven(world, action) == "succeeded"
    assert len(agent.action(action)["attempts"]) == 12
    assert [n["body"] for n in world.notes(action)] == ["Asked to call back"]
    assert requeue(house, action).status_code == 404
    kept = world.rows("select attempts, reason, requeued_by::text from app.requeues where action_id = %s", action)
    assert kept == [(6, "it is well again", house.approver.user_id)]


def test_what_has_moved_is_decided_anew(agent: Agent, house: Organisation, world: World) -> None:
    """A note needs a person under the new rules: the requeued one too, whatever was decided before."""
    action = dead(world, agent, "Under old rules")
    kept = in_force(house)["rules"]
    asks = rule("ask-for-notes", "require_approval", f'action.tool == "{NOTE}"', approvals={"count": 1})
    publish(house, [*kept, asks])
    shown = ok(house.owner.api.get(f"/v1/dead-letters/{action}"))
    assert [one["what"] for one in shown["moved"]] == ["constitution_version"]
    assert shown["options"]["requeue"]["how"] == "again"
    new = ok(requeue(house, action))
    assert (new["status"], new["supersedes"]) == ("awaiting_approval", action)
    assert agent.action(action)["status"] == "superseded"
    proposed = agent.action(new["id"])
    assert [one["what"] for one in proposed["moved"]] == ["constitution_version"]
    assert proposed["args"] == note("Under old rules")
    ok(decide(house.approver, new))
    assert driven(world, new["id"]) == "succeeded"
    assert world.notes(action) == []
    assert len(world.notes(new["id"])) == 1

    # And what the new rules deny stays where it is.
    publish(house, kept)
    lost = dead(world, agent, "Never to be written")
    publish(house, [*kept, rule("no-notes", "deny", f'action.tool == "{NOTE}"')])
    refused = requeue(house, lost)
    assert (refused.status_code, refused.json()["code"]) == (409, "requeue_denied")
    assert agent.action(lost)["status"] == "dead_letter"
    publish(house, kept)


def test_several_at_once_are_answered_one_by_one(agent: Agent, house: Organisation, world: World) -> None:
    first, second = dead(world, agent, "One"), dead(world, agent, "Two")
    ok(house.owner.api.post(f"/v1/actions/{second}/cancel", json={"reason": "no"}, headers=once()))
    body = {"ids": [first, second, first], "reason": "the CRM is back"}
    key = once()
    answer = ok(house.owner.api.post("/v1/dead-letters/requeue", json=body, headers=key))["results"]
    assert [(one["id"], one["ok"], one["status"] or one["code"]) for one in answer] == [
        (first, True, "authorized"), (second, False, "not_found"),
    ]  # fmt: skip
    assert driven(world, first) == "succeeded"
    repeated: Any = house.owner.api.post("/v1/dead-letters/requeue", json=body, headers=key)
    assert (ok(repeated)["results"], repeated.headers["Idempotent-Replayed"]) == (answer, "true")
    other = body | {"ids": [second]}
    assert house.owner.api.post("/v1/dead-letters/requeue", json=other, headers=key).status_code == 422
    assert len(world.notes(first)) == 1
    assert agent.api.post("/v1/dead-letters/requeue", json=body, headers=once()).status_code == 403


def test_a_new_version_of_the_workflow_leaves_only_cancelling(agent: Agent, house: Organisation, world: World) -> None:
    action = dead(world, agent, "Too late")
    path = "/v1/workflows/pay-vendor-bills/versions"
    version = ok(house.owner.api.post(path, json={"spec": access_spec(house)}, headers=once()))["version"]
    ok(house.owner.api.post(f"{path}/{version}/submit", headers=once()))
    ok(house.approver.api.post(f"{path}/{version}/approve", json={"reason": "read"}, headers=once()))
    assert ok(house.owner.api.get(f"/v1/dead-letters/{action}"))["options"]["requeue"]["how"] == "not"
    refused = requeue(house, action)
    assert (refused.status_code, refused.json()["code"]) == (409, "workflow_version_moved")
    assert ok(house.owner.api.post(f"/v1/actions/{action}/cancel", json={"reason": "x"}, headers=once()))
