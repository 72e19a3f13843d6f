"""Sixteen processes on one queue: nothing is lost, nothing is done twice, and who asks at once gets different work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.concurrency.world import World

pytestmark = pytest.mark.slow

PROCESSES, ACTIONS = 16, 160


def hold(world: World) -> None:
    """Lets every connection of the organisation be one that takes no call for an hour."""
    world.rows(
        "insert into private.connection_flow (tenant_id, connection_id, closed_until)"
        " select tenant_id, id, now() + interval '1 hour' from app.connections where tenant_id = %s"
        " on conflict (tenant_id, connection_id) do update set closed_until = excluded.closed_until returning 1",
        world.organisation.tenant_id,
    )


def queue(world: World, number: int) -> list[str]:
    """So many notes, authorized and held; none has an attempt."""
    hold(world)
    with ThreadPoolExecutor(4) as pool:
        ids = [str(action["id"]) for action in pool.map(world.propose, [world.note() for _ in range(number)])]
    assert set(world.statuses(ids).values()) == {"authorized"}
    return ids


@contextmanager
def executors(world: World, number: int) -> Iterator[None]:
    """So many processes that do what is due, until the end of the block."""
    command = [sys.executable, "-m", "tests.chaos.worker", "--function", "execute_actions"]
    settings = os.environ | world.stack.environment() | {"COUNTERSIGN_POOL_SIZE": "2"}
    with (world.stack.state / "executors.log").open("ab") as log:
        started = [
            subprocess.Popen(command, cwd=CHECKOUT, env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            for _ in range(number)
        ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def notes_of(world: World, ids: list[str]) -> Counter[str]:
    """How often the CRM has each, by its own file."""
    rows: list[dict[str, Any]] = world.outside("crm", "select idempotency_key from notes")
    keys = Counter(str(row["idempotency_key"]).removeprefix("cs_") for row in rows)
    return Counter({action: keys[action] for action in ids})


def test_two_who_ask_at_once_are_handed_different_work(world: World) -> None:
    ids = queue(world, 20)
    world.calm()

    def asked(connection: psycopg.Connection[dict[str, Any]]) -> set[str]:
        (row,) = connection.execute("select app.claim_due_actions_v1(15) as work").fetchall()
        return {item["action_id"] for item in row["work"]}

    with world.database() as one, world.database() as other, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(asked, (one, other))
    assert not first & second
    assert first | second == set(ids)
    assert set(world.settle(ids).values()) == {"succeeded"}
    assert set(notes_of(world, ids).values()) == {1}


def test_sixteen_processes_on_one_queue_lose_nothing_and_double_nothing(world: World) -> None:
    ids = queue(world, ACTIONS)
    assert not notes_of(world, ids).total()
    with executors(world, PROCESSES):
        world.calm()
        eventually(lambda: set(world.statuses(ids).values()) == {"succeeded"}, "all of the queue is done", seconds=300)
    assert notes_of(world, ids) == Counter(dict.fromkeys(ids, 1))
    taken = world.rows(
        "select action_id::text, count(*) as n from app.attempts where action_id = any (%s::uuid[]) group by 1", ids
    )
    assert {row["action_id"]: row["n"] for row in taken} == dict.fromkeys(ids, 1)
    world.check()
