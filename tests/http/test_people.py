"""Members, their roles, and the tenant they are in: who may change what, and what stays when somebody goes."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sandbox.organisation import Member, Organisation, ok, once, sign_up
from tests.http.integrator import PAY, at_work, decide, issue_key, join, payment
from tests.http.problems import problem, unchanged
from tests.http.world import World


def tenant(person: Member) -> httpx.Response:
    answer = person.api.get("/v1/tenant")
    ok(answer)
    return answer


def change(person: Member, body: dict[str, Any], if_match: str | None = "*") -> httpx.Response:
    headers = {} if if_match is None else {"If-Match": if_match}
    return person.api.patch("/v1/tenant", json=body, headers=headers)


def records(organisation: Organisation, kind: str) -> list[dict[str, Any]]:
    """The audit records of a type, the newest first."""
    events = ok(organisation.owner.api.get("/v1/audit/events", params={"type": kind}))["items"]
    return [json.loads(event["record"]) for event in events]


def test_a_tenant_is_renamed_by_who_has_read_it(fresh: Organisation, world: World) -> None:
    read = tenant(fresh.owner)
    tag = read.headers["etag"]
    assert read.json()["settings"] == {"separation_of_duties": False}
    renamed = change(fresh.owner, {"name": "Brightwater Group"}, tag)
    assert ok(renamed)["name"] == tenant(fresh.approver).json()["name"] == "Brightwater Group"
    assert renamed.headers["etag"] == tenant(fresh.owner).headers["etag"] != tag
    with unchanged(world):
        problem(change(fresh.owner, {"name": "Late"}, tag), 412, "precondition_failed")
        problem(change(fresh.owner, {"name": "Late"}, f"W/{renamed.headers['etag']}"), 412, "precondition_failed")
        problem(change(fresh.owner, {"name": "Late"}, None), 428, "precondition_required")
        problem(change(fresh.owner, {"name": "Late"}, "no quotes"), 400, "if_match_invalid")
        assert change(fresh.owner, {"name": "Brightwater Group"}, "*").status_code == 200
    assert ok(change(fresh.owner, {"name": "Both"}, f'"other", {renamed.headers["etag"]}'))["name"] == "Both"
    assert [r["what"]["name"] for r in records(fresh, "tenant.updated")] == ["Both", "Brightwater Group"]


def test_the_tenant_is_its_owners_with_a_second_factor(fresh: Organisation, world: World) -> None:
    admin, plain = join(fresh, "admin"), join(fresh, "owner", second_factor=False)
    body = {"name": "Mine", "settings": {"separation_of_duties": True}}
    with unchanged(world), fresh.agent() as agent:
        problem(change(admin, body), 403, "permission_denied")
        problem(change(fresh.approver, body), 403, "permission_denied")
        problem(change(plain, body), 403, "aal2_required")
        problem(agent.patch("/v1/tenant", json=body, headers={"If-Match": "*"}), 403, "permission_denied")
        handover = {"user_id": admin.user_id}
        problem(admin.api.post("/v1/tenant/transfer-ownership", json=handover), 403, "permission_denied")
        problem(plain.api.post("/v1/tenant/transfer-ownership", json=handover), 403, "aal2_required")


def test_a_protection_is_lifted_with_a_reason_that_is_kept(fresh: Organisation) -> None:
    on, off = ({"settings": {"separation_of_duties": wanted}} for wanted in (True, False))
    assert ok(change(fresh.owner, on))["settings"]["separation_of_duties"]
    for reason in ({}, {"reason": "  "}):
        problem(change(fresh.owner, off | reason), 422, "reason_required")
    assert not ok(change(fresh.owner, off | {"reason": "Amara is ill"}))["settings"]["separation_of_duties"]
    lifted, set_up = records(fresh, "tenant_settings.changed")
    assert (lifted["why"]["reason"], lifted["what"]["separation_of_duties"]) == ("Amara is ill", False)
    assert set_up["what"]["separation_of_duties"]
    assert lifted["principal"]["id"] == fresh.owner.user_id


def test_of_two_who_change_it_at_once_one_reads_again(fresh: Organisation) -> None:
    tag = tenant(fresh.owner).headers["etag"]
    ok(change(fresh.owner, {"settings": {"separation_of_duties": True}}, tag))
    problem(change(fresh.owner, {"name": "Other"}, tag), 412, "precondition_failed")


def test_a_tenant_is_handed_over_whole(fresh: Organisation) -> None:
    body = {"user_id": fresh.approver.user_id, "keep_role": "auditor"}
    given = ok(fresh.owner.api.post("/v1/tenant/transfer-ownership", json=body))
    assert given == {"owner": fresh.approver.user_id, "user_id": fresh.owner.user_id, "role": "auditor"}
    roles = {m["user_id"]: m["role"] for m in ok(fresh.owner.api.get("/v1/members"))}
    assert roles == {fresh.approver.user_id: "owner", fresh.owner.user_id: "auditor"}
    problem(fresh.owner.api.post("/v1/tenant/transfer-ownership", json=body), 403, "permission_denied")
    # Who has handed it over can go, who has it cannot.
    ok(fresh.owner.api.delete("/v1/members/me"))
    problem(fresh.approver.api.delete("/v1/members/me"), 409, "last_owner")


def test_a_tenant_is_not_handed_to_nobody(fresh: Organisation, world: World) -> None:
    stranger = sign_up(fresh.stack, "Sol Stranger")
    path = "/v1/tenant/transfer-ownership"
    with unchanged(world):
        for user_id in (stranger.user_id, str(uuid.uuid4())):
            problem(fresh.owner.api.post(path, json={"user_id": user_id}), 404, "not_found")
        problem(fresh.owner.api.post(path, json={"user_id": fresh.owner.user_id}), 422, "own_tenant")
        body = {"user_id": fresh.approver.user_id, "keep_role": "owner"}
        problem(fresh.owner.api.post(path, json=body), 422, "invalid_request")


def _leave(_: Organisation, person: Member) -> httpx.Response:
    return person.api.delete("/v1/members/me")


def _remove(organisation: Organisation, person: Member) -> httpx.Response:
    return organisation.owner.api.delete(f"/v1/members/{person.user_id}")


@pytest.mark.parametrize("go", [_leave, _remove])
def test_who_goes_leaves_keys_that_work_and_are_told_of(
    fresh: Organisation, world: World, go: Callable[[Organisation, Member], httpx.Response]
) -> None:
    person = join(fresh, "admin", name="Gail Gone")
    path = f"/v1/service-accounts/{fresh.service_account_id}/keys"
    body = {"environment": "sandbox", "scopes": ["tenant.read"]}
    kept, ended = (ok(person.api.post(path, json=body, headers=once())) for _ in range(2))
    ok(person.api.delete(f"/v1/keys/{ended['id']}"))
    gone = ok(go(fresh, person))
    assert (gone["user_id"], [key["id"] for key in gone["keys"]]) == (person.user_id, [kept["id"]])
    problem(person.api.get("/v1/me"), 401, "unauthenticated")
    with world.client(kept["secret"]) as agent:
        assert ok(agent.get("/v1/me"))["key_id"] == kept["id"]
    keys = {key["id"]: key for key in ok(fresh.owner.api.get(path))}
    assert {i for i, key in keys.items() if key["issuer_left_at"]} == {kept["id"]}
    assert keys[kept["id"]]["issued_by"] == person.user_id
    told = [r for r in records(fresh, "key.updated") if "issuer_left_at" in r["what"]]
    assert [r["subject"]["id"] for r in told] == [kept["id"]]
    assert [r["subject"]["id"] for r in records(fresh, "member.removed")] == [person.user_id]


def test_the_last_owner_stays(fresh: Organisation, world: World) -> None:
    with unchanged(world):
        problem(fresh.owner.api.delete("/v1/members/me"), 409, "last_owner")
        problem(fresh.owner.api.delete(f"/v1/members/{fresh.owner.user_id}"), 409, "last_owner")
    second = join(fresh, "owner")
    ok(fresh.owner.api.delete("/v1/members/me"))
    problem(second.api.delete("/v1/members/me"), 409, "last_owner")


def test_roles_are_changed_by_others_and_only_to_roles(fresh: Organisation, world: World) -> None:
    admin, second = join(fresh, "admin"), join(fresh, "owner")
    with unchanged(world):
        for person in (admin, fresh.owner):
            problem(person.api.patch(f"/v1/members/{person.user_id}", json={"role": "auditor"}), 403, "own_role")
        problem(admin.api.patch(f"/v1/members/{second.user_id}", json={"role": "auditor"}), 403, "owner_required")
        problem(fresh.approver.api.patch(f"/v1/members/{admin.user_id}", json={"role": "auditor"}), 403)
        problem(fresh.owner.api.patch(f"/v1/members/{admin.user_id}", json={"role": "king"}), 422, "invalid_request")
        with fresh.agent() as agent:
            problem(agent.delete("/v1/members/me"), 403, "people_only")
    assert ok(fresh.owner.api.patch(f"/v1/members/{second.user_id}", json={"role": "auditor"}))["role"] == "auditor"


def test_who_is_in_several_tenants_is_told_which_and_nobody_else_is(fresh: Organisation, world: World) -> None:
    person = join(fresh, "operator", name="Wren Two")
    ok(person.api.post("/v1/tenants", json={"name": "Wren's", "user_name": "Wren"}, headers=once()))
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
    del person.api.headers["X-Tenant-Id"]
    with unchanged(world):
        for answer in (person.api.get("/v1/actions"), person.api.get("/v1/me"), decide(person, action)):
            asked = problem(answer, 400, "tenant_required")
            assert {choice["name"] for choice in asked["errors"]} == {"Brightwater Goods BV", "Wren's"}
    stranger = sign_up(fresh.stack, "Sol Stranger")
    assert problem(stranger.api.get("/v1/me"), 401, "unauthenticated")["errors"] == []


def test_everybody_can_read_who_may_do_what(fresh: Organisation, world: World) -> None:
    for person in (fresh.owner, fresh.approver):
        table = {row["permission"]: row for row in ok(person.api.get("/v1/permissions"))}
        me = ok(person.api.get("/v1/me"))
        assert {name for name, row in table.items() if me["role"] in row["roles"]} == set(me["permissions"])
    assert table["tenant.manage"]["roles"] == ["owner"]
    assert table["members.manage"]["aal2"]
    key = issue_key(fresh, scopes=["tenant.read"])
    with world.client(key["secret"]) as agent:
        assert len(ok(agent.get("/v1/permissions"))) == len(table)
