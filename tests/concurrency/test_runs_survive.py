"""Whoever drives runs is killed at any moment: each run goes on elsewhere, and nothing of it is done twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.organisation import ok, once
from sandbox.state import CHECKOUT
from tests.concurrency.patience import eventually
from tests.concurrency.world import NOTE, World

pytestmark = pytest.mark.slow
SLUG, VISITS, SEED = "call-back", 20, 20261128
STEPS = ["observe:bills", "observe:again", "reason", "propose:0", "propose:1", "settle"]


def loop() -> dict[str, Any]:
    """Two reads, a thought, and two notes that name their run."""

    def note(number: int) -> dict[str, Any]:
        return {
            "when": "size(observations.bills.bills) > 0",
            "propose": {
                "tool": NOTE,
                "args": {"contact_id": "con_ada", "body": f"Call {number} of {{subject/id}}"},
                "confidence": 0.95,
                "rationale": "asked for",
                "citations": ["say-why"],
                "evidence": ["bills"],
            },
        }

    return {
        "triggers": [{"kind": "call"}],
        "instruction": "Note on con_ada that she was called back.",
        "observe": [{"name": name, "tool": "sandbox_bank.bills.list"} for name in ("bills", "again")],
        "reasoner": {"kind": "rules", "rules": [note(1), note(2)]},
        "max_concurrent": 2 * VISITS,
    }


@contextmanager
def visits(world: World) -> Iterator[Any]:
    """Calls that begin a visit and kill it after so many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.concurrency.forks", "advance_runs"],
        cwd=CHECKOUT, env=os.environ | world.stack.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"

        def visit(seconds: float) -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield visit
    finally:
        process.stdin.close()
        process.wait(timeout=60)


def test_killed_at_any_moment_and_nothing_twice(world: World) -> None:
    world.organisation.go_live(SLUG, "Call back", world.spec() | {"loop": loop()})
    chance, ended, runs, bound = random.Random(SEED), Counter[str](), {}, 0.5
    early = 0.05
    places: set[tuple[int, ...]] = set()
    with visits(world) as visit:
        for number in range(VISITS):
            for name in (f"no-{number}-{n}" for n in range(2)):
                body = {"workflow": SLUG, "drive": "loop", "subject": {"type": "call", "id": name}}
                runs[ok(world.agent.post("/v1/runs", json=body, headers=once()))["id"]] = name
            before = steps_taken(world)
            moment = chance.uniform(early, bound)
            how = visit(moment)
            ended[how] += 1
            if how == "killed" and steps_taken(world) != before:
                ended["killed at work"] += 1
            # However fast this machine is: the moments close in on the midst of a visit.
            if how == "ended":
                bound = max(early + 0.1, moment)
            elif steps_taken(world) == before:
                early, bound = moment, max(bound, moment * 1.3)
            early, bound = early * 0.9, min(20.0, bound * 1.1)
            places |= {tuple(steps_taken(world))}
            # The time passes until the lease of the dead is over.
            world.rows("update private.run_work set lease_expires_at = now(), next_at = now() returning 1")
    assert ended["killed at work"] >= 3, ended
    assert len(places) >= 5, places
    complete(world, list(runs))
    for run_id, name in runs.items():
        steps = world.rows("select name, outcome from app.run_steps where run_id = %s order by number", run_id)
        assert [s["name"] for s in steps if s["outcome"] == "done"] == STEPS, steps
        actions = world.rows("select id::text, status from app.actions where run_id = %s", run_id)
        assert [action["status"] for action in actions] == ["succeeded", "succeeded"]
        notes = world.outside("crm", "select body from notes where body like ? order by body", f"Call _ of {name}")
        assert [note["body"] for note in notes] == [f"Call {number} of {name}" for number in (1, 2)]
    world.check()


def steps_taken(world: World) -> list[int]:
    """How many steps each run has taken that has taken any, in order of their ids."""
    return [row["n"] for row in world.rows("select count(*) as n from app.run_steps group by run_id order by run_id")]


def complete(world: World, runs: list[str]) -> None:
    """Lets everything come to its end, with nobody killed any more, and the leases of those who were over."""
    begun = world.rows("select id::text from app.actions where run_id = any (%s::uuid[])", runs)
    world.let_pass([row["id"] for row in begun])

    def over() -> bool:
        world.rows("update private.run_work set next_at = now() where lease_expires_at is null returning 1")
        world.stack.tick("advance_runs")
        world.tick()
        states = world.rows("select status from app.runs where id = any (%s::uuid[])", runs)
        assert not {row["status"] for row in states} & {"failed", "cancelled"}
        return {row["status"] for row in states} == {"completed"}

    eventually(over, "the runs are completed", seconds=180)
