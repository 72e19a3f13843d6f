"""The application as a Lambda function: events of API Gateway (payload format 2.0), several in one process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from sandbox.oauth.browser import walk_consent
from sandbox.oauth.people import person
from sandbox.organisation import Organisation, ok, once
from tests.http.functions import Function, event, function
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, note, payment
from tests.http.wire import Wire, tapped
from tests.http.world import World


@contextmanager
def deployed(world: World) -> Iterator[tuple[Function, Wire]]:
    """The API, and the wire to its database."""
    with (
        tapped(world.database.url("countersign_api")) as wire,
        function("api.index", world, DATABASE_URL=wire.url) as api,
    ):
        yield api, wire


def test_what_needs_no_database_opens_none(world: World) -> None:
    with deployed(world) as (api, wire):
        status, body, answer = api.call("GET", "/v1/health")
        assert (status, body) == (200, {"status": "ok"})
        assert answer["headers"]["x-content-type-options"] == "nosniff"
        assert api.call("GET", "/v1/nothing")[0] == 404
        assert api.call("GET", "/openapi.json")[1]["openapi"].startswith("3.1")
        assert wire.sessions == 0


def test_several_invocations_share_one_connection(world: World, agent: Agent, shared: Organisation) -> None:
    auth = {"authorization": f"Bearer {shared.key}"}
    with deployed(world) as (api, wire):
        for _ in range(4):
            status, me, _ = api.call("GET", "/v1/me", **auth)
            assert (status, me["tenant"]["id"]) == (200, shared.tenant_id)
        body = agent.proposal(NOTE, note(), confidence=0.1)
        for _ in range(3):
            status, action, _ = api.call("POST", "/v1/actions", body, idempotency_key=once()["Idempotency-Key"], **auth)
            assert (status, action["status"]) == (201, "awaiting_approval")
        with wire.listening() as seen:
            api.call("POST", "/v1/actions", body, idempotency_key=once()["Idempotency-Key"], **auth)
        assert len(seen) == 1
        assert wire.sessions == 1


def test_a_body_arrives_plain_or_in_base64(world: World, agent: Agent, shared: Organisation) -> None:
    headers = {"authorization": f"Bearer {shared.key}"} | once()
    body = json.dumps(agent.proposal(NOTE, note("Grüße, 北京"), confidence=0.1)).encode()
    with deployed(world) as (api, _):
        first = api.invoke(event("POST", "/v1/actions", body, headers))
        second = api.invoke(event("POST", "/v1/actions", body, headers, binary=False))
    assert (first["statusCode"], second["statusCode"]) == (201, 201)
    assert second["headers"]["idempotent-replayed"] == "true"
    assert json.loads(first["body"])["id"] == json.loads(second["body"])["id"]
    assert agent.action(json.loads(first["body"])["id"])["args"]["body"] == "Grüße, 北京"


def test_an_allowed_action_is_executed_before_the_function_freezes(
    world: World, agent: Agent, shared: Organisation
) -> None:
    with deployed(world) as (api, _):
        headers = {"authorization": f"Bearer {shared.key}"} | once()
        status, action, _ = api.call("POST", "/v1/actions", agent.proposal(NOTE, note("in the cloud")), **headers)
        assert (status, action["status"]) == (201, "authorized")
        # No other process was asked to: whatever happens happens before the invocation ends.
        assert world.rows("select status from app.actions where id = %s", action["id"]) == [("succeeded",)]
    assert len(world.notes(action["id"])) == 1


def test_a_refusal_is_a_problem_here_too(world: World, shared: Organisation) -> None:
    headers = {"authorization": f"Bearer {shared.key}"} | once()
    with deployed(world) as (api, _):
        answers = [
            api.call("GET", "/v1/actions"),
            api.call("GET", "/v1/actions/018f0000-0000-7000-8000-000000000000", **headers),
            api.call("POST", "/v1/actions", {"workflow": 1}, **headers),
            api.call("PUT", "/v1/actions", {}, **headers),
        ]
        broken = api.invoke(event("POST", "/v1/actions", b'{"a": 1, "a": ', headers))
        large = api.invoke(event("POST", "/v1/actions", b'"' + b"x" * 5_000_000 + b'"', headers))
        assert api.call("GET", "/v1/health")[0] == 200
    assert [status for status, _, _ in answers] == [401, 404, 422, 405]
    for status, body, answer in answers:
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert (body["status"], body["request_id"]) == (status, answer["headers"]["x-request-id"])
    assert (broken["statusCode"], large["statusCode"]) == (400, 413)


def test_a_sign_in_at_a_provider_works_through_the_gateway(world: World, shared: Organisation) -> None:
    """The gateway moves cookies out of the headers, both ways."""
    auth = {"authorization": f"Bearer {shared.owner.access_token}", "x-tenant-id": shared.tenant_id}
    body = {"provider": "sandbox_crm", "environment": "sandbox", "access": "read"}
    who = person(world.stack.state, "crm")
    with deployed(world) as (api, _):
        status, started, answer = api.call("POST", "/v1/connections", body, **auth)
        assert status == 201
        [cookie] = answer["cookies"]
        back = urlsplit(walk_consent(started["authorize_url"], who.username, who.password))
        address = f"{back.path}?{back.query}"
        assert parse_qs(back.query)["code"]
        assert api.invoke(event("GET", address, None, {}))["statusCode"] == 400
        page = api.invoke(event("GET", address, None, {}, cookies=[cookie.partition(";")[0]]))
        assert (page["statusCode"], "Connected" in page["body"]) == (200, True)
    assert ok(shared.owner.api.get(f"/v1/connections/{started['id']}"))["status"] == "active"


def test_the_scheduled_function_runs_what_is_due(world: World, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(64))
        body = {"scope": "tenant", "reason": "hold it until the schedule comes"}
        switch = ok(fresh.owner.api.post("/v1/kill-switches", json=body, headers=once()))
        ok(decide(fresh.approver, action))
        path = f"/v1/kill-switches/{switch['id']}/release"
        ok(fresh.owner.api.post(path, json={"reason": "go on"}, headers=once()))
        assert agent.action(action["id"])["status"] == "authorized"
        with function("functions.execute_actions", world) as scheduled:
            first, second = scheduled.invoke({}), scheduled.invoke({"source": "aws.events"})
        assert first["due"] >= 1
        assert first["failed"] == second["failed"] == 0
        assert agent.action(action["id"])["status"] == "succeeded"
        assert [t["amount"] for t in world.transfers(action["id"])] == [64]


def test_the_other_scheduled_function_expires_what_nobody_decided(world: World, agent: Agent) -> None:
    world.stack.tick("expire_exceptions")  # of what other tests have left
    action = agent.propose(NOTE, note(), confidence=0.1)
    world.end_the_time_of(action["exception"]["id"])
    with function("functions.expire_exceptions", world) as scheduled:
        assert scheduled.invoke({}) == {"expired": 1, "failed": 0, "told": 0}
        assert scheduled.invoke({}) == {"expired": 0, "failed": 0, "told": 0}
    assert agent.action(action["id"])["status"] == "expired"
