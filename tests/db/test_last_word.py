"""The last word before a request leaves: whatever a claim looks at holds at that moment too, whoever sends.

What was put off before it was sent uses up no try.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.db import absences
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, Row
from tests.db.world import Action, World

NOT_SENT = {"status": None, "reached": "no", "body": None}
WRITE = ACME.connection("bank/write")


def approved(world: World) -> Action:
    """A payment that a person approved who can leave."""
    action = world.payment()
    world.approve(action, "approver")
    return action


def unsent(world: World, action: Action) -> Row:
    """An attempt at it that is claimed and not sent."""
    claimed = world.claim(action)
    assert claimed["claimed"], claimed
    world.owner.execute("update app.attempts set sent_at = null where id = %s", (claimed["attempt_id"],))
    return claimed


def send(world: World, claimed: Row) -> Row:
    fenced = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"]}
    return world.call(ACME.system(), "send_attempt_v1", fenced)


def attempt(world: World, claimed: Row) -> tuple[str, bool, bool]:
    columns = "status, sent_at is null, put_off"
    [(status, not_sent, put_off)] = world.rows(
        f"select {columns} from app.attempts where id = %s", claimed["attempt_id"]
    )
    return status, not_sent, put_off


def _left(world: World) -> None:
    world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("approver")})


def _another_role(world: World) -> None:
    world.call(ACME.user(), "change_role_v1", {"user_id": ACME.person("approver"), "role": "auditor"})


def _disconnected(world: World) -> None:
    world.call(ACME.user("admin"), "revoke_connection_v1", {"id": WRITE, "reason": "left"})


def _to_sign_in_again(world: World) -> None:
    world.rows("update app.connections set status = 'expired', status_reason = 'sign in again' where id = %s", WRITE)


def _agent_ended(world: World) -> None:
    world.call(ACME.user(), "disable_service_account_v1", {"id": ACME.agent})


def _another_version(world: World) -> None:
    world.rows("alter table app.workflows disable trigger user")
    world.rows("update app.workflows set live_version = null where id = %s", ACME.workflow())


def _over(world: World, action: Action) -> None:
    """Its approvals are over, which only time does; the superuser can let it pass."""
    world.rows("set session_replication_role = replica")
    world.rows("alter table app.approvals disable trigger user")
    world.rows("update app.approvals set expires_at = now() where action_id = %s", action.id)
    world.rows("set session_replication_role = origin")


ENDINGS: dict[str, tuple[Callable[[World], None], str]] = {
    "the approver has left": (_left, "its approvals have expired"),
    "the approver has another role": (_another_role, "its approvals have expired"),
    "disconnected": (_disconnected, "the connection is revoked"),
    "to sign in again": (_to_sign_in_again, "the connection is expired"),
    "the agent has ended": (_agent_ended, "the service account that proposed it has ended"),
    "the workflow moved on": (_another_version, "the workflow has a new version"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ended_between_claim_and_call_is_not_sent_by_anybody(world: World, ending: str) -> None:
    end, why = ENDINGS[ending]
    action = approved(world)
    claimed = unsent(world, action)
    end(world)
    forced = "update app.attempts set sent_at = now() where id = %s"
    for claims in (ACME.user(), ACME.system()):
        reasons = ("authorization_ended",)
        refused_everywhere(world, forced, claimed["attempt_id"], claims=claims, vantages=OWNER, reasons=reasons)
    answer = send(world, claimed)
    assert (answer["sent"], answer["status"]) == (False, "expired")
    assert answer["reason"].startswith(why)
    # As at a claim: it is over for good, nothing was sent, and what it took of the limits is free again.
    assert (world.status(action), attempt(world, claimed)) == ("expired", ("failed", True, True))
    with world.refuses("lease_lost"):
        send(world, claimed)
    assert world.verified()["ok"]


def test_an_approval_that_runs_out_between_claim_and_call_ends_it_as_at_the_claim(world: World) -> None:
    sent, kept = approved(world), approved(world)
    claimed = unsent(world, sent)
    _over(world, sent)
    _over(world, kept)
    at_the_call, at_the_claim = send(world, claimed), world.claim(kept)
    assert (at_the_call["status"], at_the_call["reason"]) == (at_the_claim["status"], at_the_claim["reason"])
    assert at_the_claim["status"] == "expired"


def test_what_holds_is_sent_once_and_stays_sent(world: World) -> None:
    claimed = unsent(world, approved(world))
    assert send(world, claimed) == {"sent": True}
    _left(world)
    assert send(world, claimed) == {"sent": True}


def test_what_may_have_been_done_before_is_unknown_when_it_ends(world: World) -> None:
    absences.publish(world, idempotency="key")
    action = world.propose(ACME, absences.STAMP, {}, outcome="allow", effect="write")
    world.finish(ACME, world.claim(action), "retry", response=absences.MAYBE)
    claimed = unsent(world, action)
    _agent_ended(world)
    assert send(world, claimed)["status"] == "unknown"
    assert world.value("select ended from private.lookups where action_id = %s", action.id)


def test_a_connection_that_is_not_well_puts_it_off(world: World) -> None:
    action = approved(world)
    claimed = unsent(world, action)
    world.rows("update app.connections set status = 'degraded', status_reason = 'slow' where id = %s", WRITE)
    answer = send(world, claimed)
    assert (answer["sent"], answer["status"], answer["reason"]) == (False, "authorized", "connection_not_writable")
    assert attempt(world, claimed) == ("failed", True, True)


def test_only_what_was_never_sent_expires_while_it_executes(world: World) -> None:
    forced = "update app.actions set status = 'expired' where id = %s"
    under_way, over = approved(world), approved(world)
    world.claim(under_way)
    claimed = world.claim(over)
    world.owner.execute("update app.attempts set sent_at = now() where sent_at is null")
    world.owner.execute("update app.attempts set status = 'failed' where id = %s", (claimed["attempt_id"],))
    for action in (under_way, over):
        refused_everywhere(world, forced, action.id, claims=ACME.system(), vantages=OWNER, reasons=("maybe_done",))


def test_what_a_kill_switch_takes_back_uses_up_no_try(world: World) -> None:
    action = approved(world)
    for number in range(1, 9):
        claimed = unsent(world, action)
        assert (claimed["number"], claimed["tries"]) == (number, 1)
        switch = world.stop()
        assert (world.status(action), attempt(world, claimed)) == ("authorized", ("failed", True, True))
        world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "go on"})
    finished = world.finish(ACME, world.claim(action), "retry", response=NOT_SENT, next_attempt_at=None)
    assert finished["status"] == "authorized"
    assert world.claim(action)["tries"] == 2


def test_what_a_limit_or_a_circuit_puts_off_uses_up_no_try(world: World) -> None:
    action = approved(world)
    held = {"response": NOT_SENT, "put_off": True, "error": "The connection takes no call now."}
    assert world.finish(ACME, unsent(world, action), "retry", **held)["status"] == "authorized"
    assert world.claim(action)["tries"] == 1


def test_a_call_that_was_made_is_a_try_whatever_is_said_of_it(world: World) -> None:
    action = approved(world)
    claimed = unsent(world, action)
    assert send(world, claimed)["sent"]
    forced = "update app.attempts set put_off = true, status = 'failed' where id = %s"
    reasons = (psycopg.errors.CheckViolation,)
    refused_everywhere(world, forced, claimed["attempt_id"], claims=ACME.system(), vantages=OWNER, reasons=reasons)
    world.finish(ACME, claimed, "retry", response=NOT_SENT, put_off=True)
    assert (attempt(world, claimed)[2], world.claim(action)["tries"]) == (False, 2)


def test_what_a_kill_switch_takes_back_when_its_approvals_have_ended_expires(world: World) -> None:
    action = approved(world)
    unsent(world, action)
    _over(world, action)
    world.stop()
    assert world.status(action) == "expired"


def test_a_requeued_dead_letter_has_all_its_tries_again(world: World) -> None:
    action = approved(world)
    world.finish(ACME, world.claim(action), "dead_letter", response=NOT_SENT)
    world.call(ACME.user(), "requeue_action_v1", {"id": action.id, "reason": "again"})
    again = world.claim(action)
    assert (again["number"], again["tries"]) == (2, 1)
