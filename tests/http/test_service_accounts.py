"""Service accounts and their keys: what a list says of them, and what ends or narrows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.organisation import AGENT_SCOPES, Organisation, ok, once
from tests.http.integrator import NOTE, Agent, at_work, issue_key, join, note
from tests.http.problems import problem, unchanged
from tests.http.world import World


def account(organisation: Organisation, account_id: str = "") -> dict[str, Any]:
    wanted = account_id or organisation.service_account_id
    return next(a for a in ok(organisation.owner.api.get("/v1/service-accounts")) if a["id"] == wanted)


def keys(organisation: Organisation) -> dict[str, dict[str, Any]]:
    listed = ok(organisation.owner.api.get(f"/v1/service-accounts/{organisation.service_account_id}/keys"))
    return {key["id"]: key for key in listed}


def age(world: World, key_id: str, seconds: int) -> None:
    """Lets the last use of a key be so long ago."""
    with world.database.connect("superuser") as connection:
        for statement in (
            "alter table app.key_uses disable trigger key_uses_keep_last",
            f"update app.key_uses set used_at = used_at - interval '{seconds} seconds' where key_id = '{key_id}'",
            "alter table app.key_uses enable always trigger key_uses_keep_last",
        ):
            connection.execute(statement.encode())


def test_a_list_says_how_many_keys_work_and_which_end_soon(fresh: Organisation) -> None:
    soon, later = issue_key(fresh, expires_in_days=13), issue_key(fresh, expires_in_days=15)
    revoked = issue_key(fresh, expires_in_days=13)
    ok(fresh.owner.api.delete(f"/v1/keys/{revoked['id']}"))
    shown = account(fresh)
    assert (shown["active_keys"], shown["keys_expiring_soon"], shown["disabled_at"]) == (3, 1, None)
    listed = keys(fresh)
    assert {i for i, key in listed.items() if key["expires_soon"]} == {soon["id"]}
    assert {i for i, key in listed.items() if key["active"]} == {soon["id"], later["id"], fresh.key_id}
    assert listed[later["id"]]["issued_by"] == fresh.owner.user_id


def test_the_last_use_is_known_to_the_minute(fresh: Organisation, world: World) -> None:
    key = issue_key(fresh)
    assert keys(fresh)[key["id"]]["last_used_at"] is None
    with world.client(key["secret"]) as agent:
        before = datetime.now(UTC)
        ok(agent.get("/v1/me"))  # through the door of calls
        first = keys(fresh)[key["id"]]["last_used_at"]
        assert before - timedelta(seconds=1) <= datetime.fromisoformat(first) <= datetime.now(UTC)
        for _ in range(3):
            ok(agent.get("/v1/workflows"))
        assert keys(fresh)[key["id"]]["last_used_at"] == first
        age(world, key["id"], 61)
        ok(agent.get("/v1/workflows"))  # and through the door of reads
        assert keys(fresh)[key["id"]]["last_used_at"] > first
    assert account(fresh)["last_used_at"] == keys(fresh)[key["id"]]["last_used_at"]


def test_a_use_is_no_event_no_new_epoch_and_nothing_of_somebody_elses(fresh: Organisation, world: World) -> None:
    key = issue_key(fresh)
    with unchanged(world), world.client(key["secret"]) as agent, world.client(f"{key['secret'][:-2]}zz") as thief:
        problem(thief.get("/v1/tenants"), 401, "unauthenticated")
        problem(agent.get("/v1/members"), 403, "permission_denied")
        # Refused, and so not noted: it was rolled back with the rest.
        assert keys(fresh)[key["id"]]["last_used_at"] is None
        ok(agent.get("/v1/tenants"))
    assert keys(fresh)[key["id"]]["last_used_at"] is not None


def test_an_account_that_ends_takes_all_its_keys_along(fresh: Organisation, world: World) -> None:
    other = issue_key(fresh)
    with at_work(fresh) as agent, world.client(other["secret"]) as second:
        assert agent.propose(NOTE, note())["status"] in ("authorized", "executing", "succeeded")
        path = f"/v1/service-accounts/{fresh.service_account_id}"
        ended = ok(fresh.owner.api.delete(path))
        assert (ended["active_keys"], ended["disabled_at"] is None) == (0, False)
        for client in (agent.api, second):
            body = agent.proposal(NOTE, note())
            problem(client.post("/v1/actions", json=body, headers=once()), 401, "unauthenticated")
            problem(client.get("/v1/me"), 401, "unauthenticated")
        with unchanged(world):
            assert ok(fresh.owner.api.delete(path)) == ended
            body = {"environment": "sandbox", "scopes": ["tenant.read"]}
            problem(fresh.owner.api.post(f"{path}/keys", json=body, headers=once()), 404, "not_found")
            rotate = f"/v1/keys/{fresh.key_id}/rotate"
            problem(fresh.owner.api.post(rotate, json={}, headers=once()), 409, "key_not_active")
    assert not any(key["active"] for key in keys(fresh).values())


def test_what_an_account_is_for_can_be_said_anew(fresh: Organisation, world: World) -> None:
    path = f"/v1/service-accounts/{fresh.service_account_id}"
    assert ok(fresh.owner.api.patch(path, json={"description": "pays bills"}))["description"] == "pays bills"
    assert account(fresh)["description"] == "pays bills"
    with unchanged(world):
        problem(fresh.approver.api.patch(path, json={"description": "x"}), 403, "permission_denied")
        problem(fresh.approver.api.delete(path), 403, "permission_denied")


def test_a_scope_is_taken_away_at_once_and_never_comes_back(fresh: Organisation, world: World) -> None:
    key = issue_key(fresh)
    with at_work(fresh) as working, world.client(key["secret"]) as client:
        agent = Agent(client, working.workflow, working.run_id)
        agent.propose(NOTE, note())
        kept = [scope for scope in AGENT_SCOPES if scope != "actions.propose"]
        path = f"/v1/keys/{key['id']}"
        assert ok(fresh.owner.api.patch(path, json={"scopes": kept}))["scopes"] == sorted(kept)
        refused = client.post("/v1/actions", json=agent.proposal(NOTE, note()), headers=once())
        problem(refused, 403, "permission_denied")
        with unchanged(world):
            problem(fresh.owner.api.patch(path, json={"scopes": AGENT_SCOPES}), 409, "key_widened")
            problem(fresh.owner.api.patch(path, json={"scopes": ["members.manage"]}), 409, "key_widened")
            problem(client.patch(path, json={"scopes": ["tenant.read"]}), 403, "permission_denied")
    # Its successor has no more.
    successor = ok(fresh.owner.api.post(f"{path}/rotate", json={}, headers=once()))
    assert successor["scopes"] == sorted(kept)


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_a_key_that_calls_itself_by_the_other_environment_is_refused(
    fresh: Organisation, world: World, environment: str
) -> None:
    secret = issue_key(fresh, environment)["secret"]
    word, other = ("cs_sandbox", "cs_live") if environment == "sandbox" else ("cs_live", "cs_sandbox")
    assert secret.startswith(f"{word}_")
    with world.client(secret) as client, world.client(secret.replace(word, other)) as liar:
        assert ok(client.get("/v1/me"))["environment"] == environment
        with unchanged(world):
            problem(liar.get("/v1/me"), 401, "unauthenticated")
            problem(liar.get("/v1/workflows"), 401, "unauthenticated")


def test_a_developer_ends_accounts_and_an_approver_does_not(fresh: Organisation) -> None:
    developer = join(fresh, "developer")
    made = ok(developer.api.post("/v1/service-accounts", json={"name": "short-lived"}, headers=once()))
    problem(fresh.approver.api.delete(f"/v1/service-accounts/{made['id']}"), 403, "permission_denied")
    assert ok(developer.api.delete(f"/v1/service-accounts/{made['id']}"))["disabled_at"]
