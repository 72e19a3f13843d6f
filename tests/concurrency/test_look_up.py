"""What nobody knows the end of is looked up by itself, with growing pauses, and people are told meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.concurrency.world import World

pytestmark = pytest.mark.slow


def lost(world: World, kind: str, **more: Any) -> str:
    """A message of which nobody knows whether it was sent."""
    world.calm()
    world.break_next("crm", "messages.send", kind, **more)
    action = world.do(world.message())
    assert world.settle([action]) == {action: "unknown"}
    assert alerts(world, action) == [("action.unknown", "open")]
    return action


def alerts(world: World, action: str) -> list[tuple[str, str]]:
    rows = world.rows("select kind, status from app.alerts where subject_id = %s order by kind", action)
    return [(row["kind"], row["status"]) for row in rows]


def look(world: World, action: str) -> float:
    """Lets the next look be due and taken; the minutes until the one after it."""
    world.calm()
    due = "update private.lookups set next_at = now() where action_id = %s and next_at is not null returning 1"
    assert world.rows(due, action), "another look is planned"
    assert world.tick()["failed"] == 0
    planned = "select extract(epoch from next_at - now()) / 60 as minutes from private.lookups where action_id = %s"
    minutes = world.rows(planned, action)[0]["minutes"]
    return float(minutes) if minutes is not None else 0.0


def test_what_the_provider_shows_succeeds_by_itself(world: World) -> None:
    action = lost(world, "drop_after")
    look(world, action)
    assert world.statuses([action]) == {action: "succeeded"}
    assert alerts(world, action) == [("action.unknown", "resolved")]
    assert len(world.attempts(action)) == 1
    world.check()


def test_what_the_provider_does_not_show_stays_unknown_and_is_asked_less_and_less_often(world: World) -> None:
    action = lost(world, "error", status=500)
    pauses = [round(look(world, action)) for _ in range(4)]
    assert pauses == [5, 15, 60, 60]
    assert world.statuses([action]) == {action: "unknown"}
    assert alerts(world, action) == [("action.unknown", "open")]
    assert len(world.attempts(action)) == 1
