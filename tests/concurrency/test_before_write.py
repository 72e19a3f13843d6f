"""A message that may have been sent: looked for before it is sent again, and never taken for unsent too early."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.concurrency.patience import eventually
from tests.concurrency.test_look_up import alerts, look, lost
from tests.concurrency.world import SEND, World

pytestmark = pytest.mark.slow
#: Of sandbox_crm.messages.send: after so many seconds an absence is conclusive.
CONCLUSIVE = 600


def arrive_late(world: World, action: str) -> None:
    """The CRM takes up what it was sent long ago: nobody is there any more to be told."""
    made = (
        "insert into messages (id, direction, at, from_address, to_address, subject, body, client_reference)"
        " values (?, 'out', '2026-11-28T00:00:00Z', 'desk@brightwater.example', 'ada@juniper.example', 'x', 'x', ?)"
    )
    world.outside_change("crm", made, f"msg_{action[-12:]}", f"cs_{action}")


def sent(world: World) -> int:
    return len(world.journal("crm", "messages.send"))


def test_an_absence_says_nothing_until_it_is_conclusive(world: World) -> None:
    """Then, and not before, what was never done is done: once."""
    action = lost(world, "error", status=500)
    world.let_pass([action], CONCLUSIVE - 120)
    look(world, action)
    assert world.statuses([action]) == {action: "unknown"}
    assert (len(world.attempts(action)), world.messages(action)) == (1, [])
    world.let_pass([action], 121)
    look(world, action)
    assert world.settle([action]) == {action: "succeeded"}
    assert (len(world.attempts(action)), len(world.messages(action))) == (2, 1)
    assert alerts(world, action) == [("action.unknown", "resolved")]
    world.check()


def test_what_an_earlier_attempt_wrote_after_all_is_found_and_not_written_again(world: World) -> None:
    action = lost(world, "error", status=500)
    world.let_pass([action], CONCLUSIVE + 1)
    switch = world.engage("tool", SEND)  # so that nothing is sent between the look and the late arrival
    look(world, action)
    assert world.statuses([action]) == {action: "authorized"}
    arrive_late(world, action)
    before = sent(world)
    world.release(switch)
    assert world.settle([action]) == {action: "succeeded"}
    assert (sent(world), len(world.messages(action))) == (before, 1)
    last = world.attempts(action)[-1]
    assert (last["status"], last["sent_at"], last["response"]["note"]) == ("succeeded", None, "already there")
    world.check()


def test_an_answer_after_the_lease_is_kept_and_changes_nothing(world: World) -> None:
    """Its executor is told so late that it was done: that settles nothing by itself."""
    world.calm()
    (action,) = world.park([world.message()])
    world.break_next("crm", "messages.send", "hang", seconds=300, after=True)
    ticking = threading.Thread(target=world.tick, daemon=True)
    ticking.start()
    eventually(lambda: world.messages(action), "the CRM has sent it")
    world.let_pass([action])  # its lease is over, and its executor is still waiting
    assert world.tick()["expired_leases"] == 1
    assert world.statuses([action]) == {action: "unknown"}
    world.mend("crm")
    late = "select outcome, response from app.late_answers where action_id = %s"
    (answer,) = eventually(lambda: world.rows(late, action), "the late answer is kept")
    ticking.join(timeout=60)
    assert (answer["outcome"], answer["response"]["reached"]) == ("succeeded", "yes")
    attempt = only(world.attempts(action))
    assert (attempt["status"], world.statuses([action])) == ("unknown", {action: "unknown"})
    # It is evidence: the next look goes by it, and sends nothing.
    look(world, action)
    assert world.statuses([action]) == {action: "succeeded"}
    assert (only(world.attempts(action))["status"], len(world.messages(action))) == ("unknown", 1)
    world.check()


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row
