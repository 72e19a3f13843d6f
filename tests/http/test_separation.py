"""Separation of duties: who made the agent does not approve for it, where the tenant wants that."""

from typing import Any

from sandbox.organisation import AGENT_SCOPES, Organisation, ok, once
from tests.http.integrator import PAY, Agent, at_work, decide, join, payment
from tests.http.problems import problem
from tests.http.world import World

LARGE = 2_000_000  # two people, by the starter rules


def separate(organisation: Organisation, wanted: bool = True, reason: str = "") -> None:
    body = {"settings": {"separation_of_duties": wanted}, "reason": reason}
    ok(organisation.owner.api.patch("/v1/tenant", json=body, headers={"If-Match": "*"}))


def waiting(organisation: Organisation, amount: int = 1250) -> dict[str, Any]:
    with at_work(organisation) as agent:
        return agent.propose(PAY, payment(amount))


def test_without_it_an_owner_approves_for_his_own_agent(fresh: Organisation) -> None:
    ok(decide(fresh.owner, waiting(fresh)))


def test_who_issued_the_key_does_not_approve_what_it_proposed(fresh: Organisation) -> None:
    separate(fresh)
    action = waiting(fresh)
    problem(decide(fresh.owner, action), 403, "own_agent")
    # To reject is his all the same: that is no power over money.
    assert ok(decide(fresh.owner, waiting(fresh), "reject"))["status"] == "rejected"
    assert ok(decide(fresh.approver, action))["status"] == "approved"


def test_what_one_agent_proposed_is_no_matter_of_who_made_another(fresh: Organisation, world: World) -> None:
    """The account is one owner's, a second key another's: each is kept out by what he made, and by nothing else."""
    separate(fresh)
    second = join(fresh, "owner", name="Oki Owner")
    path = f"/v1/service-accounts/{fresh.service_account_id}/keys"
    body = {"environment": "sandbox", "scopes": AGENT_SCOPES}
    key = ok(second.api.post(path, json=body, headers=once()))
    ok(decide(second, waiting(fresh)))
    with at_work(fresh) as working, world.client(key["secret"]) as client:
        agent = Agent(client, working.workflow, working.run_id)
        action = agent.propose(PAY, payment())
    problem(decide(second, action), 403, "own_agent")  # it is his key
    problem(decide(fresh.owner, action), 403, "own_agent")  # and the other's account
    ok(decide(fresh.approver, action))


def test_a_rotated_key_is_its_rotators(fresh: Organisation, world: World) -> None:
    separate(fresh)
    second = join(fresh, "owner", name="Oki Owner")
    key = ok(second.api.post(f"/v1/keys/{fresh.key_id}/rotate", json={}, headers=once()))
    with world.client(key["secret"]) as client:
        agent = Agent(client, "pay-vendor-bills")
        agent.start()
        action = agent.propose(PAY, payment())
    problem(decide(second, action), 403, "own_agent")


def test_an_edit_does_not_wash_it_clean(fresh: Organisation) -> None:
    separate(fresh)
    edited = ok(decide(fresh.approver, waiting(fresh), "edit", args=payment(900), reason="less"))["superseded_by"]
    problem(decide(fresh.owner, edited), 403, "own_agent")
    problem(decide(fresh.approver, edited), 403, "own_payload")


def test_an_approval_from_before_does_not_count_any_more(fresh: Organisation, world: World) -> None:
    action = waiting(fresh, LARGE)
    assert ok(decide(fresh.owner, action))["approvals"] == {"given": 1, "required": 2}
    separate(fresh)
    assert ok(decide(fresh.approver, action))["approvals"] == {"given": 1, "required": 2}
    assert world.transfers(action["id"]) == []
    second = join(fresh, "approver", name="Ines Okoro")
    assert ok(decide(second, action))["status"] == "approved"


def test_lifted_it_is_as_before(fresh: Organisation) -> None:
    separate(fresh)
    action = waiting(fresh)
    problem(decide(fresh.owner, action), 403, "own_agent")
    separate(fresh, False, "two of us are ill")
    ok(decide(fresh.owner, action))
