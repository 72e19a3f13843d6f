"""The main job, as an integrator meets it: observe, propose, countersign, execute once, prove it."""

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import (
    INSTRUCTION,
    NOTE,
    PAY,
    UNKNOWN_PAYMENT,
    Agent,
    access_spec,
    at_work,
    decide,
    note,
    objections,
    payment,
)
from tests.http.world import World


def test_a_run_keeps_what_started_it(agent: Agent) -> None:
    run = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    assert (run["workflow"], run["workflow_version"], run["environment"]) == ("pay-vendor-bills", 1, "sandbox")
    assert (run["instruction"], run["trigger"], run["status"]) == (INSTRUCTION, "call", "active")
    assert run["observations"] == run["actions"] == []


def test_an_observation_keeps_the_fields_of_the_access_spec_and_labels_them(agent: Agent) -> None:
    seen = agent.observe()
    assert (seen["status"], seen["source"]) == ("succeeded", "gateway")
    bills = {bill["id"]: bill for bill in seen["result"]["bills"]}
    assert bills["bill_1042"] == {
        "id": "bill_1042",
        "iban": "DE94000123450532013000",
        "amount": 129900,
        "currency": "EUR",
        "reference": "INV-1042",
    }
    assert seen["labels"]["/bills/*/amount"] == {"trust": "trusted", "data_class": "financial"}
    assert seen["labels"]["/bills/*/reference"] == {"trust": "trusted"}
    assert set(seen["labels"]) == {f"/bills/*/{name}" for name in bills["bill_1042"]}


def test_what_a_sender_chose_is_untrusted(agent: Agent) -> None:
    seen = agent.observe("sandbox_crm.messages.list")
    assert seen["labels"]["/messages/*/body"] == {"trust": "untrusted", "data_class": "personal"}
    assert seen["labels"]["/messages/*/id"] == {"trust": "trusted"}
    assert all(set(message) == {"id", "body"} for message in seen["result"]["messages"])


def test_what_the_client_read_itself_is_marked_and_minimised_too(agent: Agent, world: World) -> None:
    result = {"bills": [{"id": "bill_9", "amount": 5, "memo": "pay me", "secret": "x"}], "more": {"token": "t"}}
    seen = agent.observe(result=result)
    assert seen["source"] == "client_asserted"
    assert seen["result"] == {"bills": [{"id": "bill_9", "amount": 5}]}
    stored = world.rows("select result from app.observations where id = %s", seen["id"])
    assert "bill_9" not in str(stored)
    assert [sorted(kept["sealed"]) for (kept,) in stored] == [["financial", "internal"]]


def test_a_payment_waits_for_a_person_and_then_happens_once(agent: Agent, shared: Organisation, world: World) -> None:
    before = world.balance("acc_operating")
    action = agent.propose(PAY, payment(4711))
    assert action["status"] == "awaiting_approval"
    assert objections(action) == UNKNOWN_PAYMENT
    required = action["decision"]["required_approvals"]
    assert required == {"count": 1, "roles": ["owner", "approver"], "aal": "aal2"}
    waiting = ok(shared.approver.api.get(f"/v1/exceptions/{action['exception']['id']}"))
    assert waiting["args"] == payment(4711)
    assert waiting["digest"] == action["digest"]
    assert waiting["instruction"] == INSTRUCTION
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
        "action.authorized", "action.executing", "attempt.started", "credential.released",
        "attempt.updated",  # what it rests on was looked at, and it is sent
        "attempt.succeeded", "action.succeeded",
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
    assert objections(action) == UNKNOWN_PAYMENT | {"value": "escalate"}
    waiting = ok(shared.owner.api.get(f"/v1/exceptions/{action['exception']['id']}"))
    assert waiting["severity"] == "critical"
    unpriced = agent.propose(PAY, payment(100, currency="GBP"))
    assert objections(unpriced) == UNKNOWN_PAYMENT | {"value": "escalate"}
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
