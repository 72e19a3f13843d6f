"""What people change about the rules holds from the next decision on, whatever a warm function has in memory."""

from typing import Any

import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.constitutions import publish as publish_by_two
from tests.http.integrator import NOTE, PAY, access_spec, at_work, decide, join, note, objections, payment
from tests.http.world import World


def engage(organisation: Organisation, scope: str, target: str | None = None) -> dict[str, Any]:
    body = {"scope": scope, "target": target, "reason": "something is wrong"}
    switch: dict[str, Any] = ok(organisation.approver.api.post("/v1/kill-switches", json=body, headers=once()))
    return switch


def release(person: Member, switch: dict[str, Any]) -> Any:
    path = f"/v1/kill-switches/{switch['id']}/release"
    return person.api.post(path, json={"reason": "looked into"}, headers=once())


def targets(organisation: Organisation) -> dict[str, str | None]:
    return {
        "tenant": None,
        "workflow": "pay-vendor-bills",
        "connection": organisation.connections["sandbox_crm/write"],
        "tool": NOTE,
        "service_account": organisation.service_account_id,
    }


@pytest.mark.parametrize("scope", ["tenant", "workflow", "connection", "tool", "service_account"])
def test_a_kill_switch_stops_proposals_at_once(fresh: Organisation, world: World, scope: str) -> None:
    with at_work(fresh) as agent:
        agent.settled(agent.propose(NOTE, note())["id"])  # the facts are warm now
        switch = engage(fresh, scope, targets(fresh)[scope])
        stopped = agent.propose(NOTE, note())
        assert stopped["status"] == "denied"
        assert objections(stopped) == {"kill_switch": "deny"}
        assert ok(release(fresh.owner, switch))["status"] == "released"
        assert agent.propose(NOTE, note())["status"] == "authorized"


def test_a_kill_switch_stops_what_was_approved_and_a_release_lets_it_run(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        switch = engage(fresh, "workflow", "pay-vendor-bills")
        assert switch["stopped"] == [action["id"]]
        assert switch["in_flight"] == []
        ok(decide(fresh.approver, action))
        world.stack.tick()
        assert agent.action(action["id"])["status"] == "authorized"
        assert world.transfers(action["id"]) == []
        ok(release(fresh.owner, switch))
        world.stack.tick()
        assert agent.settled(action["id"])["status"] == "succeeded"
        assert len(world.transfers(action["id"])) == 1


def test_a_kill_switch_stops_observations(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        agent.observe()
        engage(fresh, "connection", fresh.connections["sandbox_bank/read"])
        body = {"tool": "sandbox_bank.bills.list", "args": {}}
        refused = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (409, "kill_switch_engaged")


def test_a_release_needs_a_second_factor_and_the_right_role(fresh: Organisation) -> None:
    switch = engage(fresh, "tenant")
    plain = join(fresh, "owner", second_factor=False)
    refused = release(plain, switch)
    assert (refused.status_code, refused.json()["code"]) == (403, "aal2_required")
    for person in (fresh.approver, join(fresh, "operator")):
        refused = release(person, switch)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert [s["status"] for s in ok(fresh.owner.api.get("/v1/kill-switches"))] == ["engaged"]
    ok(release(fresh.owner, switch))
    again = release(fresh.owner, switch)
    assert (again.status_code, again.json()["code"]) == (409, "invalid_transition")


@pytest.mark.parametrize("scope", ["tenant", "tool"])
def test_a_key_stops_nothing_beyond_its_environment(fresh: Organisation, scope: str) -> None:
    with at_work(fresh) as agent:
        body = {"scope": scope, "target": PAY, "reason": "I look hijacked"}
        refused = agent.api.post("/v1/kill-switches", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_environment")
    assert ok(fresh.owner.api.get("/v1/kill-switches")) == []


def test_a_key_can_stop_itself(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        body = {"scope": "service_account", "target": fresh.service_account_id, "reason": "I look hijacked"}
        ok(agent.api.post("/v1/kill-switches", json=body, headers=once()))
        assert agent.propose(NOTE, note())["status"] == "denied"


def test_an_agent_may_stop_but_not_let_go(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        body = {"scope": "workflow", "target": "pay-vendor-bills", "reason": "I look hijacked"}
        switch = ok(agent.api.post("/v1/kill-switches", json=body, headers=once()))
        path = f"/v1/kill-switches/{switch['id']}/release"
        refused = agent.api.post(path, json={"reason": "never mind"}, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ("workflow", "pay-vender-bills"),
        ("connection", "sandbox_bank"),
        ("connection", "018f0000-0000-7000-8000-000000000000"),
        ("service_account", "018f0000-0000-7000-8000-000000000000"),
        ("tool", "sandbox_bank.payment.create"),
    ],
)
def test_a_kill_switch_that_would_stop_nothing_is_refused(shared: Organisation, scope: str, target: str) -> None:
    body = {"scope": scope, "target": target, "reason": "a slip of the hand"}
    before = ok(shared.owner.api.get("/v1/kill-switches"))
    refused = shared.owner.api.post("/v1/kill-switches", json=body, headers=once())
    assert refused.status_code in (404, 422)
    assert refused.headers["content-type"] == "application/problem+json"
    assert ok(shared.owner.api.get("/v1/kill-switches")) == before


def rules(organisation: Organisation) -> dict[str, Any]:
    constitution: dict[str, Any] = ok(organisation.owner.api.get("/v1/constitution"))
    return constitution


def publish(organisation: Organisation, version: int, *new: dict[str, Any], kept: bool = True) -> Any:
    old = rules(organisation)["rules"] if kept else []
    body = {"rules": [*old, *new], "reason": "learnt", "expected_version": version}
    return organisation.owner.api.post("/v1/constitution/versions", json=body, headers=once())


NO_NOTES = {
    "id": "no-notes",
    "title": "No notes",
    "principle": "Nobody writes notes on Fridays.",
    "applies_to": ["sandbox_crm.*"],
    "when": "args.contact_id == 'con_ada'",
    "effect": "deny",
}


def test_a_published_constitution_holds_for_the_next_decision(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        assert agent.propose(NOTE, note())["status"] == "authorized"
        assert ok(publish(fresh, 1, NO_NOTES))["version"] == 2
        action = agent.propose(NOTE, note())
        assert (action["status"], action["decision"]["constitution_version"]) == ("denied", 2)
        assert [f["rule_id"] for f in action["decision"]["findings"] if f["outcome"] == "deny"] == ["no-notes"]
        assert agent.propose(NOTE, note(contact_id="con_piet"))["status"] == "authorized"


def test_a_rule_can_lift_what_is_soft_and_nothing_else(fresh: Organisation) -> None:
    trust = {
        "id": "trust-notes",
        "title": "Notes need no confidence",
        "principle": "A wrong note does no harm.",
        "when": "true",
        "effect": "allow",
        "lifts": ["confidence", "value", "risk", "counterparty"],
    }
    publish_by_two(fresh, [*rules(fresh)["rules"], trust])
    with at_work(fresh) as agent:
        assert agent.propose(NOTE, note(), confidence=0.1)["status"] == "authorized"
        action = agent.propose(PAY, payment(999_999), confidence=0.1)
        left = {"hard_gate": "escalate", "grounding": "escalate"}
        assert (action["status"], objections(action)) == ("awaiting_approval", left)


def test_a_constitution_written_against_an_older_version_is_refused(fresh: Organisation) -> None:
    ok(publish(fresh, 1, NO_NOTES))
    stale = publish(fresh, 1, kept=False)
    assert (stale.status_code, stale.json()["code"]) == (412, "version_moved")
    versions = ok(fresh.owner.api.get("/v1/constitution/versions"))
    assert [v["version"] for v in versions] == [2, 1]
    assert versions[0]["published_by"] == fresh.owner.user_id


@pytest.mark.parametrize("when", ["nonsense(", "args.amount +", "'text'", "unknown_name == 1", "[1].all(x, x > 0)"])
def test_a_rule_that_cannot_be_evaluated_is_not_published(shared: Organisation, when: str) -> None:
    refused = publish(shared, 1, NO_NOTES | {"when": when})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert rules(shared)["version"] == 1


def test_only_the_roles_for_it_publish(fresh: Organisation) -> None:
    body = {"rules": [], "reason": "anything goes", "expected_version": 1}
    with fresh.agent() as agent:
        for client in (agent, fresh.approver.api):
            refused = client.post("/v1/constitution/versions", json=body, headers=once())
            assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def new_version(organisation: Organisation, **changes: Any) -> int:
    body = {"spec": access_spec(organisation, **changes)}
    path = "/v1/workflows/pay-vendor-bills/versions"
    version: int = ok(organisation.owner.api.post(path, json=body, headers=once()))["version"]
    return version


def put_live(organisation: Organisation, version: int) -> None:
    path = f"/v1/workflows/pay-vendor-bills/versions/{version}"
    ok(organisation.owner.api.post(f"{path}/submit", headers=once()))
    ok(organisation.approver.api.post(f"{path}/approve", json={"reason": "read"}, headers=once()))


def test_a_new_version_of_the_workflow_expires_what_was_approved_under_the_old_one(
    fresh: Organisation, world: World
) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        # Holds the action where it is until the version has moved, and leaves the workflow free to go live.
        switch = engage(fresh, "service_account", fresh.service_account_id)
        ok(decide(fresh.approver, action))
        put_live(fresh, new_version(fresh, purpose="Pay less"))
        ok(release(fresh.owner, switch))
        world.stack.tick()
        expired = agent.action(action["id"])
        assert (expired["status"], expired["status_reason"]) == ("expired", "the workflow has a new version")
        assert world.transfers(action["id"]) == []
        body = agent.proposal(NOTE, note())
        refused = agent.api.post("/v1/actions", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (409, "workflow_version_moved")
        agent.start()
        assert agent.propose(NOTE, note())["decision"]["workflow_version"] == 2


def test_the_author_of_a_version_cannot_put_it_live(fresh: Organisation) -> None:
    version = new_version(fresh, purpose="Whatever I like")
    path = f"/v1/workflows/pay-vendor-bills/versions/{version}"
    early = fresh.approver.api.post(f"{path}/approve", json={"reason": "quick"}, headers=once())
    assert (early.status_code, early.json()["code"]) == (409, "invalid_transition")
    ok(fresh.owner.api.post(f"{path}/submit", headers=once()))
    refused = fresh.owner.api.post(f"{path}/approve", json={"reason": "mine is fine"}, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (403, "author_cannot_approve")
    versions = ok(fresh.owner.api.get("/v1/workflows/pay-vendor-bills/versions"))
    assert [(v["version"], v["status"]) for v in versions] == [(2, "in_review"), (1, "live")]


def test_the_access_spec_says_what_the_workflow_may_do(shared: Organisation) -> None:
    document = ok(shared.approver.api.get("/v1/workflows/pay-vendor-bills/access-spec"))
    assert (document["version"], document["status"]) == (1, "live")
    assert document["always_waits"] == [PAY]
    assert document["decides_alone"] == [NOTE]


def test_a_spec_that_does_not_hold_together_is_refused_with_every_reason(shared: Organisation) -> None:
    spec = access_spec(shared)
    spec["tools"] |= {"sandbox_bank.nothing.here": {"access": "write"}, NOTE: {"access": "read"}}
    body = {"slug": "broken", "environment": "sandbox", "title": "Broken", "spec": spec}
    refused = shared.owner.api.post("/v1/workflows", json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_access_spec")
    pointers = {error["pointer"] for error in refused.json()["errors"]}
    assert pointers == {"/spec/tools/sandbox_bank.nothing.here", f"/spec/tools/{NOTE}/access"}


def test_a_workflow_uses_connections_of_the_right_access_only(shared: Organisation) -> None:
    bindings = shared.bindings()
    bindings["sandbox_bank"]["write"] = shared.connections["sandbox_bank/read"]
    spec = access_spec(shared, connections=bindings)
    body = {"slug": "mixed", "environment": "sandbox", "title": "Mixed", "spec": spec}
    refused = shared.owner.api.post("/v1/workflows", json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (422, "connection_mismatch")
