"""The main job, as an integrator meets it: observe, propose, countersign, execute once, prove it."""

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import (
    NOTE,
    PAY,
    Agent,
    access_spec,
    at_work,
    decide,
    join,
    note,
    objections,
    payment,
)
from tests.http.world import World


def test_a_run_keeps_what_started_it(agent: Agent) -> None:
    run = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    assert (run["workflow"], run["workflow_version"], run["environment"]) == ("pay-vendor-bills", 1, "sandbox")
    assert (run["instruction"], run["trigger"], run["status"]) == ("Pay what is due", "call", "active")
    assert run["observations"] == run["actions"] == []


def test_an_observation_keeps_the_fields_of_the_access_spec_and_labels_them(agent: Agent) -> None:
    seen = agent.observe()
    assert (seen["status"], seen["source"]) == ("succeeded", "gateway")
    bills = {bill["id"]: bill for bill in seen["result"]["bills"]}
    assert bills["bill_1042"] == {
        "id": "bill_1042", "iban": "DE94000123450532013000", "amount": 129900, "currency": "EUR", "reference": "INV-1042",
    }  # fmt: skip
    assert seen["labels"]["/bills/*/amount"] == {"trust": "trusted", "data_class": "financial"}
    assert seen["labels"]["/bills/*/reference"] == {"trust": "trusted"}
    assert set(seen["labels"]) == {f"/bills/*/{name}" for name in bills["bill_1042"]}


def test_what_a_sender_chose_is_untrusted(agent: Agent) -> None:
    seen = agent.observe("sandbox_crm.messages.list")
    assert {"trust": "untrusted", "data_class": "personal"} == seen["labels"]["/messages/*/body"]
    assert {"trust": "trusted"} == seen["labels"]["/messages/*/id"]
    assert all(set(message) == {"id", "body"} for message in seen["result"]["messages"])


def test_what_the_client_read_itself_is_marked_and_minimised_too(agent: Agent, world: World) -> None:
    result = {"bills": [{"id": "bill_9", "amount": 5, "memo": "pay me", "secret": "x"}], "more": {"token": "t"}}
    seen = agent.observe(result=result)
    assert seen["source"] == "client_asserted"
    assert seen["result"] == {"bills": [{"id": "bill_9", "amount": 5}]}
    stored = world.rows("select result from app.observations where id = %s", seen["id"])
    assert stored == [({"bills": [{"id": "bill_9", "amount": 5}]},)]


def test_a_payment_waits_for_a_person_and_then_happens_once(agent: Agent, shared: Organisation, world: World) -> None:
    before = world.balance("acc_operating")
    action = agent.propose(PAY, payment(4711))
    assert action["status"] == "awaiting_approval"
    assert objections(action) == {"hard_gate": "escalate"}
    required = action["decision"]["required_approvals"]
    assert required == {"count": 1, "roles": ["owner", "approver"], "aal": "aal2"}
    waiting = ok(shared.approver.api.get(f"/v1/exceptions/{action['exception']['id']}"))
    assert waiting["args"] == payment(4711)
    assert waiting["digest"] == action["digest"]
    assert waiting["instruction"] == "Pay what is due"
    assert waiting["summary"].endswith("47.11 EUR")
    assert [o["tool"] for o in waiting["observations"]] == ["sandbox_bank.bills.list"]
    assert world.transfers(action["id"]) == []

    decided = ok(decide(shared.approver, action))
    assert decided["status"] == "approved"
    assert decided["approvals"] == {"given": 1, "required": 1}
    done = agent.settled(action["id"])
    assert done["status"] == "succeeded"
    assert [attempt["status"] for attempt in done["attempts"]] == ["succeeded"]
    paid = world.transfers(action["id"])
    assert [(t["amount"], t["currency"], t["to_iban"]) for t in paid] == [(4711, "EUR", "DE94000123450532013000")]
    assert world.balance("acc_operating") == before - 4711

    for _ in range(3):
        world.stack.tick()
    assert len(world.transfers(action["id"])) == 1
    assert world.balance("acc_operating") == before - 4711


def test_every_step_is_in_the_audit_log_and_the_chain_verifies(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(PAY, payment())
    ok(decide(shared.approver, action, reason="bill seen"))
    agent.settled(action["id"])
    events = ok(shared.owner.api.get("/v1/audit/events", params={"action_id": action["id"], "limit": 200}))["items"]
    assert [event["type"] for event in reversed(events)] == [
        "action.proposed", "decision.made", "exception.opened", "approval.recorded", "exception.approved",
        "action.authorized", "action.executing", "attempt.started", "credential.released", "attempt.succeeded",
        "action.succeeded",
    ]  # fmt: skip
    by_type = {event["type"]: event["event"] for event in events}
    assert by_type["action.proposed"]["principal"]["id"] == shared.service_account_id
    assert by_type["action.proposed"]["what"]["digest"] == action["digest"]
    assert by_type["approval.recorded"]["principal"]["id"] == shared.approver.user_id
    assert by_type["approval.recorded"]["principal"]["aal"] == "aal2"
    assert by_type["approval.recorded"]["why"]["reason"] == "bill seen"
    assert by_type["decision.made"]["why"]["reasons"][0]["check"] == "hard_gate"
    verified = ok(shared.owner.api.get("/v1/audit/verify"))
    assert verified["ok"] is True
    assert verified["events"] >= len(events)


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


def test_a_soft_action_that_nothing_objects_to_needs_nobody(agent: Agent, world: World) -> None:
    action = agent.propose(NOTE, note("Sent the invoice again"))
    assert (action["status"], action["exception"]) == ("authorized", None)
    assert objections(action) == {}
    assert action["decision"]["required_approvals"]["count"] == 0
    assert agent.settled(action["id"])["status"] == "succeeded"
    assert [n["body"] for n in world.notes(action["id"])] == ["Sent the invoice again"]


@pytest.mark.parametrize("confidence", [0.79, None])
def test_an_agent_that_is_not_sure_asks(
    agent: Agent, shared: Organisation, world: World, confidence: float | None
) -> None:
    action = agent.propose(NOTE, note(), confidence=confidence)
    assert action["status"] == "awaiting_approval"
    assert objections(action) == {"confidence": "escalate"}
    ok(decide(shared.approver, action))
    assert agent.settled(action["id"])["status"] == "succeeded"
    assert len(world.notes(action["id"])) == 1


def test_an_amount_above_the_ceiling_escalates_on_its_own_account(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(PAY, payment(500001))
    assert objections(action) == {"hard_gate": "escalate", "value": "escalate"}
    waiting = ok(shared.owner.api.get(f"/v1/exceptions/{action['exception']['id']}"))
    assert waiting["severity"] == "critical"
    unpriced = agent.propose(PAY, payment(100, currency="GBP"))
    assert objections(unpriced) == {"hard_gate": "escalate", "value": "escalate"}
    for proposed in (action, unpriced):
        ok(decide(shared.approver, proposed, "reject", reason="too much"))


def test_a_payment_without_evidence_is_denied_by_a_rule(agent: Agent, shared: Organisation) -> None:
    action = agent.propose(PAY, payment(), evidence=[])
    assert (action["status"], action["exception"]) == ("denied", None)
    rule = next(f for f in action["decision"]["findings"] if f["check"] == "constitution")
    assert (rule["outcome"], rule["rule_id"]) == ("deny", "look-before-paying")


def test_an_action_outside_of_the_access_spec_is_denied_and_recorded(agent: Agent, world: World) -> None:
    account = agent.propose(PAY, payment(from_account="acc_reserve"))
    tool = agent.propose("sandbox_crm.contacts.delete", {"contact_id": "con_ruth"})
    assert {account["status"], tool["status"]} == {"denied"}
    assert objections(account)["scope"] == objections(tool)["scope"] == "deny"
    world.stack.tick()
    assert [agent.action(a["id"])["attempts"] for a in (account, tool)] == [[], []]


def test_in_shadow_everything_is_recorded_and_nothing_done(fresh: Organisation, world: World) -> None:
    fresh.go_live("rehearse", "Rehearse", access_spec(fresh, stage="shadow"))
    with at_work(fresh, "rehearse") as agent:
        action = agent.propose(NOTE, note())
        assert (action["status"], objections(action)) == ("denied", {"stage": "deny"})
        world.stack.tick()
        assert agent.action(action["id"])["status"] == "denied"
        assert world.notes(action["id"]) == []


def test_a_supervised_workflow_asks_before_every_side_effect(fresh: Organisation, world: World) -> None:
    fresh.go_live("assist", "Assist", access_spec(fresh, stage="supervised"))
    with at_work(fresh, "assist") as agent:
        action = agent.propose(NOTE, note())
        assert (action["status"], objections(action)) == ("awaiting_approval", {"stage": "escalate"})
        ok(decide(fresh.owner, action))
        assert agent.settled(action["id"])["status"] == "succeeded"


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


def test_what_waits_can_be_cancelled_and_what_is_done_cannot(agent: Agent, world: World) -> None:
    action = agent.propose(PAY, payment())
    cancelled = agent.api.post(f"/v1/actions/{action['id']}/cancel", json={"reason": "not needed"}, headers=once())
    assert ok(cancelled)["status"] == "cancelled"
    done = agent.propose(NOTE, note())
    agent.settled(done["id"])
    refused = agent.api.post(f"/v1/actions/{done['id']}/cancel", json={"reason": "oops"}, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


def test_an_evaluation_decides_and_does_nothing(agent: Agent, world: World) -> None:
    body = agent.proposal(NOTE, note("never written"))
    evaluated = ok(agent.api.post("/v1/gate/evaluate", json=body, headers=once()))
    assert evaluated["decision"]["outcome"] == "allow"
    world.stack.tick()
    trace = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    assert trace["actions"] == []


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
