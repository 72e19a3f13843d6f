"""Keys and people: what takes their access away does so at the very next call, warm function or not."""

import httpx
import pytest

from sandbox.organisation import Organisation, admit, ok, once, sign_up
from tests.http.integrator import (
    NOTE,
    PAY,
    WRITES_NOTES,
    Agent,
    access_spec,
    at_work,
    decide,
    issue_key,
    join,
    note,
    payment,
)
from tests.http.world import World


def rotate(organisation: Organisation, key_id: str, **body: int) -> httpx.Response:
    return organisation.owner.api.post(f"/v1/keys/{key_id}/rotate", json=body, headers=once())


def use(world: World, secret: str) -> httpx.Response:
    with world.client(secret) as client:
        return client.get("/v1/me")


def propose(agent: Agent) -> httpx.Response:
    return agent.api.post("/v1/actions", json=agent.proposal(NOTE, note()), headers=once())


def test_a_key_knows_its_environment_and_scopes(shared: Organisation, world: World) -> None:
    key = issue_key(shared, scopes=["tenant.read", "runs.read"])
    assert key["secret"].startswith("cs_sandbox_")
    me = ok(use(world, key["secret"]))
    assert (me["kind"], me["environment"], me["key_id"]) == ("service", "sandbox", key["id"])
    assert sorted(me["permissions"]) == ["runs.read", "tenant.read"]
    assert me["tenant"]["id"] == shared.tenant_id


def test_a_key_has_no_scope_that_it_was_not_given(shared: Organisation, world: World) -> None:
    key = issue_key(shared, scopes=["tenant.read", "workflows.read", "runs.read"])
    with at_work(shared) as working, world.client(key["secret"]) as client:
        answer = propose(Agent(client, working.workflow, working.run_id))
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("scope", ["exceptions.decide", "constitution.publish", "members.manage", "everything"])
def test_a_key_cannot_hold_what_only_people_may(shared: Organisation, scope: str) -> None:
    path = f"/v1/service-accounts/{shared.service_account_id}/keys"
    body = {"environment": "sandbox", "scopes": ["tenant.read", scope]}
    refused = shared.owner.api.post(path, json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (422, "scope_not_grantable")


def test_a_key_is_shown_once_and_listed_without_anything_to_use(shared: Organisation) -> None:
    key = issue_key(shared)
    listed = ok(shared.owner.api.get(f"/v1/service-accounts/{shared.service_account_id}/keys"))
    mine = next(item for item in listed if item["id"] == key["id"])
    assert mine["secret"] is None
    assert key["secret"].startswith(mine["prefix"])
    assert len(mine["prefix"]) <= 20


def test_a_rotation_with_overlap_lets_both_keys_work(fresh: Organisation, world: World) -> None:
    new = ok(rotate(fresh, fresh.key_id, grace_seconds=3600))
    assert sorted(new["scopes"]) == sorted(ok(use(world, fresh.key))["permissions"])
    assert use(world, new["secret"]).status_code == use(world, fresh.key).status_code == 200
    again = ok(rotate(fresh, new["id"], grace_seconds=0))
    assert use(world, new["secret"]).status_code == 401
    assert use(world, again["secret"]).status_code == 200


def test_a_rotation_without_overlap_ends_the_old_key_at_once(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        assert propose(agent).status_code == 201  # the facts are warm now
        new = ok(rotate(fresh, fresh.key_id, grace_seconds=0))
        refused = propose(agent)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        with world.client(new["secret"]) as client:
            assert propose(Agent(client, agent.workflow, agent.run_id)).status_code == 201
    refused = rotate(fresh, fresh.key_id, grace_seconds=60)
    assert (refused.status_code, refused.json()["code"]) == (409, "key_not_active")


def test_a_grace_period_ends(fresh: Organisation, world: World) -> None:
    ok(rotate(fresh, fresh.key_id, grace_seconds=3600))
    expire = "update app.api_keys set expires_at = now() - interval '1 second' where id = %s returning id::text"
    assert world.rows(expire, fresh.key_id) == [(fresh.key_id,)]
    assert use(world, fresh.key).status_code == 401


def test_a_revoked_key_is_refused_at_the_very_next_call(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        assert propose(agent).status_code == 201
        ok(fresh.owner.api.delete(f"/v1/keys/{fresh.key_id}"))
        for answer in (
            propose(agent),
            agent.api.get("/v1/me"),
            agent.api.get(f"/v1/runs/{agent.run_id}"),
            agent.api.post("/v1/runs", json={"workflow": agent.workflow, "instruction": "x"}, headers=once()),
        ):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_what_a_revoked_key_proposed_still_waits_for_people(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
    ok(fresh.owner.api.delete(f"/v1/keys/{fresh.key_id}"))
    ok(decide(fresh.approver, action))
    world.stack.tick()
    mine = Agent(fresh.owner.api, "pay-vendor-bills")
    assert mine.settled(action["id"])["status"] == "succeeded"


def test_a_key_of_one_environment_does_not_touch_the_other(fresh: Organisation, world: World) -> None:
    body = {"slug": "live-notes", "environment": "production", "title": "Live", "spec": production_spec(fresh)}
    ok(fresh.owner.api.post("/v1/workflows", json=body, headers=once()))
    path = "/v1/workflows/live-notes/versions/1"
    ok(fresh.owner.api.post(f"{path}/submit", headers=once()))
    ok(fresh.approver.api.post(f"{path}/approve", json={"reason": "ok"}, headers=once()))
    live = issue_key(fresh, "production")
    assert live["secret"].startswith("cs_live_")
    with world.client(fresh.key) as sandbox, world.client(live["secret"]) as production:
        start = {"workflow": "live-notes", "instruction": "x"}
        refused = sandbox.post("/v1/runs", json=start, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_environment")
        run = ok(production.post("/v1/runs", json=start, headers=once()))
        assert run["environment"] == "production"
        assert sandbox.get(f"/v1/runs/{run['id']}").status_code == 404
        body = Agent(sandbox, "live-notes", run["id"]).proposal(NOTE, note())
        refused = sandbox.post("/v1/actions", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_environment")
        body = Agent(sandbox, "pay-vendor-bills", run["id"]).proposal(NOTE, note())
        assert sandbox.post("/v1/actions", json=body, headers=once()).status_code in (403, 404)
        (listed,) = ok(sandbox.get("/v1/workflows"))
        assert (listed["slug"], listed["limits"]) == ("pay-vendor-bills", [])
        assert listed["retention"] == {"days": 365, "by_class": {"personal": 90}}
        assert [w["slug"] for w in ok(production.get("/v1/workflows"))] == ["live-notes"]
        refused = production.post("/v1/runs", json=start | {"workflow": "pay-vendor-bills"}, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_environment")


def production_spec(organisation: Organisation) -> dict[str, object]:
    """A spec that writes notes through a connection of the production environment."""
    bindings = {"sandbox_crm": {"write": organisation.connect("sandbox_crm", "write", "production")}}
    return access_spec(organisation, connections=bindings, tools={NOTE: WRITES_NOTES})


def test_a_removed_member_is_out_at_the_next_call(fresh: Organisation) -> None:
    person = join(fresh, "approver")
    assert ok(person.api.get("/v1/me"))["role"] == "approver"
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
    ok(fresh.owner.api.delete(f"/v1/members/{person.user_id}"))
    assert person.api.get("/v1/me").status_code == 401
    assert decide(person, action).status_code == 401
    assert ok(person.api.get("/v1/tenants")) == []


def test_a_changed_role_counts_at_the_next_call(fresh: Organisation) -> None:
    person = join(fresh, "approver")
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
    ok(fresh.owner.api.patch(f"/v1/members/{person.user_id}", json={"role": "auditor"}))
    refused = decide(person, action)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def test_nobody_changes_his_own_role_and_the_last_owner_stays(fresh: Organisation) -> None:
    owner = fresh.owner
    refused = owner.api.patch(f"/v1/members/{owner.user_id}", json={"role": "admin"})
    assert (refused.status_code, refused.json()["code"]) == (403, "own_role")
    refused = owner.api.delete(f"/v1/members/{owner.user_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    assert ok(owner.api.get("/v1/me"))["role"] == "owner"


def test_only_an_owner_makes_owners(fresh: Organisation) -> None:
    admin = join(fresh, "admin")
    refused = admin.api.patch(f"/v1/members/{fresh.approver.user_id}", json={"role": "owner"})
    assert (refused.status_code, refused.json()["code"]) == (403, "owner_required")
    refused = admin.api.delete(f"/v1/members/{fresh.owner.user_id}")
    assert (refused.status_code, refused.json()["code"]) == (403, "owner_required")


def test_a_person_in_two_organisations_says_which(shared: Organisation, world: World) -> None:
    person = sign_up(world.stack, "Wren Two")
    mine = ok(person.api.post("/v1/tenants", json={"name": "Wren's"}, headers=once()))
    assert ok(person.api.get("/v1/me"))["tenant"]["id"] == mine["id"]
    admit(shared.owner, person, "auditor")
    del person.api.headers["X-Tenant-Id"]
    for tenant_id, role in ((mine["id"], "owner"), (shared.tenant_id, "auditor")):
        me = ok(person.api.get("/v1/me", headers={"X-Tenant-Id": tenant_id}))
        assert (me["tenant"]["id"], me["role"]) == (tenant_id, role)
    assert {t["id"] for t in ok(person.api.get("/v1/tenants"))} == {mine["id"], shared.tenant_id}
    asked = person.api.get("/v1/me")
    assert (asked.status_code, asked.json()["code"]) == (400, "tenant_required")
    offered = {(choice["tenant_id"], choice["role"]) for choice in asked.json()["errors"]}
    assert offered == {(mine["id"], "owner"), (shared.tenant_id, "auditor")}


def test_nobody_enters_a_tenant_by_naming_it(shared: Organisation, world: World) -> None:
    stranger = sign_up(world.stack, "Sol Stranger")
    answer = stranger.api.get("/v1/me", headers={"X-Tenant-Id": shared.tenant_id})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert stranger.api.get("/v1/actions", headers={"X-Tenant-Id": shared.tenant_id}).status_code == 401


def test_a_read_is_confined_to_the_listed_arguments_and_records(fresh: Organisation) -> None:
    spec = access_spec(fresh)
    spec["tools"]["sandbox_bank.bills.list"] |= {"arguments": ["/status"], "records": {"/status": ["open"]}}
    fresh.go_live("read-open-bills", "Read open bills", spec)
    with at_work(fresh, "read-open-bills") as agent:
        assert agent.observe(args={"status": "open"})["status"] == "succeeded"
        for args in ({}, {"status": "paid"}, {"status": "open", "reference": "INV-1042"}):
            body = {"tool": "sandbox_bank.bills.list", "args": args}
            refused = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
            assert (refused.status_code, refused.json()["code"]) == (403, "outside_access_spec")
            assert refused.json()["errors"]
