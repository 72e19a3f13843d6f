"""The API is killed at every step of an execution: nothing is lost and nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.auth import system
from api.ids import new_id
from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.concurrency.test_provider_faults import deliveries_of
from tests.concurrency.world import World

pytestmark = pytest.mark.slow
#: Of a provider's file: faults that have met nobody yet.
WAITING = "select 1 from faults where remaining > 0"


def crash(world: World) -> None:
    """SIGKILL, and a new process on the same port."""
    world.stack.kill("api")
    world.stack.restart("api")


def claim_and_die(world: World, action_id: str) -> None:
    """Takes the lease as an executor does, and is never heard of again."""
    claims = system(world.organisation.tenant_id, "execute_actions").to_claims()
    args = {"action_id": action_id, "attempt_id": str(new_id()), "lease_seconds": 1}
    with psycopg.connect(world.stack.databases.api, autocommit=True, prepare_threshold=None) as connection:
        row = connection.execute(
            "select app.call_v1(%s, 'claim_attempt_v1', %s) -> 'result' ->> 'claimed'", [claims, Jsonb(args)]
        ).fetchone()
    assert row == ("true",)


def test_after_the_claim_and_before_the_call(world: World) -> None:
    """Nobody has called the bank when the lease of the dead executor runs out; the next one does."""
    (action,) = world.park([world.payment()])
    claim_and_die(world, action)
    assert world.payments(action) == []
    assert world.settle([action]) == {action: "succeeded"}
    assert [a["status"] for a in world.attempts(action)] == ["failed", "succeeded"]
    assert len(world.journal("bank", "payments.create")) >= 1
    world.check()


def test_during_the_call_before_the_bank_has_worked(world: World) -> None:
    """The bank works after all, with nobody left to hear of it; the retry is answered from the bank's memory."""
    world.break_next("bank", "payments.create", "hang", seconds=300)
    action = world.do(world.payment())
    eventually(lambda: not world.outside("bank", WAITING), "the bank is asked")
    crash(world)
    world.let_pass([action])
    assert world.settle([action]) == {action: "succeeded"}
    world.mend("bank")
    eventually(lambda: len(deliveries_of(world, action)) == 2, "the bank gets to the first request")
    world.check()


def test_after_the_bank_has_worked_and_before_its_answer(world: World) -> None:
    world.break_next("bank", "payments.create", "hang", seconds=300, after=True)
    action = world.do(world.payment())
    eventually(lambda: world.payments(action), "the bank has paid")
    crash(world)
    world.mend("bank")
    world.let_pass([action])
    assert world.settle([action]) == {action: "succeeded"}
    assert [a["status"] for a in world.attempts(action)] == ["failed", "succeeded"]
    assert [entry["outcome"] for entry in deliveries_of(world, action)] == ["done", "replayed"]
    world.check()


def test_when_the_answer_got_lost_and_the_api_with_it(world: World) -> None:
    world.break_next("bank", "payments.create", "drop_after")
    action = world.do(world.payment())
    eventually(lambda: world.payments(action), "the bank has paid")
    crash(world)
    world.let_pass([action])
    assert world.settle([action]) == {action: "succeeded"}
    world.check()


def test_a_message_is_never_sent_again_and_found_by_reading_back(world: World) -> None:
    """What is not idempotent is `unknown` once its executor has died; the provider itself says what is so."""
    world.break_next("crm", "messages.send", "hang", seconds=300, after=True)
    action = world.do(world.message())
    eventually(lambda: world.messages(action), "the message is sent")
    crash(world)
    world.mend("crm")
    world.let_pass([action])
    assert world.settle([action]) == {action: "unknown"}
    for _ in range(3):
        world.tick()
    assert len(world.messages(action)) == 1
    assert len(world.attempts(action)) == 1
    assert world.reconcile(action).json()["status"] == "succeeded"
    assert len(world.messages(action)) == 1
    world.check()


def test_a_message_that_nobody_can_find_is_closed_by_a_person(world: World) -> None:
    world.break_next("crm", "messages.send", "error", status=500)
    action = world.do(world.message())
    assert world.settle([action]) == {action: "unknown"}
    answer = world.reconcile(action)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_found_at_provider")
    assert world.statuses([action]) == {action: "unknown"}
    assert world.reconcile(action, "failed").json()["status"] == "failed"
    assert world.reconcile(action, "succeeded").json()["code"] == "not_unknown"
    assert world.messages(action) == []
    world.check()


def test_an_executor_that_freezes_and_thaws_after_its_lease(world: World) -> None:
    """Somebody else has settled the action by then, so it sends nothing any more (a frozen function may thaw late)."""
    (action,) = world.park([world.message()])
    # It looks whether the message is there before it sends one; here that takes until it was frozen.
    world.break_next("crm", "messages.list", "hang", seconds=300)
    with world.settings({"COUNTERSIGN_LEASE_SECONDS": "3"}):
        ticking = threading.Thread(target=world.tick, daemon=True)
        ticking.start()
        eventually(lambda: not world.outside("crm", WAITING), "the CRM is asked")
        with world.frozen("api"):
            assert world.statuses([action]) == {action: "executing"}
            held = "select 1 from app.attempts where action_id = %s and lease_expires_at > now()"
            eventually(lambda: not world.rows(held, action), "the lease runs out")
            assert elsewhere(world)["expired_leases"] == 1
            assert world.statuses([action]) == {action: "authorized"}  # it was not sent
            before = world.journal_end("crm")
        world.mend("crm")
        ticking.join(timeout=120)
        assert not ticking.is_alive()
    assert world.journal("crm", "messages.send", before) == world.messages(action) == []
    assert world.settle([action]) == {action: "succeeded"}
    assert (len(world.attempts(action)), len(world.messages(action))) == (2, 1)
    assert world.settle([again := world.do(world.message())]) == {again: "succeeded"}
    world.check()


def elsewhere(world: World) -> Any:
    """One run of the scheduled function in another function instance, through its Lambda entry point."""
    code = "import json; from functions.execute_actions import handler; print(json.dumps(handler({}, None)))"
    command = [sys.executable, "-c", code]
    environment = os.environ | world.stack.environment()
    ended = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, timeout=120, check=True)
    return json.loads(ended.stdout)


def test_three_times_during_a_burst_of_payments(world: World) -> None:
    """20 payments are proposed and approved by clients that repeat what got no answer, while the API dies thrice."""
    bodies = [world.payment(100 + i) for i in range(20)]
    done: list[str] = []
    errors: list[BaseException] = []

    def work(share: list[dict[str, object]]) -> None:
        try:
            done.extend(world.do(body) for body in share)
        except BaseException as error:
            errors.append(error)
            raise

    workers = [threading.Thread(target=work, args=(bodies[i::4],)) for i in range(4)]
    for worker in workers:
        worker.start()
    for already in (3, 9, 15):
        while len(done) < already and any(worker.is_alive() for worker in workers):
            time.sleep(0.02)
        crash(world)
        time.sleep(0.1)
    for worker in workers:
        worker.join(timeout=300)
    assert not errors
    assert len(set(done)) == 20
    world.let_pass(done)
    assert set(world.settle(done).values()) == {"succeeded"}
    mine = world.rows(
        "select id::text from app.actions where payload::jsonb #>> '{args,reference}' = any (%s)",
        [str(body["args"]["reference"]) for body in bodies],
    )
    assert {row["id"] for row in mine} == set(done)
    world.check()


def test_what_an_executor_that_died_left_behind_is_settled_once(world: World) -> None:
    """Eight schedulers find the same dead attempts at the same time."""
    ids = world.park(world.payment() for _ in range(4))
    world.break_next("bank", "payments.create", "hang", times=4, seconds=300, after=True)
    ticking = threading.Thread(target=world.tick, daemon=True)
    ticking.start()
    eventually(lambda: any(world.payments(action) for action in ids), "the payments begin")
    crash(world)
    ticking.join(timeout=60)
    world.mend("bank")
    left = [a for a in ids if world.statuses([a])[a] == "executing"]
    assert left
    world.let_pass(left)
    with ThreadPoolExecutor(8) as pool:
        counts = [done.result() for done in [pool.submit(world.tick) for _ in range(8)]]
    assert sum(count["failed"] for count in counts) == 0
    assert set(world.settle(ids).values()) == {"succeeded"}
    assert {len(world.attempts(action)) for action in left} == {2}
    world.check()
