"""What a provider allows is kept by all processes together: its journal never shows more, and all is done at last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.concurrency.patience import eventually
from tests.concurrency.test_one_queue import executors, notes_of, queue
from tests.concurrency.world import World

pytestmark = pytest.mark.slow

PROCESSES = 4
NUMBER, SECONDS, NOTES = 20, 4, 30
#: Seconds that the provider asks for.
PAUSE = 4


@pytest.fixture
def limited(world: World) -> Iterator[World]:
    """The CRM takes so many calls of one connection in so many seconds."""
    world.rows(
        "insert into private.provider_limits (provider, name, requests, seconds, per)"
        " values ('sandbox_crm', 'narrow', %s, %s, 'connection') returning 1",
        NUMBER,
        SECONDS,
    )
    yield world
    world.rows("delete from private.provider_limits where name = 'narrow' returning 1")


def arrivals(world: World, after: int, ids: list[str]) -> list[tuple[datetime, dict[str, Any]]]:
    """When each call reached the CRM, by its journal, and the attempt that made it; in the order of arrival."""
    made: dict[str, list[dict[str, Any]]] = {action: world.attempts(action) for action in ids}
    found = []
    for entry in world.journal("crm", "notes.create", after):
        action = str(entry["idempotency_key"]).removeprefix("cs_")
        if action in made:
            found.append((datetime.fromisoformat(entry["at"]), made[action].pop(0)))
    return found


def test_four_processes_keep_to_what_one_connection_may(limited: World) -> None:
    world = limited
    ids, start = queue(world, NOTES), world.journal_end("crm")
    with executors(world, PROCESSES):
        world.calm()
        eventually(lambda: set(world.statuses(ids).values()) == {"succeeded"}, "all of the queue is done", seconds=300)
    seen = arrivals(world, start, ids)
    assert len(seen) == NOTES
    times = sorted(at for at, _ in seen)
    # Calls are counted when they are claimed, and arrive a little later: by so much a window may look shorter there.
    on_the_way = max((at - attempt["started_at"]).total_seconds() for at, attempt in seen)
    spans = [(times[i + NUMBER] - times[i]).total_seconds() for i in range(NOTES - NUMBER)]
    assert min(spans) >= SECONDS - on_the_way, (min(spans), on_the_way)
    assert notes_of(world, ids).most_common(1)[0][1] == 1
    # Who had to wait has waited without an attempt.
    assert [len(world.attempts(action)) for action in ids] == [1] * NOTES
    world.check()


def test_a_pause_that_the_provider_asks_of_one_process_holds_for_all(world: World) -> None:
    ids, start = queue(world, 12), world.journal_end("crm")
    world.break_next("crm", "notes.create", "rate_limit", retry_after=PAUSE)
    with executors(world, PROCESSES):
        world.calm()
        eventually(lambda: set(world.statuses(ids).values()) == {"succeeded"}, "all of the queue is done", seconds=300)
    [told] = [e for e in world.journal("crm", "notes.create", start) if e["status"] == 429]
    [refused] = [a for i in ids for a in world.attempts(i) if a["status"] == "failed"]
    assert str(told["idempotency_key"]) == refused["idempotency_key"]
    # From when it was noted; who claimed at that same moment may still have got through.
    waits = [
        (attempt["started_at"] - refused["finished_at"]).total_seconds() for i in ids for attempt in world.attempts(i)
    ]
    assert not [wait for wait in waits if PAUSE / 2 < wait < PAUSE], sorted(waits)
    assert max(waits) >= PAUSE
    assert set(notes_of(world, ids).values()) == {1}
    world.check()


def test_a_read_before_a_write_that_has_to_wait_uses_up_no_try(world: World) -> None:
    held = (
        "insert into private.connection_flow (tenant_id, connection_id, closed_until)"
        " values (%s, %s, now() + interval '1 hour') on conflict (tenant_id, connection_id)"
        " do update set closed_until = excluded.closed_until returning 1"
    )
    world.calm()
    world.rows(held, world.organisation.tenant_id, world.organisation.connections["sandbox_crm/read"])
    action = world.do(world.message())
    [first] = eventually(
        lambda: [a for a in world.attempts(action) if a["status"] == "failed"], "the attempt was put off"
    )
    assert (first["put_off"], first["sent_at"]) == (True, None)
    due = "select next_attempt_at > now() + interval '30 minutes' as later from app.actions where id = %s"
    assert world.rows(due, action) == [{"later": True}]
    assert world.settle([action]) == {action: "succeeded"}
    assert [a["put_off"] for a in world.attempts(action)] == [True, False]


def test_those_claimed_at_once_do_not_keep_each_other_from_reading_before_they_write(world: World) -> None:
    """Each of these takes two calls of one account, which takes two at once and then one every half second."""
    narrow = (
        "insert into private.provider_limits (provider, name, requests, seconds, per)"
        " values ('sandbox_crm', 'one_by_one', 10, 5, 'account') returning 1"
    )
    ids = world.park(world.message() for _ in range(3))
    world.rows(narrow)
    try:
        world.calm()
        assert world.settle(ids) == dict.fromkeys(ids, "succeeded")
    finally:
        world.rows("delete from private.provider_limits where name = 'one_by_one' returning 1")
    world.check()
