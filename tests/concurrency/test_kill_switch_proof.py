"""Eight processes propose and have executed what they can; a kill switch comes in the middle, and its proof holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime

import pytest

from sandbox.organisation import ok
from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.concurrency.world import World, another

pytestmark = pytest.mark.slow

PROCESSES = 8
#: Seconds of proposing before the switch, and after it, at least.
BEFORE, AFTER = 2.0, 1.5


def _proposers(tenant: World) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.concurrency.proposing", tenant.organisation.stack.url["api"]]
    command += [tenant.organisation.key, json.dumps(tenant.note())]
    started = [
        subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def _counts(proposers: list[subprocess.Popen[str]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for process in proposers:
        out, _ = process.communicate("", timeout=120)
        for status, count in json.loads(out).items():
            total[status] = total.get(status, 0) + count
    return total


@pytest.mark.parametrize("scope", ["tenant", "connection"])
def test_nothing_is_sent_after_the_proof_and_nothing_arrives_that_it_does_not_name(
    world: World, scope: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = another(world, f"Proof {scope}")
    target = None if scope == "tenant" else tenant.organisation.connections["sandbox_crm/write"]
    proposers = _proposers(tenant)
    try:
        began = time.monotonic()
        time.sleep(BEFORE)
        eventually(lambda: _proposed(tenant, "succeeded"), "the first are done")
        seconds = time.monotonic() - began
        switch = tenant.engage(scope, target)
        time.sleep(AFTER)
        eventually(lambda: _proposed(tenant, "denied"), "the first are stopped")
    finally:
        counts = _counts(proposers)
    proof = switch["proof"]
    engaged = datetime.fromisoformat(proof["created_at"])
    assert counts["authorized"] > 0, "the switch came in the middle"
    assert counts["denied"] > 0, counts
    with capsys.disabled():
        print(f"\n{scope}: {counts['authorized'] / seconds:.0f} notes a second over HTTP before; {counts}")  # noqa: T201
    tenant.settle(line["action_id"] for line in proof["in_flight"])

    attempts = [(action, attempt) for action in _actions(tenant) for attempt in tenant.attempts(action)]
    assert attempts
    late = [attempt for _, attempt in attempts if attempt["sent_at"] is not None and attempt["sent_at"] > engaged]
    assert late == []
    assert [attempt for _, attempt in attempts if attempt["started_at"] > engaged] == []
    # What reached the CRM later is what the proof names as in flight, and nothing else.
    named = {line["action_id"] for line in proof["in_flight"]}
    arrived = {
        entry["idempotency_key"].removeprefix("cs_")
        for entry in tenant.journal("crm", "notes.create")
        if datetime.fromisoformat(entry["at"]) > engaged
    }
    ours = {action for action, _ in attempts}
    assert arrived & ours <= named
    assert all(line["lease_expires_at"] > proof["created_at"] for line in proof["in_flight"])
    # What it stopped has not moved; what was proposed after it is work for people.
    queued = {line["action_id"] for line in proof["queued"]}
    assert set(tenant.statuses(queued).values()) <= {"authorized"}
    shown = ok(tenant.organisation.owner.api.get(f"/v1/kill-switches/{switch['id']}"))
    assert {line["now"] for line in shown["proof"]["in_flight"]} <= {"succeeded"}
    assert shown["manual"] == counts["denied"]
    tenant.release(switch)


def _proposed(tenant: World, status: str) -> bool:
    some = "select 1 from app.actions where tenant_id = %s and status = %s limit 1"
    return bool(tenant.rows(some, tenant.organisation.tenant_id, status))


def _actions(tenant: World) -> list[str]:
    found = tenant.rows("select id::text as id from app.actions where tenant_id = %s", tenant.organisation.tenant_id)
    return [row["id"] for row in found]
