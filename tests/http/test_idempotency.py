"""An Idempotency-Key names one request for ever: the same answer to the same body, 422 to another."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sandbox.organisation import Organisation, ok, sign_up
from tests.http.integrator import NOTE, PAY, Agent, decide, issue_key, note, payment
from tests.http.problems import problem, unchanged
from tests.http.world import World


def again(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotent-replayed") == "true")


def repeat(client: httpx.Client, method: str, path: str, body: object, world: World) -> httpx.Response:
    """Sends the same request twice; the second answer repeats the first and changes nothing."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = client.request(method, path, json=body, headers=headers)
    ok(first)
    assert not again(first)
    with unchanged(world):
        second = client.request(method, path, json=body, headers=headers)
        assert (second.status_code, again(second)) == (first.status_code, True), second.text
        assert second.json() | {"secret": None} == first.json() | {"secret": None}
    return second


def test_a_proposal_is_recorded_once(agent: Agent, world: World) -> None:
    body = agent.proposal(PAY, payment(), evidence=[{"observation_id": agent.observe()["id"]}])
    repeat(agent.api, "POST", "/v1/actions", body, world)
    assert len(ok(agent.api.get("/v1/actions", params={"run_id": agent.run_id}))["items"]) == 1


def test_a_soft_action_is_executed_once(agent: Agent, world: World) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = agent.proposal(NOTE, note("only once"))
    answers = [agent.api.post("/v1/actions", json=body, headers=headers) for _ in range(3)]
    assert [again(answer) for answer in answers] == [False, True, True]
    assert len({answer.json()["id"] for answer in answers}) == 1
    agent.settled(answers[0].json()["id"])
    assert len(world.notes(answers[0].json()["id"])) == 1


def test_an_observation_is_made_once(agent: Agent, world: World) -> None:
    path = f"/v1/runs/{agent.run_id}/observations"
    repeat(agent.api, "POST", path, {"tool": "sandbox_bank.bills.list", "args": {}}, world)
    trace = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    assert [seen["status"] for seen in trace["observations"]] == ["succeeded"]


def test_two_identical_observations_at_once_leave_one(agent: Agent, world: World) -> None:
    path, headers = f"/v1/runs/{agent.run_id}/observations", {"Idempotency-Key": str(uuid.uuid4())}
    body = {"tool": "sandbox_bank.bills.list", "args": {}}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: agent.api.post(path, json=body, headers=headers), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    trace = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))
    assert "reading" not in [seen["status"] for seen in trace["observations"]]
    assert [seen["status"] for seen in trace["observations"]].count("succeeded") == 1


def test_every_other_creation_is_made_once(fresh: Organisation, world: World, agent: Agent) -> None:
    owner = fresh.owner.api
    repeat(owner, "POST", "/v1/service-accounts", {"name": "second-agent"}, world)
    repeat(owner, "POST", "/v1/runs", {"workflow": "pay-vendor-bills", "instruction": "x"}, world)
    repeat(owner, "POST", "/v1/kill-switches", {"scope": "tenant", "reason": "x"}, world)
    rules = ok(owner.get("/v1/constitution"))["rules"]
    body = {"rules": rules, "reason": "the same once more", "expected_version": 1}
    repeat(owner, "POST", "/v1/constitution/versions", body, world)
    repeat(agent.api, "POST", "/v1/gate/evaluate", agent.proposal(NOTE, note()), world)


def test_a_verdict_is_given_once(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment())
    path = f"/v1/exceptions/{action['exception']['id']}/decision"
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"verdict": "approve", "digest": action["digest"]}
    first = shared.approver.api.post(path, json=body, headers=headers)
    agent.settled(action["id"])
    with unchanged(world):
        second = shared.approver.api.post(path, json=body, headers=headers)
        assert (ok(second), again(second)) == (ok(first), True)
    assert len(world.transfers(action["id"])) == 1


def test_a_tenant_is_created_once(world: World) -> None:
    person = sign_up(world.stack, "Tess Twice")
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"name": "Twice BV", "user_name": "Tess"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: person.api.post("/v1/tenants", json=body, headers=headers), range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(again(answer) for answer in answers) == [False, True, True, True]
    other = person.api.post("/v1/tenants", json=body | {"name": "Another BV"}, headers=headers)
    problem(other, 422, "idempotency_key_reused")
    assert [tenant["name"] for tenant in ok(person.api.get("/v1/tenants"))] == ["Twice BV"]


@pytest.mark.parametrize("change", ["amount", "tool", "confidence", "spelling"])
def test_another_body_under_the_same_key_is_refused(agent: Agent, world: World, change: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    evidence = [{"observation_id": agent.observe()["id"]}]
    body = agent.proposal(PAY, payment(), evidence=evidence)
    ok(agent.api.post("/v1/actions", json=body, headers=headers))
    other = {
        "amount": body | {"args": payment(1251)},
        "tool": agent.proposal(NOTE, note()),
        "confidence": body | {"confidence": 0.96},
        "spelling": dict(reversed(body.items())),
    }[change]
    with unchanged(world):
        problem(agent.api.post("/v1/actions", json=other, headers=headers), 422, "idempotency_key_reused")


def test_a_key_is_used_for_one_operation(agent: Agent, world: World) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = agent.proposal(NOTE, note(), confidence=0.1)
    ok(agent.api.post("/v1/actions", json=body, headers=headers))
    with unchanged(world):
        problem(agent.api.post("/v1/gate/evaluate", json=body, headers=headers), 422, "idempotency_key_reused")


def test_a_key_belongs_to_whoever_used_it(agent: Agent, shared: Organisation) -> None:
    """Two principals that choose the same key do not get each other's answers."""
    headers = {"Idempotency-Key": "1"}
    body = {"workflow": "pay-vendor-bills", "instruction": "x"}
    first = agent.api.post("/v1/runs", json=body, headers=headers)
    second = shared.owner.api.post("/v1/runs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert not again(second)
    assert first.json()["id"] != second.json()["id"]


def test_a_refusal_does_not_use_the_key_up(agent: Agent) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = agent.proposal(NOTE, note(), confidence=0.1)
    problem(agent.api.post("/v1/actions", json=body | {"workflow": "no-such"}, headers=headers), 404)
    assert agent.api.post("/v1/actions", json=body, headers=headers).status_code == 201


def test_twenty_identical_proposals_at_once_are_one_action(agent: Agent, world: World) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = agent.proposal(NOTE, note("one of twenty"))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: agent.api.post("/v1/actions", json=body, headers=headers), range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(not again(answer) for answer in answers) == 1
    action_id = answers[0].json()["id"]
    assert world.rows("select count(*) from app.actions where run_id = %s", agent.run_id) == [(1,)]
    assert agent.settled(action_id)["status"] == "succeeded"
    assert len(world.notes(action_id)) == 1


def test_twenty_identical_approvals_at_once_pay_once(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.propose(PAY, payment(321))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: decide(shared.approver, action), range(20)))
    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert sum(answer.status_code == 200 for answer in answers) == 1
    assert agent.settled(action["id"])["status"] == "succeeded"
    world.stack.tick()
    assert [t["amount"] for t in world.transfers(action["id"])] == [321]
    assert world.rows("select count(*) from app.approvals where action_id = %s", action["id"]) == [(1,)]


def test_a_repeated_issue_does_not_show_the_secret_again(shared: Organisation, world: World) -> None:
    path = f"/v1/service-accounts/{shared.service_account_id}/keys"
    body = {"environment": "sandbox", "scopes": ["tenant.read"]}
    assert repeat(shared.owner.api, "POST", path, body, world).json()["secret"] is None
    key = issue_key(shared)
    rotated = repeat(shared.owner.api, "POST", f"/v1/keys/{key['id']}/rotate", {"grace_seconds": 60}, world)
    assert rotated.json()["secret"] is None


def test_an_answer_is_not_kept_by_anybody_on_the_way(shared: Organisation) -> None:
    path = f"/v1/service-accounts/{shared.service_account_id}/keys"
    body = {"environment": "sandbox", "scopes": ["tenant.read"]}
    answer = shared.owner.api.post(path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert answer.headers["cache-control"] == "no-store"
