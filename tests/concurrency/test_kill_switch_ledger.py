"""Eight processes pay as fast as two hundred a second; a kill switch comes in the middle, and the ledger ends there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.ids import new_id
from sandbox.postgres import Server
from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, PAY, Row
from tests.db.world import World

pytestmark = pytest.mark.slow

PROCESSES = 8
#: Payments of each process, and how many it begins a second: 200 a second in all.
PAYMENTS, RATE = 40, 25
#: Seconds of paying before the switch, at least, and so many payments of all; each process keeps as many as it is
#: refused REFUSALS times after it.
BEFORE, PAID, REFUSALS = 1.0, 40, 3


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Two tenants, ready for business, in a database of this test's own."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


def _payers(world: World, ledger: Path) -> list[subprocess.Popen[str]]:
    claims = {"agent": ACME.service(), "person": ACME.user(), "executor": ACME.system()}
    command = [sys.executable, "-m", "tests.concurrency.paying", world.database.url("countersign_api")]
    command += [str(PAYMENTS), str(RATE), str(REFUSALS), str(ledger), json.dumps(claims)]
    command.append(json.dumps(world.proposal(ACME, PAY, limits=[])))
    started = [
        subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def _begin(payers: list[subprocess.Popen[str]]) -> None:
    for process in payers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def _ended(payers: list[subprocess.Popen[str]]) -> Counter[str]:
    ended: Counter[str] = Counter()
    for process in payers:
        out, _ = process.communicate("", timeout=120)
        ended.update(json.loads(out))
    return ended


def _engage(world: World, scope: str, target: str) -> Row:
    args = {"id": str(new_id()), "scope": scope, "target": target, "reason": "stop"}
    return world.call(ACME.user("operator", "aal1"), "engage_kill_switch_v1", args)


@pytest.mark.parametrize("scope", ["tenant", "connection"])
def test_nobody_is_paid_after_the_switch_but_who_was_in_flight(
    world: World, scope: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger"
    payers = _payers(world, ledger)
    try:
        _begin(payers)
        began = time.time()
        time.sleep(BEFORE)
        eventually(lambda: ledger.exists() and len(ledger.read_text().splitlines()) >= PAID, "some are paid")
        switch = _engage(world, scope, ACME.id if scope == "tenant" else ACME.connection("bank/write"))
        committed = time.time()
    finally:
        ended = _ended(payers)
    proof = switch["proof"]
    engaged = datetime.fromisoformat(proof["created_at"])
    paid: list[tuple[str, float]] = [
        (action, float(at)) for action, at in (line.split() for line in ledger.read_text().splitlines())
    ]
    rate = len([at for _, at in paid if at < engaged.timestamp()]) / (engaged.timestamp() - began)
    with capsys.disabled():
        print(f"\n{scope}: {rate:.0f} payments a second; {len(paid)} paid; {dict(ended)}")  # noqa: T201
    assert rate > 0
    assert ended["kill_switch_engaged"] >= PROCESSES * REFUSALS, ended

    attempts = world.rows("select action_id::text, sent_at, finished_at, started_at, status from app.attempts")
    assert [a for a in attempts if a[1] is not None and a[1] > engaged] == []
    assert [a for a in attempts if a[3] > engaged] == []
    # Each payment of the ledger was over before the switch, or is named as in flight; none is there twice.
    assert len({action for action, _ in paid}) == len(paid)
    in_flight = {line["action_id"] for line in proof["in_flight"]}
    over: set[Any] = {a[0] for a in attempts if a[4] == "succeeded" and a[2] < engaged}
    assert {action for action, _ in paid} <= over | in_flight
    assert {action for action, at in paid if at > committed} <= in_flight
    assert {action for action, at in paid if at > engaged.timestamp()} <= in_flight
    # And what was stopped has not moved, leased ones included.
    stopped = [line["action_id"] for part in ("queued", "leased") for line in proof[part]]
    assert {action for action, _ in paid}.isdisjoint(stopped)
    still = world.rows("select distinct status from app.actions where id = any (%s::uuid[])", stopped)
    assert still == [("authorized",)]
