"""What may have been done is never done twice, nor called undone, and nothing waits for ever."""

from __future__ import annotations

import json

import pytest

from api.ids import new_id
from tests.db import absences, loops, permits, stopped, undo
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, NOTE, Row
from tests.db.world import Action, World

NOT_SENT = {"status": None, "reached": "no", "body": None}


def in_doubt(world: World) -> Action:
    """A stamp under a key, of which an attempt may have had its effect, to be tried again."""
    absences.publish(world, idempotency="key")
    action = world.propose(ACME, absences.STAMP, {}, outcome="allow", effect="write")
    answer = world.finish(ACME, world.claim(action), "retry", response=absences.MAYBE)
    assert answer["status"] == "authorized"
    return action


def absent(world: World, action: Action) -> Row:
    args = {"id": action.id, "observation_id": absences.looked(world, action), "reason": "not there"}
    return world.call(ACME.system(), "settle_absent_v1", args)


def test_what_a_person_cancelled_is_not_tried_again_when_it_turns_out_not_to_have_happened(world: World) -> None:
    action = in_doubt(world)
    cancelled = world.call(ACME.user(), "cancel_action_v1", {"id": action.id, "reason": "never mind"})
    assert cancelled["status"] == "unknown"
    assert absent(world, action)["status"] == "failed"


def test_what_is_unknown_is_not_authorized_by_anybody(world: World) -> None:
    absences.publish(world)
    action = absences.lost(world, ACME)
    forced = "update app.actions set status = 'authorized' where id = %s"
    for claims in (ACME.user(), ACME.system()):
        refused_everywhere(world, forced, action.id, claims=claims, vantages=OWNER, reasons=("maybe_done",))


def test_what_may_have_been_done_is_tried_again_under_a_key_only(world: World) -> None:
    absences.publish(world)
    action = world.propose(ACME, absences.STAMP, {}, outcome="allow", effect="write")
    answer = world.finish(ACME, world.claim(action), "retry", response=absences.MAYBE)
    assert (answer["status"], world.status(action)) == ("unknown", "unknown")


@pytest.mark.parametrize("outcome", ["failed", "dead_letter"])
def test_a_refusal_says_nothing_of_an_earlier_attempt(world: World, outcome: str) -> None:
    action = in_doubt(world)
    world.owner.execute("update app.actions set next_attempt_at = now() where id = %s", (action.id,))
    answer = world.finish(ACME, world.claim(action), outcome, response=NOT_SENT)
    assert (answer["status"], world.status(action)) == ("unknown", "unknown")


def test_two_that_have_both_begun_do_not_wait_for_each_other(world: World) -> None:
    first, second = world.note(), world.note()
    switch = world.stop()
    stage = {"id": switch, "reason": "it is mended", "stage": "one_at_a_time"}
    world.call(ACME.user(), "release_kill_switch_v1", stage)
    world.finish(ACME, world.claim(first), "dead_letter", response=NOT_SENT)
    world.finish(ACME, world.claim(second), "retry", response=NOT_SENT)
    world.call(ACME.user(), "requeue_action_v1", {"id": first.id, "reason": "now"})
    begun = [world.claim(action) for action in (first, second)]
    assert [claimed["claimed"] for claimed in begun] == [True, False]
    world.finish(ACME, begun[0])
    assert world.claim(second)["claimed"]


def test_a_person_who_reconciles_what_no_client_reported_ends_its_alert(world: World) -> None:
    action = permits.authorized(world)
    permits.unreported(world, permits.claim(world, action))
    alert = "select status from app.alerts where kind = 'permit.unreported' and subject_id = %s"
    assert world.value(alert, action.id) == "open"
    world.call(ACME.user(), "reconcile_action_v1", {"id": action.id, "outcome": "failed", "reason": "not there"})
    assert world.value(alert, action.id) == "resolved"


def erased(world: World, run: str) -> None:
    asked = {"id": str(new_id()), "subject": "A***", "reason": "asked", "searched_to": None, "run_ids": [run]}
    world.call(ACME.user(), "request_erasure_v1", asked)
    assert world.call(ACME.system("purge_expired"), "erase_runs_v1", {"ids": [run]})["erased"] == 1


def test_what_is_erased_is_not_undone(world: World) -> None:
    undo.publish(world)
    done = undo.tagged(world, ACME)
    erased(world, ACME.run())
    with world.refuses("state_not_kept", "run_erased"):
        undo.undo(world, done, args={"tag": "all of them"})


def test_what_is_erased_is_not_proposed_again(world: World) -> None:
    switch = world.stop()
    action = stopped.manual(world)
    erased(world, ACME.run())
    world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "it is mended"})
    again = world.proposal(ACME, NOTE, outcome="allow", by=ACME.user(), limits=[])
    again["payload"] = json.dumps(json.loads(again["payload"]) | {"args": {}})
    asked = {"exception_id": action.exception, "digest": action.digest, "reason": "still needed", "action": again}
    with world.refuses("state_not_kept"):
        world.call(ACME.user(), "repropose_exception_v1", asked)


def told(world: World, action: Action) -> list[tuple[str, str, str]]:
    """The alerts about an action: kind, severity, status."""
    alerts = "select kind, severity, status from app.alerts where subject_type = 'action' and subject_id = %s"
    return [(kind, severity, status) for kind, severity, status in world.rows(alerts, action.id)]


def test_what_was_approved_and_not_done_is_told(world: World) -> None:
    """A refusal, and an authorization that ends before it is used: nobody else would say so to who approved it."""
    refused = world.payment()
    world.approve(refused)
    world.finish(ACME, world.claim(refused), "failed", response={"status": 402, "reached": "no", "body": None})
    assert told(world, refused) == [("action.failed", "warning", "open")]
    lapsed, permitted = world.payment(), permits.approved(world)
    world.approve(lapsed)
    world.call(ACME.user(), "disable_service_account_v1", {"id": ACME.agent})
    assert world.claim(lapsed)["status"] == "expired"
    assert told(world, lapsed) == [("action.expired", "warning", "open")]
    # A person who is told so himself needs no alert.
    assert permits.claim(world, permitted, by=ACME.user())["status"] == "expired"
    assert told(world, permitted) == []


def test_what_nobody_decided_is_told_to_whom_the_workflow_names(world: World) -> None:
    waiting = world.payment()
    world.rows("alter table app.exceptions disable trigger user")
    world.rows("update app.exceptions set expires_at = now() where id = %s", waiting.exception)
    for (name,) in world.rows("select tgname from pg_trigger where tgrelid = 'app.exceptions'::regclass"
                              " and not tgisinternal"):  # fmt: skip
        world.rows(f"alter table app.exceptions enable always trigger {name}")
    for _ in "ab":
        world.call(ACME.system("expire_exceptions"), "expire_exception_v1", {"id": waiting.exception})
    assert world.status(waiting) == "expired"
    alerts = "select severity, status, occurrences, contact, subject_id::text from app.alerts where kind = %s"
    contact = world.value(
        "select spec ->> 'escalation_contact' from app.workflow_versions where tenant_id = %s limit 1", ACME.id
    )
    assert world.rows(alerts, "exception.expired") == [("warning", "open", 1, contact, waiting.exception)]
    assert told(world, waiting) == []
    # What a person decided is told to nobody.
    rejected = world.payment()
    world.call(ACME.user(), "decide_exception_v1", world.verdict(rejected, verdict="reject", reason="no"))
    assert len(world.rows(alerts, "exception.expired")) == 1


def test_what_only_a_client_wanted_is_answered_to_the_client(world: World) -> None:
    """And what the loop of a workflow proposed has no client that would read the answer."""
    own = world.note()
    world.finish(ACME, world.claim(own), "failed", response={"status": 422, "reached": "no", "body": None})
    assert told(world, own) == []
    run = loops.queued(world, ACME, "production")
    loops.claimed(world, ACME, run)
    driven = world.note(by=ACME.system(), run_id=run)
    world.finish(ACME, world.claim(driven), "failed", response={"status": 422, "reached": "no", "body": None})
    assert told(world, driven) == [("action.failed", "warning", "open")]
