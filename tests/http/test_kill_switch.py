"""Stopping with proof, letting go in stages, and the queue of what people do by hand meanwhile, over the API."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.concurrency.patience import eventually
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, join, new_organisation, note, payment
from tests.http.problems import problem, unchanged
from tests.http.world import World

SWITCHES, QUEUE = "/v1/kill-switches", "/v1/exceptions"


def engage(organisation: Organisation, scope: str = "tenant", target: str | None = None) -> dict[str, Any]:
    body = {"scope": scope, "target": target, "reason": "something is wrong"}
    switch: dict[str, Any] = ok(organisation.approver.api.post(SWITCHES, json=body, headers=once()))
    return switch


def release(person: Member, switch: dict[str, Any], stage: str | None = None) -> Any:
    body = {"reason": "looked into"} | ({} if stage is None else {"stage": stage})
    return person.api.post(f"{SWITCHES}/{switch['id']}/release", json=body, headers=once())


def shown(organisation: Organisation, switch: dict[str, Any]) -> dict[str, Any]:
    detail: dict[str, Any] = ok(organisation.owner.api.get(f"{SWITCHES}/{switch['id']}"))
    return detail


def ids(lines: list[dict[str, Any]]) -> list[str]:
    return [line["action_id"] for line in lines]


@contextmanager
def hanging(world: World, provider: str, operation: str, seconds: float = 300) -> Iterator[Callable[[], object]]:
    """The operation's next call is answered so much later, or when the block ends; yields whether it is there."""
    with world.provider(provider) as client:
        fault = {"operation": operation, "kind": "hang", "seconds": seconds}
        assert client.post("/_faults", json=fault).status_code == 201
        try:
            yield lambda: client.get("/_faults").json()["faults"] == []
        finally:
            assert client.delete("/_faults").status_code == 200


def wait_for(seen: Callable[[], object]) -> None:
    eventually(seen, "it comes to this")


def attempted(world: World, action: dict[str, Any], sent: bool) -> Callable[[], object]:
    """Whether the action is being executed, and was sent or not."""
    statement = (
        "select count(*) from app.attempts where action_id = %s and status = 'executing' and (sent_at is not null) = %s"
    )
    return lambda: world.rows(statement, action["id"], sent) == [(1,)]


def test_the_proof_names_what_was_stopped_and_how_the_rest_ended(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        waiting, queued = agent.propose(PAY, payment()), agent.propose(PAY, payment())
        first = engage(fresh, "tool", PAY)
        assert ids(first["proof"]["waiting"]) == [waiting["id"], queued["id"]]
        ok(decide(fresh.approver, queued))
        with hanging(world, "crm", "notes.create"):
            leaving = agent.propose(NOTE, note("On its way"))
            wait_for(attempted(world, leaving, sent=True))
            switch = engage(fresh)
        proof = switch["proof"]
        assert (ids(proof["queued"]), ids(proof["waiting"])) == ([queued["id"]], [waiting["id"]])
        assert (proof["leased"], proof["unsettled"]) == ([], [])
        (line,) = proof["in_flight"]
        assert (line["action_id"], line["tool"], line["kind"]) == (leaving["id"], NOTE, "executor")
        assert line["since"] < proof["created_at"] < line["lease_expires_at"]
        assert (line["now"], line["attempt_ended"], line["ended_at"]) == ("executing", "executing", None)
        assert agent.settled(leaving["id"])["status"] == "succeeded"
        later = shown(fresh, switch)["proof"]
        assert (later["digest"], later["created_at"]) == (proof["digest"], proof["created_at"])
        (line,) = later["in_flight"]
        assert (line["now"], line["attempt_ended"]) == ("succeeded", "succeeded")
        assert line["ended_at"] > proof["created_at"]
        assert world.transfers(queued["id"]) == []


def test_what_was_claimed_and_not_sent_is_stopped_and_runs_after_the_release(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        # It rests on a bill that was looked up, which is read again before the payment is sent.
        bill = agent.observe(args={"reference": payment()["reference"]})
        action = agent.propose(PAY, payment(), evidence=[{"observation_id": bill["id"]}])
        with hanging(world, "bank", "bills.list") as asked:
            ok(decide(fresh.approver, action))
            wait_for(asked)
            wait_for(attempted(world, action, sent=False))
            switch = engage(fresh, "connection", fresh.connections["sandbox_bank/write"])
        (line,) = switch["proof"]["leased"]
        assert (line["action_id"], line["amounts"]) == (action["id"], [{"amount": 1250, "currency": "EUR"}])
        assert switch["proof"]["in_flight"] == []
        looked = "select 1 from app.observations where action_id = %s and status <> 'reading'"
        wait_for(lambda: world.rows(looked, action["id"]))
        time.sleep(0.5)  # whoever was about to send has asked for leave by now
        world.stack.tick()
        assert agent.action(action["id"])["status"] == "authorized"
        assert world.transfers(action["id"]) == []
        ok(release(fresh.owner, switch))
        wait_for(lambda: world.stack.tick() and agent.action(action["id"])["status"] == "succeeded")
        assert len(world.transfers(action["id"])) == 1


def test_it_is_released_in_stages(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        switch = engage(fresh)
        assert agent.propose(NOTE, note())["status"] == "denied"
        assert ok(release(fresh.owner, switch, "drafts"))["stage"] == "drafts"
        # In drafts even what rules allow waits for people, and nothing executes.
        drafts = [agent.propose(NOTE, note(f"Draft {number}")) for number in range(3)]
        assert {draft["status"] for draft in drafts} == {"awaiting_approval"}
        for draft in drafts:
            ok(decide(fresh.approver, draft))
        world.stack.tick()
        assert {agent.action(draft["id"])["status"] for draft in drafts} == {"authorized"}
        assert [world.notes(draft["id"]) for draft in drafts] == [[], [], []]
        assert ok(release(fresh.owner, switch, "one_at_a_time"))["stage"] == "one_at_a_time"
        with hanging(world, "crm", "notes.create", seconds=1):
            for _ in drafts:
                world.stack.tick()
        done = [agent.settled(draft["id"]) for draft in drafts]
        assert {action["status"] for action in done} == {"succeeded"}
        spans = sorted((a["started_at"], a["finished_at"]) for action in done for a in action["attempts"])
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        for stage in ("drafts", "one_at_a_time"):
            problem(release(fresh.owner, switch, stage), 409, "invalid_transition")
        released = ok(release(fresh.owner, switch))
        assert (released["status"], released["stage"]) == ("released", "released")
        assert agent.propose(NOTE, note())["status"] == "authorized"


@pytest.fixture
def stopped(fresh: Organisation) -> Any:
    """An agent at work, a switch, and two proposals that it stopped."""
    with at_work(fresh) as agent:
        agent.observe()
        switch = engage(fresh)
        yield agent, switch, [agent.propose(NOTE, note(f"Stopped {number}")) for number in range(2)]


Stopped = tuple[Agent, dict[str, Any], list[dict[str, Any]]]


def test_people_do_by_hand_what_is_stopped(fresh: Organisation, stopped: Stopped) -> None:
    agent, switch, (done, dropped) = stopped
    waiting = ok(fresh.approver.api.get(QUEUE, params={"kind": "manual", "status": "open"}))["items"]
    assert {item["action_id"] for item in waiting} == {done["id"], dropped["id"]}
    assert ok(fresh.approver.api.get(QUEUE, params={"kind": "approval"}))["items"] == []
    assert shown(fresh, switch)["manual"] == 2
    # Nothing lets it run.
    problem(decide(fresh.approver, done), 409, "manual_only")
    problem(decide(fresh.approver, done, "edit", args=note("Edited")), 409, "manual_only")
    answer = ok(decide(fresh.approver, done, "answer", reason="written", provider_reference="note 17"))
    assert (answer["status"], answer["action"]["status"]) == ("answered", "denied")
    detail = ok(fresh.owner.api.get(f"{QUEUE}/{done['exception']['id']}"))
    assert (detail["kind"], detail["provider_reference"]) == ("manual", "note 17")
    assert (detail["kill_switch_id"], detail["decided_by"]) == (switch["id"], fresh.approver.user_id)
    assert ok(decide(fresh.approver, dropped, "reject"))["status"] == "rejected"
    problem(decide(fresh.approver, dropped, "answer"), 409, "already_decided")
    assert shown(fresh, switch)["manual"] == 0
    ok(release(fresh.owner, switch))
    assert {agent.action(action["id"])["status"] for action in (done, dropped)} == {"denied"}


def repropose(person: Member, action: dict[str, Any], **changes: Any) -> Any:
    body = {"digest": action["digest"], "reason": "still needed"} | changes
    return person.api.post(f"{QUEUE}/{action['exception']['id']}/repropose", json=body, headers=once())


def test_it_is_proposed_again_after_the_release(fresh: Organisation, stopped: Stopped, world: World) -> None:
    agent, switch, (action, other) = stopped
    problem(repropose(fresh.owner, action, digest=other["digest"]), 409, "digest_mismatch")
    # While it is engaged that is stopped in its turn, as any proposal.
    again = ok(repropose(fresh.owner, other))
    assert (again["status"], again["exception"]["kind"]) == ("denied", "manual")
    ok(release(fresh.owner, switch))
    # Its run may be over by then.
    ok(agent.api.post(f"/v1/runs/{agent.run_id}/complete", headers=once()))
    again = ok(repropose(fresh.owner, action))
    if again["status"] == "awaiting_approval":
        ok(decide(fresh.approver, again))
    assert agent.settled(again["id"])["status"] == "succeeded"
    assert [row["body"] for row in world.notes(again["id"])] == ["Stopped 0"]
    proposer = "select proposed_by_kind, proposed_by::text from app.actions where id = %s"
    assert world.rows(proposer, again["id"]) == [("user", fresh.owner.user_id)]
    assert ok(fresh.owner.api.get(f"{QUEUE}/{action['exception']['id']}"))["reproposed_as"] == again["id"]
    problem(repropose(fresh.owner, action), 409, "already_decided")


def test_nobody_else_lets_go_or_looks(fresh: Organisation, stopped: Stopped, world: World) -> None:
    agent, switch, (action, _) = stopped
    path, item = f"{SWITCHES}/{switch['id']}", f"{QUEUE}/{action['exception']['id']}"
    stranger = new_organisation(world, connected=False)
    plain, operator = join(fresh, "owner", second_factor=False), join(fresh, "operator")
    verdict = {"verdict": "reject", "digest": action["digest"], "reason": "mine"}
    asked = {"digest": action["digest"], "reason": "mine"}
    with unchanged(world):
        for stage in ("drafts", "one_at_a_time", "released"):
            problem(release(plain, switch, stage), 403, "aal2_required")
            for person in (operator, fresh.approver):
                problem(release(person, switch, stage), 403, "permission_denied")
            problem(release(stranger.owner, switch, stage), 404, "not_found")
            body = {"reason": "never mind", "stage": stage}
            problem(agent.api.post(f"{path}/release", json=body, headers=once()), 403, "permission_denied")
        problem(release(fresh.owner, switch, "engaged"), 422)
        problem(stranger.owner.api.get(path), 404, "not_found")
        problem(stranger.owner.api.get(item), 404, "not_found")
        for api, status in ((stranger.owner.api, 404), (agent.api, 403)):
            problem(api.post(f"{item}/decision", json=verdict, headers=once()), status)
            problem(api.post(f"{item}/repropose", json=asked, headers=once()), status)
        problem(world.client().get(path), 401)
    assert ok(agent.api.get(path))["proof"]["digest"] == switch["proof"]["digest"]
