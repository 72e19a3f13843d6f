"""What limits have counted, whoever records: nothing fits that does not, and nothing that was counted is uncounted."""

from typing import Any

import pytest

from api.ids import new_id
from tests.db.attacks import refused_everywhere
from tests.db.names import ACME, GLOBEX, NOTE, PAY, Row
from tests.db.world import World, refusal


def recorded(world: World, amount: int, *, over: bool = False, key: str = "of-a-test", **more: Any) -> Row:
    """What the database answers to a proposal that takes so much of a limit of 1,000."""
    claim = world.claimed(ACME, "production", key=key, amount=amount, max_amount=1000, over=over, **more)
    answer: Row = world.call(ACME.service(), "record_action_v1", world.proposal(ACME, PAY, limits=[claim]))
    return answer


def test_what_does_not_fit_is_not_recorded_as_if_it_did(world: World) -> None:
    assert recorded(world, 600)["recorded"]
    refused = recorded(world, 401)
    assert (refused["recorded"], refused["reason"]) == (False, "limits_moved")
    assert refused["limits"] == {"of-a-test": {"amount": 600, "count": 1}}
    assert recorded(world, 401, over=True)["recorded"]
    # Nor is what fits recorded as if it did not: an old refusal must not outlive its reason.
    assert recorded(world, 400, over=True)["reason"] == "limits_moved"
    assert recorded(world, 400)["recorded"]
    assert recorded(world, 1)["limits"] == {"of-a-test": {"amount": 1000, "count": 2}}


def test_what_is_over_counts_once_a_person_has_approved_it(world: World) -> None:
    claim = world.claimed(ACME, "production", key="approved", amount=1500, max_amount=1000, over=True)
    action = world.payment(ACME, limits=[claim])
    assert recorded(world, 1000, key="approved")["recorded"]
    world.approve(action)
    assert recorded(world, 1, key="approved")["limits"] == {"approved": {"amount": 2500, "count": 2}}


@pytest.mark.parametrize(("verdict", "left"), [("reject", 0), ("answer", 0), ("approve", 700)])
def test_room_comes_back_when_an_action_ends_without_effect(world: World, verdict: str, left: int) -> None:
    claim = world.claimed(ACME, "production", key=verdict, amount=700, max_amount=1000)
    action = world.payment(ACME, limits=[claim])
    world.call(ACME.user("approver", aal="aal2"), "decide_exception_v1", world.verdict(action, verdict))
    assert recorded(world, 1001, key=verdict)["limits"][verdict]["amount"] == left


def test_what_rules_have_read_is_what_is_counted(world: World) -> None:
    assert recorded(world, 1, key="exact", exact=True)["reason"] == "limits_moved"
    assert recorded(world, 1, key="exact", exact=True, seen={"amount": 0, "count": 0})["recorded"]
    assert recorded(world, 1, key="exact", exact=True, seen={"amount": 0, "count": 0})["reason"] == "limits_moved"


def test_a_denied_action_takes_nothing(world: World) -> None:
    claim = world.claimed(ACME, "production", key="denied", amount=5, max_amount=1000)
    denied = world.proposal(ACME, NOTE, outcome="deny", limits=[claim])
    assert world.call(ACME.service(), "record_action_v1", denied)["status"] == "denied"
    assert recorded(world, 1001, key="denied")["limits"] == {"denied": {"amount": 0, "count": 0}}


def test_an_evaluation_takes_nothing_and_says_what_fits(world: World) -> None:
    assert recorded(world, 900, key="asked")["recorded"]
    proposal = world.proposal(ACME, PAY)
    claim = world.claimed(ACME, "production", key="asked", amount=200, max_amount=1000)
    asked = proposal | {"proposal": {}, "decision": proposal["decision"] | {"limits": [claim]}}
    assert world.call(ACME.service(), "record_evaluation_v1", asked)["limits"]["asked"]["amount"] == 900
    fits = proposal | {"proposal": {}, "decision": proposal["decision"] | {"limits": [claim | {"amount": 100}]}}
    assert world.call(ACME.service(), "record_evaluation_v1", fits)["recorded"]
    assert recorded(world, 101, key="asked")["limits"]["asked"] == {"amount": 900, "count": 1}


def test_the_same_name_counts_apart_in_another_tenant(world: World) -> None:
    assert recorded(world, 1000, key="shared")["recorded"]
    claim = world.claimed(GLOBEX, "production", key="shared", amount=1000, max_amount=1000)
    theirs = world.proposal(GLOBEX, PAY, limits=[claim])
    assert world.call(GLOBEX.service(), "record_action_v1", theirs)["recorded"]


def test_nobody_uncounts_what_was_counted(world: World) -> None:
    world.payment(ACME)
    for statement in ("update app.limit_reservations set amount = 0", "delete from app.limit_reservations"):
        refused_everywhere(world, statement, reasons=("append_only",))
    refused_everywhere(world, "truncate app.limit_reservations", reasons=("append_only",))


def observe(world: World) -> str:
    """One more observation that this run has made."""
    said: Row = {"id": str(new_id()), "run_id": ACME.run("production"), "tool": "sandbox_bank.bills.list"}
    said |= {"contract_version": 1, "args": {}, "result": {"bills": []}, "labels": {}, "digest": "sha256:0"}
    answer = world.call(ACME.service(), "assert_observation_v1", said)
    assert answer["number"] > 0
    return str(answer["id"])


def test_a_decision_rests_on_everything_that_was_read(world: World) -> None:
    """Without what another instance has read meanwhile nothing is recorded; the answer brings it along."""
    proposal = world.proposal(ACME, NOTE, outcome="allow", basis={"observed": 0, "directory": {}, "limits": {}})
    observe(world)
    answer = world.call(ACME.service(), "record_action_v1", proposal)
    assert (answer["recorded"], answer["reason"]) == (False, "run_moved")
    seen = answer["run"]["observed"]
    assert seen == len(answer["run"]["observations"]) > 0
    again = proposal | {"basis": proposal["basis"] | {"observed": seen}}
    assert world.call(ACME.service(), "record_action_v1", again)["recorded"]
    stored = "select basis -> 'observed' from app.decisions where action_id = %s"
    assert world.rows(stored, proposal["id"]) == [(seen,)]


def test_nobody_numbers_an_observation(world: World) -> None:
    """Whoever could would hide from a replay what a decision had seen."""
    observation = observe(world)
    number = "select number from app.observations where id = %s"
    [(before,)] = world.rows(number, observation)
    assert before is not None
    with refusal("immutable_column"):
        world.owner.execute("update app.observations set number = 99 where id = %s", (observation,))
    assert world.rows(number, observation) == [(before,)]
