"""Runs that are driven here: their steps, states and number at once, attacked down to the tables' owner."""

from __future__ import annotations

import psycopg
import pytest

from tests.db import loops
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World

INSERT = (
    "insert into app.run_steps (tenant_id, run_id, number, environment, name, outcome, started_at)"
    " values (%s, %s, 1, 'sandbox', %s, 'done', now())"
)


def _under_way(world: World) -> tuple[str, Row]:
    run = loops.queued(world, ACME)
    held = loops.claimed(world, ACME, run)
    world.call(ACME.system(), "take_run_step_v1", held | loops.step("observe:bills", "skipped"))
    return run, held


def test_what_was_done_in_a_run_is_not_rewritten(shared_world: World) -> None:
    run, _ = _under_way(shared_world)
    for statement in (
        "update app.run_steps set outcome = 'done' where run_id = %s",
        "delete from app.run_steps where run_id = %s",
    ):
        refused_everywhere(shared_world, statement, run, claims=ACME.system(), reasons=("append_only",))


@pytest.mark.parametrize(
    "claims", [ACME.user(), ACME.service("sandbox"), GLOBEX.system()], ids=["person", "key", "other"]
)
def test_nobody_but_the_tenants_own_function_takes_a_step(shared_world: World, claims: Row) -> None:
    run, _ = _under_way(shared_world)
    refused_everywhere(
        shared_world, INSERT, ACME.id, run, "reason", claims=claims, reasons=("permission_denied", "unauthenticated")
    )


def test_a_step_is_taken_once_and_only_in_a_run_that_is_driven_here(shared_world: World) -> None:
    run, _ = _under_way(shared_world)
    refused_everywhere(
        shared_world,
        INSERT,
        ACME.id,
        run,
        "observe:bills",
        claims=ACME.system(),
        reasons=(psycopg.errors.UniqueViolation,),
    )
    clients = ACME.run("sandbox")
    refused_everywhere(
        shared_world, INSERT, ACME.id, clients, "reason", claims=ACME.system(), reasons=("run_not_under_way",)
    )
    with standing(shared_world, "owner", ACME.system()) as owner:
        owner.execute(INSERT, (ACME.id, run, "reason"))  # whoever may, can: the refusals above are no accident


def test_a_run_moves_along_its_machine_and_only_by_the_function(shared_world: World) -> None:
    run, _ = _under_way(shared_world)
    queued = loops.queued(shared_world, ACME)
    move = "update app.runs set status = %s where id = %s"
    for status in ("queued", "active", "succeeded"):
        refused_everywhere(
            shared_world, move, status, run, claims=ACME.system(),
            reasons=("invalid_transition", psycopg.errors.CheckViolation),
        )  # fmt: skip
    refused_everywhere(shared_world, move, "waiting", queued, claims=ACME.system(), reasons=("invalid_transition",))
    for claims in (ACME.user(), GLOBEX.system()):
        refused_everywhere(shared_world, move, "running", queued, claims=claims, reasons=("permission_denied",))


def test_no_more_at_once_than_the_version_says(world: World) -> None:
    """Whatever the function says, and for the owner of the table too."""
    under_way = (
        "select count(*) from app.runs where tenant_id = %s and workflow_id = %s and status in ('running', 'waiting')"
    )
    workflow = ACME.workflow("sandbox")
    while world.value(under_way, ACME.id, workflow) < 20:
        loops.claimed(world, ACME, loops.queued(world, ACME))
    one_more = loops.queued(world, ACME)
    claim = {"run_id": one_more, "fence": one_more, "lease_seconds": 60}
    assert world.call(ACME.system(), "claim_run_v1", claim)["claimed"] is False
    refused_everywhere(
        world, "update app.runs set status = 'running' where id = %s", one_more, claims=ACME.system(),
        vantages=OWNER, reasons=("too_many_runs",),
    )  # fmt: skip


def test_one_event_starts_one_run(shared_world: World) -> None:
    slot = loops.scheduled(ACME, "sandbox")
    first = shared_world.call(ACME.system(), "start_scheduled_run_v1", slot)
    again = shared_world.call(
        ACME.system(), "start_scheduled_run_v1", slot | {"id": loops.scheduled(ACME, "sandbox")["id"]}
    )
    keyed = "select count(*) from app.runs where tenant_id = %s and dedupe_key is not null and trigger = 'schedule'"
    assert shared_world.value(keyed, ACME.id) == 1, (first, again)
    copied = (
        "insert into app.runs (tenant_id, id, environment, workflow_id, workflow_version, trigger, driven_by,"
        " dedupe_key, instruction, status, started_by_kind) select tenant_id, gen_random_uuid(), environment,"
        " workflow_id, workflow_version, trigger, driven_by, dedupe_key, instruction, 'queued', 'system' from app.runs"
        " where tenant_id = %s and dedupe_key is not null"
    )
    refused_everywhere(shared_world, copied, ACME.id, claims=ACME.system(), reasons=(psycopg.errors.UniqueViolation,))


def test_a_loop_goes_live_only_where_it_would_be_driven(world: World) -> None:
    """Control 5: nothing would take its runs on where the function does not run."""
    asked = {"slug": ACME.slug("sandbox"), "version": 1}
    world.owner.execute("delete from private.function_runs where function = 'advance_runs'")
    [five] = [one for one in world.call(ACME.user(), "readiness_v1", asked)["controls"] if one["control"] == 5]
    assert not five["verified"]
    assert any("advance_runs has not run well" in text for text in five["missing"]), five
    world.beat()
    [five] = [one for one in world.call(ACME.user(), "readiness_v1", asked)["controls"] if one["control"] == 5]
    assert not any("advance_runs" in text for text in five["missing"]), five
