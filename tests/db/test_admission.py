"""How often a connection may be called, whether its provider answers, and what becomes of what was not settled."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from api.ids import new_id
from tests.db import absences
from tests.db.attacks import refused_everywhere
from tests.db.names import ACME, NOTE, Row
from tests.db.world import Action, World

LIMIT = (
    "insert into private.provider_limits (provider, name, requests, seconds, per)"
    " values ('sandbox_crm', 'test', %s, %s, 'connection')"
)
FAILED = {"health": "failed"}
OVER = "update private.connection_flow set open_until = now() - interval '1 second', closed_until = '-infinity'"


def _flow(world: World, column: str = "circuit") -> object:
    return world.value(
        f"select {column} from private.connection_flow where connection_id = %s", ACME.connection("crm/write")
    )


def _tried(world: World, outcome: str = "retry", **how: object) -> Row:
    """An attempt at a note of its own, if the connection takes it; how it ended."""
    claimed = world.claim(world.note())
    return world.finish(ACME, claimed, outcome, **how) if claimed["claimed"] else claimed


def test_no_more_calls_than_the_limit_and_a_held_action_waits_without_a_trace(world: World) -> None:
    world.owner.execute(LIMIT, (5, 3600))
    actions = [world.note() for _ in range(7)]
    assert [world.claim(action)["claimed"] for action in actions[:1]] == [True]
    held = actions[1]
    before = world.value("select count(*) from app.audit_events")
    refused = world.claim(held)
    assert (refused["claimed"], refused["reason"], refused["status"]) == (False, "rate_limited", "authorized")
    assert world.value("select count(*) from app.audit_events") == before
    assert world.value("select count(*) from app.attempts where action_id = %s", held.id) == 0
    work = world.rows("select app.claim_due_actions_v1(100)")[0][0]
    assert held.id not in {item["action_id"] for item in work}


def test_a_quota_is_counted_until_its_window_is_over(world: World) -> None:
    world.owner.execute(LIMIT, (3, 86400))
    assert [world.claim(world.note())["claimed"] for _ in range(5)] == [True, True, True, False, False]
    world.owner.execute("update private.call_meters set window_at = window_at - interval '1 day'")
    assert world.claim(world.note())["claimed"]


def test_a_quota_holds_for_all_who_claim_at_once(world: World) -> None:
    """Eight instances, each with a connection of its own to the database, and room for seven calls."""
    world.owner.execute(LIMIT, (7, 86400))
    actions = [world.note() for _ in range(24)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda action: _claimed_elsewhere(world, action), actions))
    assert Counter(claimed) == {None: 7, "rate_limited": 17}


def _claimed_elsewhere(world: World, action: Action) -> object:
    """Why a claim that another instance makes is refused, if it is."""
    args = {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": 60}
    with world.database.connect() as connection:
        return world.call(ACME.system(), "claim_attempt_v1", args, connection=connection).get("reason")


def test_how_much_of_a_limit_is_used_is_what_the_next_call_meets(world: World) -> None:
    """Of a rate, what may still come at once; of a quota, what was called in its window."""
    world.owner.execute(LIMIT, (50, 3600))
    day = "insert into private.provider_limits values ('sandbox_crm', 'day', 3, 86400, 'connection', null)"
    world.owner.execute(day)

    def used(kind: str = "crm/write") -> dict[str, Row]:
        listed: Any = world.call(ACME.user(), "list_connections_v1", {"id": ACME.connection(kind)})
        return {limit["name"]: limit for limit in listed[0]["limits"] if limit["name"] in ("test", "day")}

    unused = {"per": "connection", "used": 0, "resets_at": None}
    assert used() == {
        "day": {"name": "day", "requests": 3, "seconds": 86400, "at_once": None} | unused,
        "test": {"name": "test", "requests": 50, "seconds": 3600, "at_once": 10} | unused,
    }
    claimed = [world.claim(world.note())["claimed"] for _ in range(4)]
    assert claimed == [True, True, True, False]
    quota, rate = used()["day"], used()["test"]
    assert (quota["used"], quota["requests"], quota["per"]) == (3, 3, "connection")
    # The fourth was refused by the quota, which is asked first.
    assert rate["used"] == 3
    assert 0 < _seconds_until(rate["resets_at"]) <= 3 * 3600 / 41 < _seconds_until(quota["resets_at"]) <= 86400
    assert used("crm/read")["day"]["used"] == 0
    world.owner.execute("update private.call_meters set window_at = window_at - interval '1 day', due_at = now()")
    assert [(limit["used"], limit["resets_at"]) for limit in used().values()] == [(0, None), (0, None)]
    world.owner.execute("update private.call_meters set due_at = now() + interval '900 s' where name = 'test'")
    assert used()["test"]["used"] == 10
    assert world.claim(world.note())["reason"] == "rate_limited"


def _seconds_until(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


def test_a_provider_that_wants_a_pause_gets_it_from_everybody_and_an_hour_at_most(world: World) -> None:
    assert _tried(world, retry_after=10**9)["status"] == "authorized"
    assert _tried(world)["reason"] == "provider_rate_limited"
    assert world.value("select max(closed_until) <= now() + interval '1 hour' from private.connection_flow")


def test_the_circuit_opens_lets_one_call_through_and_closes(world: World) -> None:
    for _ in range(5):
        assert _flow(world) == "closed" if world.rows("select 1 from private.connection_flow") else True
        _tried(world, **FAILED)
    assert (_flow(world), _tried(world)["reason"]) == ("open", "circuit_open")
    alert = "select status, contact from app.alerts where kind = 'connection.circuit_open'"
    [(status, contact)] = world.rows(alert)
    assert (status, bool(contact)) == ("open", True)
    world.owner.execute(OVER)
    probe = world.claim(world.note())
    assert (probe["claimed"], _flow(world), _tried(world)["reason"]) == (True, "half_open", "circuit_open")
    world.finish(ACME, probe, "retry", **FAILED)
    assert (_flow(world), _flow(world, "openings")) == ("open", 2)
    world.owner.execute(OVER)
    assert _tried(world, "succeeded", health="well")["status"] == "succeeded"
    assert (_flow(world), world.rows(alert)[0][0]) == ("closed", "resolved")


def test_refusals_do_not_open_it(world: World) -> None:
    for _ in range(8):
        _tried(world, "failed", health="well")
    assert _flow(world) == "closed"


def test_two_who_ask_at_once_get_different_work(world: World) -> None:
    ids = {world.note().id for _ in range(6)}
    first, second = (world.rows("select app.claim_due_actions_v1(3)")[0][0] for _ in range(2))
    got = [item["action_id"] for item in first + second]
    assert (len(got), len(set(got)), set(got) <= ids) == (6, 6, True)


def test_what_somebody_else_is_at_is_given_back(world: World) -> None:
    """The schedule was handed what a request executes just now; a retry of that does not wait for the handout's end."""
    action = world.note()
    claimed = world.claim(action)
    world.owner.execute(
        "insert into private.handouts values (%s, %s, now() + interval '45 seconds')", (ACME.id, action.id)
    )
    assert world.claim(action)["reason"] == "not_due"
    assert world.finish(ACME, claimed, "retry")["status"] == "authorized"
    work = world.rows("select app.claim_due_actions_v1(100)")[0][0]
    assert action.id in {item["action_id"] for item in work}


def test_what_was_not_sent_is_tried_again_whatever_the_caller_supposes(world: World) -> None:
    absences.publish(world)
    action = world.propose(ACME, absences.STAMP, {}, outcome="allow", effect="write")
    claimed = world.claim(action, lease_seconds=0)
    world.owner.execute("update app.attempts set sent_at = null where id = %s", (claimed["attempt_id"],))
    args = {"attempt_id": claimed["attempt_id"], "outcome": "unknown", "response": absences.MAYBE}
    assert world.call(ACME.system(), "expire_attempt_v1", args)["status"] == "authorized"
    assert not world.value("select private.may_have_happened(a) from app.actions a where id = %s", action.id)


def test_a_late_answer_is_kept_once_and_changes_nothing(world: World) -> None:
    absences.publish(world)
    late = absences.answered_late(world, ACME, "production")
    action = world.value("select action_id from app.attempts where id = %s", late["attempt_id"])
    assert world.call(ACME.system(), "note_late_answer_v1", late)["recorded"]
    assert not world.call(ACME.system(), "note_late_answer_v1", late)["recorded"]
    assert world.value("select status from app.actions where id = %s", action) == "unknown"
    with world.refuses("not_found"):
        world.call(ACME.system(), "note_late_answer_v1", late | {"fence": late["attempt_id"]})
    for statement in ("update app.late_answers set outcome = 'failed'", "delete from app.late_answers"):
        refused_everywhere(world, statement, reasons=("append_only",))


def test_an_answer_in_time_is_not_late(world: World) -> None:
    claimed = world.claim(world.note())
    with world.refuses("not_late"):
        world.call(ACME.system(), "note_late_answer_v1", absences.late(claimed))


def test_an_absence_is_conclusive_when_the_contract_says_so(world: World) -> None:
    absences.publish(world, conclusive_after=3600)
    action = absences.lost(world, ACME)
    seen = absences.looked(world, action)
    args = {"id": action.id, "observation_id": seen, "reason": "not there"}
    with world.refuses("too_early"):
        world.call(ACME.system(), "settle_absent_v1", args)


def test_what_did_not_happen_is_tried_again(world: World) -> None:
    absences.publish(world)
    action = absences.lost(world, ACME)
    alert = "select status from app.alerts where kind = 'action.unknown' and subject_id = %s"
    assert world.value(alert, action.id) == "open"
    args = {"id": action.id, "observation_id": absences.looked(world, action), "reason": "not there"}
    assert world.call(ACME.system(), "settle_absent_v1", args)["status"] == "authorized"
    assert world.value(alert, action.id) == "resolved"
    assert world.claim(action)["maybe_reached"] is False


@pytest.mark.parametrize("outcome", ["dead_letter", "unknown"])
def test_whoever_answers_for_the_workflow_is_told(world: World, outcome: str) -> None:
    action = world.note()
    world.finish(ACME, world.claim(action), outcome)
    [(severity, contact)] = world.rows(
        "select severity, contact from app.alerts where kind = %s and subject_id = %s", f"action.{outcome}", action.id
    )
    assert (severity, bool(contact), action.arguments["tool"]) == ("warning", True, NOTE)


def test_what_is_unknown_is_looked_up_with_growing_pauses_by_one_at_a_time(world: World) -> None:
    action = world.note()
    world.finish(ACME, world.claim(action), "unknown")
    pauses = []
    for _ in range(4):
        world.owner.execute("update private.lookups set next_at = now()")
        assert [item["action_id"] for item in world.rows("select app.claim_unknown_actions_v1(9)")[0][0]] == [action.id]
        assert world.rows("select app.claim_unknown_actions_v1(9)")[0][0] == []
        pauses.append(world.value("select round(extract(epoch from next_at - now()) / 60)::int from private.lookups"))
    assert pauses == [5, 15, 60, 60]
