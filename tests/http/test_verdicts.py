"""What people decide on what waits for them, and who may decide it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, join, note, objections, payment
from tests.http.world import World


def test_a_rejected_action_never_happens(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment())
    decided = ok(decide(shared.approver, action, "reject", reason="not our bill"))
    assert (decided["status"], decided["action"]["status"]) == ("rejected", "rejected")
    world.stack.tick()
    shown = agent.action(action["id"])
    assert (shown["status"], shown["attempts"]) == ("rejected", [])
    assert world.transfers(action["id"]) == []
    assert decide(shared.owner, action).json()["code"] == "already_decided"


def test_an_answer_by_hand_cancels_the_action(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment())
    decided = ok(decide(shared.approver, action, "answer", reason="paid at the counter"))
    assert (decided["status"], decided["action"]["status"]) == ("answered", "cancelled")
    world.stack.tick()
    assert world.transfers(action["id"]) == []


def test_an_edit_begins_anew_and_needs_another_person(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment(9900))
    edited = ok(decide(shared.approver, action, "edit", args=payment(990), reason="a decimal slipped"))
    assert (edited["status"], edited["action"]["status"]) == ("edited", "superseded")
    new = edited["superseded_by"]
    assert new["id"] != action["id"]
    assert new["digest"] != action["digest"]
    assert new["status"] == "awaiting_approval"
    refused = decide(shared.approver, new)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_payload")
    ok(decide(shared.owner, new))
    done = agent.settled(new["id"])
    assert (done["status"], done["supersedes"]) == ("succeeded", action["id"])
    assert [t["amount"] for t in world.transfers(new["id"])] == [990]
    assert world.transfers(action["id"]) == []


def test_an_edit_that_the_gate_denies_changes_nothing(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(PAY, payment())
    refused = decide(shared.approver, action, "edit", args=payment(from_account="acc_reserve"), reason="other account")
    assert (refused.status_code, refused.json()["code"]) == (422, "edit_denied")
    assert agent.action(action["id"])["status"] == "awaiting_approval"
    ok(decide(shared.approver, action, "reject", reason="done with it"))


def test_an_edit_of_a_soft_action_waits_for_another_person_too(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    edited = ok(decide(shared.approver, action, "edit", args=note("Called back, no answer"), reason="what happened"))
    new = edited["superseded_by"]
    assert new["status"] == "awaiting_approval"
    assert objections(new) == {"confidence": "escalate", "edit": "escalate"}
    ok(decide(shared.owner, new))
    assert agent.settled(new["id"])["status"] == "succeeded"


def test_a_large_payment_needs_two_people(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(1_000_000))
        assert action["decision"]["required_approvals"] == {"count": 2, "roles": ["owner", "approver"], "aal": "aal2"}
        first = ok(decide(fresh.approver, action))
        assert (first["status"], first["approvals"]) == ("open", {"given": 1, "required": 2})
        world.stack.tick()
        assert agent.action(action["id"])["status"] == "awaiting_approval"
        again = decide(fresh.approver, action)
        assert (again.status_code, again.json()["code"]) == (409, "already_approved")
        assert world.transfers(action["id"]) == []
        second = ok(decide(fresh.owner, action))
        assert (second["status"], second["approvals"]) == ("approved", {"given": 2, "required": 2})
        assert agent.settled(action["id"])["status"] == "succeeded"
        assert [t["amount"] for t in world.transfers(action["id"])] == [1_000_000]


def test_a_rejection_after_one_of_two_approvals_ends_it(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(1_000_000))
        ok(decide(fresh.approver, action))
        ok(decide(fresh.owner, action, "reject", reason="wrong vendor"))
        world.stack.tick()
        assert agent.action(action["id"])["status"] == "rejected"
        assert world.transfers(action["id"]) == []


def test_who_proposed_cannot_approve(fresh: Organisation) -> None:
    run = ok(
        fresh.owner.api.post("/v1/runs", json={"workflow": "pay-vendor-bills", "instruction": "x"}, headers=once())
    )
    mine = Agent(fresh.owner.api, "pay-vendor-bills", run["id"])
    action = mine.propose(PAY, payment())
    refused = decide(fresh.owner, action)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_payload")
    ok(decide(fresh.approver, action))
    assert mine.settled(action["id"])["status"] == "succeeded"


def test_money_needs_a_second_factor_of_whoever_approves_it(fresh: Organisation, world: World) -> None:
    plain = join(fresh, "approver", second_factor=False)
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        refused = decide(plain, action)
        assert (refused.status_code, refused.json()["code"]) == (403, "aal2_required")
        assert agent.action(action["id"])["approvals"] == []
        soft = agent.propose(NOTE, note(), confidence=0.2)
        ok(decide(plain, soft))
        assert agent.settled(soft["id"])["status"] == "succeeded"


@pytest.mark.parametrize("role", ["admin", "operator", "developer", "auditor"])
def test_other_roles_approve_nothing(fresh: Organisation, role: str) -> None:
    bystander = join(fresh, role)
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        refused = decide(bystander, action)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        assert agent.action(action["id"])["status"] == "awaiting_approval"


def test_an_api_key_decides_nothing(agent: Agent) -> None:
    action = agent.propose(PAY, payment())
    body = {"verdict": "approve", "digest": action["digest"]}
    refused = agent.api.post(f"/v1/exceptions/{action['exception']['id']}/decision", json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def test_a_stale_digest_is_refused(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(PAY, payment())
    refused = decide(shared.approver, action, digest=f"sha256:{'0' * 64}")
    assert (refused.status_code, refused.json()["code"]) == (409, "digest_mismatch")
    assert agent.action(action["id"])["approvals"] == []


def test_the_queue_pages_through_everything_once(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        proposed = [agent.propose(NOTE, note(str(n)), confidence=0.1)["exception"]["id"] for n in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(5):
        page = ok(fresh.owner.api.get("/v1/exceptions", params={"limit": 2, "status": "open", **cursor}))
        seen += [item["id"] for item in page["items"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == proposed[::-1]


def test_an_exception_can_be_handed_to_a_member(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    path = f"/v1/exceptions/{action['exception']['id']}"
    ok(shared.owner.api.post(f"{path}/assign", json={"user_id": shared.approver.user_id}, headers=once()))
    assert ok(shared.owner.api.get(path))["assigned_to"] == shared.approver.user_id


def test_what_nobody_decided_in_time_expires(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    world.end_the_time_of(action["exception"]["id"])
    late = decide(shared.approver, action)
    assert (late.status_code, late.json()["code"]) == (409, "exception_expired")
    assert world.stack.tick("expire_exceptions")["expired"] >= 1
    expired = agent.action(action["id"])
    assert (expired["status"], expired["approvals"]) == ("expired", [])
    assert decide(shared.approver, action).json()["code"] == "already_decided"
    world.stack.tick()
    assert world.notes(action["id"]) == []


def test_a_client_may_wait_for_a_verdict(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(NOTE, note(), confidence=0.1)
    path, headers = f"/v1/actions/{action['id']}", {"Prefer": "respond-async, wait=20"}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.api.get, path, headers=headers)
        ok(decide(shared.approver, action, "reject", reason="no"))
        answer = waiting.result()
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["status"] == "rejected"
    short = agent.api.get(path, headers={"Prefer": "wait=20"})  # nothing more will happen: nobody is kept
    assert short.elapsed.total_seconds() < 15
