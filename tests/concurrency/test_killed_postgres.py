"""Postgres is killed under load: what it had promised is there when it comes back, and nothing is done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sandbox import postgres
from sandbox.organisation import ok, once
from tests.concurrency.patience import eventually
from tests.concurrency.world import World

pytestmark = pytest.mark.slow


def crash(world: World) -> None:
    """SIGKILL of the postmaster and all its children, and a start that recovers from the log."""
    with postgres_away(world):
        time.sleep(0.3)


@contextmanager
def postgres_away(world: World) -> Iterator[None]:
    postgres.kill(world.stack.state)
    try:
        yield
    finally:
        postgres.start(world.stack.state)


def all_at_once(work: Callable[[Any], None], shares: list[Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    return threads


def test_during_a_burst_of_proposals_and_approvals(durable: World) -> None:
    """Every answered proposal is kept, every repeated one is one action, every approved one is paid once."""
    bodies = [durable.payment(200 + i) for i in range(24)]
    done: dict[str, str] = {}

    def work(share: list[dict[str, Any]]) -> None:
        for body in share:
            done[str(body["args"]["reference"])] = durable.do(body)

    workers = all_at_once(work, [bodies[i::4] for i in range(4)])
    for already in (4, 14):
        while len(done) < already and any(worker.is_alive() for worker in workers):
            time.sleep(0.02)
        crash(durable)
    for worker in workers:
        worker.join(timeout=300)
    assert set(done) == {str(body["args"]["reference"]) for body in bodies}
    assert len(set(done.values())) == len(bodies)
    durable.let_pass(done.values())  # of a claim that was lost with its answer, nobody knows
    assert set(durable.settle(done.values()).values()) == {"succeeded"}
    recorded = durable.rows(
        "select id::text, payload::jsonb #>> '{args,reference}' as reference from app.actions"
        " where payload::jsonb #>> '{args,reference}' = any (%s)",
        list(done),
    )
    assert {row["reference"]: row["id"] for row in recorded} == done
    durable.check()


def test_between_the_banks_work_and_the_finish(durable: World) -> None:
    """The bank has paid and the database is away when that is to be recorded: it is recorded when it is back."""
    durable.break_next("bank", "payments.create", "hang", seconds=300, after=True)
    action = durable.do(durable.payment())
    eventually(lambda: durable.payments(action), "the bank has paid")
    with postgres_away(durable):
        durable.mend("bank")
        time.sleep(0.3)
    assert durable.settle([action]) == {action: "succeeded"}
    durable.check()


def test_a_finish_is_insisted_upon(durable: World) -> None:
    """A message cannot be repeated, so the executor goes on trying to record that it was sent, as long as it may."""
    durable.break_next("crm", "messages.send", "hang", seconds=300, after=True)
    action = durable.do(durable.message())
    eventually(lambda: durable.messages(action), "the message is sent")
    with postgres_away(durable):
        durable.mend("crm")
        time.sleep(0.3)
    # No scheduler is at work here: it is the executor itself that closes it.
    eventually(lambda: durable.statuses([action])[action] == "succeeded", "the executor records it")
    assert len(durable.attempts(action)) == 1
    durable.check()


def test_away_for_longer_than_the_lease(durable: World) -> None:
    """Nobody can record the payment in time; the next executor is told by the bank that it was made."""
    durable.break_next("bank", "payments.create", "hang", seconds=300, after=True)
    lease = 4
    with durable.settings({"COUNTERSIGN_LEASE_SECONDS": str(lease)}):
        action = durable.do(durable.payment())
        eventually(lambda: durable.payments(action), "the bank has paid")
        with postgres_away(durable):
            durable.mend("bank")
            time.sleep(lease + 0.5)
    assert durable.settle([action]) == {action: "succeeded"}
    assert len(durable.attempts(action)) == 2
    durable.check()


def test_the_api_works_again_without_a_restart(durable: World) -> None:
    """Right after the database is back, pooled connections of before are not handed to anybody."""
    for _ in range(8):
        ok(durable.agent.get("/v1/me"))
    crash(durable)
    assert [durable.agent.get("/v1/me").status_code for _ in range(8)] == [200] * 8
    answer = durable.agent.post("/v1/actions", json=durable.payment(), headers=once())
    assert answer.status_code == 201
    postgres.kill(durable.stack.state)
    answer = durable.agent.post("/v1/actions", json=durable.payment(), headers=once())
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]
    with pytest.raises(psycopg.OperationalError):
        durable.rows("select 1")
    postgres.start(durable.stack.state)
    assert durable.agent.get("/v1/me").status_code == 200
    durable.check()


def test_several_parts_at_once_during_execution(durable: World) -> None:
    """Database, API and bank die while twelve payments are under way."""
    ids = durable.park(durable.payment(300 + i) for i in range(12))
    durable.break_next("bank", "payments.create", "hang", times=12, seconds=300, after=True)
    ticking = threading.Thread(target=durable.tick, daemon=True)
    ticking.start()
    eventually(lambda: any(durable.payments(action) for action in ids), "the bank has begun to pay")
    durable.stack.kill("bank")
    postgres.kill(durable.stack.state)
    durable.stack.kill("api")
    postgres.start(durable.stack.state)
    durable.stack.restart("api")
    durable.stack.restart("bank")
    durable.mend("bank")
    ticking.join(timeout=60)
    durable.let_pass(ids)
    assert set(durable.settle(ids).values()) == {"succeeded"}
    durable.check()
