"""Nobody gets round the second pair of eyes: not by leaving, by changing roles, by a key, or at aal1."""

import pytest

from sandbox.organisation import AGENT_SCOPES, Organisation, admit, ok, once, sign_up
from tests.http.integrator import NOTE, PAY, at_work, decide, issue_key, join, note, payment
from tests.http.world import World

LARGE = 2_000_000  # two people, by the starter rules


def test_who_has_left_has_taken_the_approval_along(fresh: Organisation, world: World) -> None:
    second = join(fresh, "approver", name="Ines Okoro")
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(LARGE))
        ok(decide(second, action))
        ok(fresh.owner.api.delete(f"/v1/members/{second.user_id}"))
        assert ok(decide(fresh.approver, action))["approvals"] == {"given": 1, "required": 2}
        assert agent.action(action["id"])["status"] == "awaiting_approval"
    assert world.transfers(action["id"]) == []


def test_who_lost_the_role_has_lost_the_approval(fresh: Organisation, world: World) -> None:
    second = join(fresh, "approver", name="Ines Okoro")
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(LARGE))
        ok(decide(second, action))
        ok(fresh.owner.api.patch(f"/v1/members/{second.user_id}", json={"role": "auditor"}))
        assert ok(decide(fresh.approver, action))["approvals"] == {"given": 1, "required": 2}
    assert world.transfers(action["id"]) == []


def test_an_admin_cannot_make_himself_an_approver(fresh: Organisation) -> None:
    admin = join(fresh, "admin")
    refused = admin.api.patch(f"/v1/members/{admin.user_id}", json={"role": "approver"})
    assert (refused.status_code, refused.json()["code"]) == (403, "own_role")


def test_an_admin_lets_in_no_second_address_of_his_that_approves(fresh: Organisation, world: World) -> None:
    """Neither at once nor by a detour: not what he proposes, nor what an agent does."""
    admin, second = join(fresh, "admin"), sign_up(fresh.stack, "Mo Adler")
    body = {"email": second.email, "role": "approver"}
    refused = admin.api.post("/v1/invitations", json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (403, "owner_required")
    admit(admin, second, "operator")
    for role in ("approver", "owner"):
        refused = admin.api.patch(f"/v1/members/{second.user_id}", json={"role": role})
        assert (refused.status_code, refused.json()["code"]) == (403, "owner_required")
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        for person in (admin, second):
            assert decide(person, action).status_code == 403
        assert agent.action(action["id"])["status"] == "awaiting_approval"
    assert world.transfers(action["id"]) == []


def test_people_and_keys_are_managed_with_a_second_factor(fresh: Organisation) -> None:
    plain = join(fresh, "admin", second_factor=False)
    body = {"email": "somebody@brightwater.example", "role": "operator"}
    account = f"/v1/service-accounts/{fresh.service_account_id}/keys"
    for path, json in (
        ("/v1/invitations", body),
        (account, {"environment": "sandbox", "scopes": ["runs.read"]}),
        ("/v1/connections", {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}),
    ):
        refused = plain.api.post(path, json=json, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "aal2_required")


@pytest.mark.parametrize("scope", ["actions.propose", "audit.read"])
def test_a_developer_issues_and_rotates_no_key_that_can_do_more_than_he_can(fresh: Organisation, scope: str) -> None:
    developer = join(fresh, "developer")
    body = {"environment": "sandbox", "scopes": ["runs.read", scope]}
    refused = developer.api.post(f"/v1/service-accounts/{fresh.service_account_id}/keys", json=body, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_beyond_own")
    stronger = issue_key(fresh, scopes=["runs.read", scope])
    refused = developer.api.post(f"/v1/keys/{stronger['id']}/rotate", json={}, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_beyond_own")


def test_a_successor_lives_no_longer_than_what_it_succeeds(fresh: Organisation) -> None:
    short = issue_key(fresh, expires_in_days=1)
    successor = ok(fresh.owner.api.post(f"/v1/keys/{short['id']}/rotate", json={}, headers=once()))
    assert successor["expires_at"][:10] == short["expires_at"][:10]


def test_a_service_account_cancels_its_own_actions_only(fresh: Organisation, world: World) -> None:
    account = ok(fresh.owner.api.post("/v1/service-accounts", json={"name": "canceller"}, headers=once()))
    body = {"environment": "sandbox", "scopes": AGENT_SCOPES}
    key = ok(fresh.owner.api.post(f"/v1/service-accounts/{account['id']}/keys", json=body, headers=once()))
    with at_work(fresh) as agent, world.client(key["secret"]) as other:
        action = agent.propose(NOTE, note(), confidence=0.1)
        path = f"/v1/actions/{action['id']}/cancel"
        refused = other.post(path, json={"reason": "not mine"}, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (403, "not_the_proposer")
        assert ok(agent.api.post(path, json={"reason": "mine"}, headers=once()))["status"] == "cancelled"


def test_a_stored_answer_goes_to_nobody_with_less(fresh: Organisation, world: World) -> None:
    weak = issue_key(fresh, scopes=["tenant.read"])
    with at_work(fresh) as agent, world.client(weak["secret"]) as other:
        body, key = {"workflow": "pay-vendor-bills", "instruction": "Pay what is due"}, once()
        ok(agent.api.post("/v1/runs", json=body, headers=key))
        refused = other.post("/v1/runs", json=body, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def test_a_failed_read_is_no_evidence(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        with world.provider("bank") as bank:
            bank.post("/_faults", json={"operation": "bills.list", "kind": "error"}).raise_for_status()
        seen = agent.observe()
        assert seen["status"] == "failed"
        body = agent.proposal(PAY, payment(), evidence=[{"observation_id": seen["id"]}])
        refused = agent.api.post("/v1/actions", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_evidence")
