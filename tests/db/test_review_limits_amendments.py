"""Ways around limits and amendments that a review tried: each of them must be refused, or come to nothing."""

import pytest

from api.ids import new_id
from tests.db import amendments, permits, tools
from tests.db.attacks import refused_everywhere
from tests.db.names import ACME, NOTE, Row
from tests.db.world import Action, World, refusal


def counted(world: World, key: str) -> int:
    """What a limit has counted, as whoever proposes next is told."""
    asked = {"workflow": ACME.slug(), "limits": [{"key": key, "window_seconds": 3600}]}
    answer = world.call(ACME.service(), "gate_facts_v1", asked)
    return int(answer["limits"][key]["amount"])


def external(world: World, key: str, outcome: str = "allow") -> Action:
    """A proposal that the tenant's own client carries out, and that takes 900 of a limit of 1,000."""
    tools.register(world, ACME)
    claim = world.claimed(ACME, "production", key=key, amount=900, max_amount=1000)
    version = world.value("select max(version) from app.tenant_tools where tenant_id = %s", ACME.id)
    action = tools.propose(world, ACME, limits=[claim], outcome=outcome, version=version)
    assert counted(world, key) == 900
    return action


def cancel(world: World, action: Action) -> Row:
    return world.call(ACME.service(), "cancel_action_v1", {"id": action.id, "reason": "never mind"})


def permitted(world: World, action: Action) -> Row:
    """The client has a permit: from now on it may have acted."""
    permit = {"action_id": action.id, "attempt_id": str(new_id()), "permit_seconds": 300}
    return world.call(ACME.service(), "claim_permit_v1", permit)


def test_an_agent_does_not_empty_a_limit_by_cancelling_what_its_client_may_have_done(world: World) -> None:
    action = external(world, "cancelled")
    permitted(world, action)
    with refusal("invalid_transition"):
        cancel(world, action)
    assert counted(world, "cancelled") == 900


def test_nor_by_not_saying_what_it_did(world: World) -> None:
    action = external(world, "unreported")
    permit = permitted(world, action)
    permits.end_the_time_of(world, permit["attempt_id"])
    expired = {"attempt_id": permit["attempt_id"], "outcome": "retry", "error": "died", "response": None}
    assert world.call(ACME.system(), "expire_attempt_v1", expired)["status"] == "unknown"
    assert counted(world, "unreported") == 900


@pytest.mark.parametrize("outcome", ["allow", "escalate"])
def test_what_no_permit_was_given_for_never_happened(world: World, outcome: str) -> None:
    action = external(world, outcome, outcome)
    if outcome == "escalate":
        world.approve(action)
    cancel(world, action)
    assert counted(world, outcome) == 0


def test_nor_did_what_the_client_says_it_did_not_do(world: World) -> None:
    action = external(world, "failed")
    permits.report(world, action, permitted(world, action), "failed")
    assert (world.status(action), counted(world, "failed")) == ("failed", 0)


def test_what_the_client_was_never_told_to_do_is_given_back(world: World) -> None:
    cancel(world, external(world, "waiting", "escalate"))
    assert counted(world, "waiting") == 0


@pytest.mark.parametrize("verdict", ["reject", "edit"])
def test_nobody_adopts_over_a_verdict_that_came_after_the_backtest(world: World, verdict: str) -> None:
    made = amendments.proposed(world, amendments.decided(world, ACME))
    if verdict == "reject":
        amendments.decided(world, ACME, verdict="reject", name="another-class-of-the-same-tool")
    else:
        action = amendments.waiting(world, ACME)
        body: Row = {"exception_id": action.exception, "digest": action.digest, "reason": "corrected"}
        body |= {"action": world.proposal(ACME, NOTE, limits=[])}
        world.call(ACME.user("approver2"), "edit_exception_v1", body)
    adoption = amendments.adoption(made)
    with refusal("backtest_outdated"):
        world.call(ACME.user("admin"), amendments.ADOPT, adoption)
    tried = {"id": made["id"], "backtest": {"flips": [], "contradictions_to_allow": 1}, "backtest_version": 1}
    world.call(ACME.user("approver", "aal1"), amendments.BACKTEST, tried)
    with refusal("contradicts_people"):
        world.call(ACME.user("admin"), amendments.ADOPT, adoption)
    assert world.call(ACME.user("admin"), amendments.ADOPT, adoption | {"acknowledge": True})["status"] == "adopted"


def test_the_owner_of_the_table_does_not_hide_when_it_was_tried(world: World) -> None:
    made = amendments.proposed(world, amendments.decided(world, ACME))
    amendments.decided(world, ACME, verdict="reject")
    statement = (
        "update app.amendments set status = 'adopted', updated_at = now() + interval '1 day', decided_by = %s,"
        " constitution_version = 2 where id = %s"
    )
    admin = ACME.user("admin")
    refused_everywhere(world, statement, admin["sub"], made["id"], claims=admin, reasons=("backtest_outdated",))
