"""Runs that are driven here: their steps, states and number at once, attacked down to the tables' owner."""

from __future__ import annotations

import psycopg
import pytest

from api.ids import new_id
from tests.db import hooks, loops
from tests.db import stopped as by_hand
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World, refusal

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


def test_who_starts_a_run_approves_nothing_of_it(world: World) -> None:
    """The system proposes in it; but he said what it is about. Whoever writes the row."""
    run: Row = {"id": str(new_id()), "workflow": ACME.slug("production"), "instruction": "Pay.", "subject": None}
    world.call(ACME.user(), "queue_run_v1", run)
    loops.claimed(world, ACME, run["id"])
    action = world.payment(by=ACME.system(), run_id=run["id"])
    row = (
        "insert into app.approvals (tenant_id, id, environment, action_id, run_id, digest, user_id, role, aal, verdict,"
        " expires_at) select tenant_id, gen_random_uuid(), environment, id, run_id, digest, %s, 'owner', 'aal2',"
        " 'approve', now() + interval '1 hour' from app.actions where id = %s"
    )
    values = (ACME.person("owner"), action.id)
    refused_everywhere(world, row, *values, claims=ACME.user(), reasons=("own_run",))
    with world.refuses("own_run"):
        world.approve(action, "owner")
    assert world.approve(action, "owner2")["status"] == "approved"


def test_nor_of_what_somebody_else_has_run_again_for_him(world: World) -> None:
    """The words are still his; and whoever has it run again, however often, is another who started it."""
    run: Row = {"id": str(new_id()), "workflow": ACME.slug("production"), "instruction": "Pay.", "subject": None}
    world.call(ACME.user(), "queue_run_v1", run)
    for who in ("operator", "owner2"):
        held = loops.claimed(world, ACME, run["id"])
        world.call(ACME.system(), "take_run_step_v1", held | {"step": None, "status": "failed", "reason": "no bank"})
        again = {"id": str(new_id()), "run_id": run["id"], "reason": "the bank is back"}
        run = world.call(ACME.user(who), "restart_run_v1", again)
    loops.claimed(world, ACME, run["id"])
    action = world.payment(by=ACME.system(), run_id=run["id"])
    for who in ("owner", "owner2"):
        with world.refuses("own_run"):
            world.approve(action, who)
    assert world.approve(action, "approver")["status"] == "approved"


def test_with_duties_separated_neither_does_who_made_the_account_that_started_it(world: World) -> None:
    """An account that starts a run by its key has its maker and the keys' issuers behind it, as when it proposes."""
    world.call(ACME.user("owner2"), "update_tenant_v1", {"if_match": None, "separation_of_duties": True})
    run = loops.queued(world, ACME, "production")
    loops.claimed(world, ACME, run)
    action = world.payment(by=ACME.system(), run_id=run)
    with world.refuses("own_run"):
        world.approve(action, "owner")
    assert world.approve(action, "owner2")["status"] == "approved"


def test_what_waits_for_room_holds_no_other_workflow_up(world: World) -> None:
    """Hundreds that cannot begin take no turn: not another workflow's, and not that of a run under way."""
    for _ in range(20):
        loops.claimed(world, ACME, loops.queued(world, ACME))
    for _ in range(60):
        loops.queued(world, ACME)
    other, elsewhere = loops.queued(world, ACME, "production"), loops.queued(world, GLOBEX)
    due = world.value("select app.claim_due_runs_v1(50)")
    assert {item["run_id"] for item in due} >= {other, elsewhere}
    assert not any(item["run_id"] not in (other, elsewhere) and item["tenant_id"] == ACME.id for item in due)


def test_only_so_many_runs_wait_to_begin(world: World) -> None:
    """A flood of events is told to come again; what is known already is still known."""
    world.owner.execute("create or replace function private.most_queued() returns integer language sql as 'select 3'")
    slot = loops.scheduled(ACME, "sandbox")
    world.call(ACME.system(), "start_scheduled_run_v1", slot)
    for _ in range(2):
        loops.queued(world, ACME)
    with world.refuses("too_many_queued"):
        loops.queued(world, ACME)
    again = world.call(ACME.system(), "start_scheduled_run_v1", slot | {"id": str(new_id())})
    assert again["started"] is False
    loops.queued(world, ACME, "production")
    loops.queued(world, GLOBEX)


def test_a_slot_is_late_once_a_later_one_was_taken(world: World) -> None:
    """And while the run of one slot still waits to begin, the next starts none."""

    def take(slot: str) -> bool:
        args = loops.scheduled(ACME, "sandbox", slot=f"{slot}T04:00:00+00:00")
        started: bool = world.call(ACME.system(), "start_scheduled_run_v1", args)["started"]
        return started

    assert take("2026-01-01")
    assert not take("2025-01-01")  # an instance that was slow
    [(queued,)] = world.rows("select id::text from app.runs where tenant_id = %s and dedupe_key is not null", ACME.id)
    world.call(ACME.user(), "cancel_run_v1", {"id": queued, "reason": "not needed"})
    assert not take("2025-01-01")
    assert take("2026-01-02")
    assert not take("2026-01-03")  # the run of the second waits to begin


def test_a_switch_that_is_engaged_just_now_takes_no_slot(world: World) -> None:
    switch = world.stop(ACME, "workflow", ACME.workflow("sandbox"))
    slot = loops.scheduled(ACME, "sandbox")
    assert world.call(ACME.system(), "start_scheduled_run_v1", slot)["started"] is False
    assert world.value("select count(*) from private.schedule_marks where workflow_id = %s", slot["workflow_id"]) == 0
    world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "go on"})
    assert world.call(ACME.system(), "start_scheduled_run_v1", slot)["started"] is True


def test_what_failed_runs_again_once_and_for_the_same(world: World) -> None:
    """For a person, in his name, with the event and the words that it had; and its alert is closed."""
    event = hooks.event(hooks_trigger(world))
    world.call(ACME.system(), "accept_webhook_v1", event)
    held = loops.claimed(world, ACME, event["id"])
    world.call(ACME.system(), "take_run_step_v1", held | {"step": None, "status": "failed", "reason": "no bank"})
    again: Row = {"id": str(new_id()), "run_id": event["id"], "reason": "the bank is back"}
    for claims, reason in ((ACME.service(), "people_only"), (GLOBEX.user(), "not_found"),
                           (ACME.user("auditor"), "permission_denied")):  # fmt: skip
        with refusal(reason, note=claims):
            world.call(claims, "restart_run_v1", again)
    assert world.call(ACME.user(), "restart_run_v1", again)["trigger"] == "webhook"
    with refusal("restarted_already"):
        world.call(ACME.user("operator"), "restart_run_v1", again | {"id": str(new_id())})
    with refusal("run_not_failed"):
        world.call(ACME.user(), "restart_run_v1", again | {"run_id": again["id"], "id": str(new_id())})
    said = "select status, instruction, subject, started_by, trigger_detail from app.runs where id = %s"
    (_, told, subject, _, detail), new = world.rows(said, event["id"])[0], world.rows(said, again["id"])[0]
    assert new == ("queued", told, subject, new[3], detail | {"restarts": event["id"], "reason": again["reason"]})
    assert str(new[3]) == ACME.user()["sub"]
    assert world.rows("select status from app.alerts where kind = 'run.failed' and subject_id = %s", event["id"]) == [
        ("resolved",)
    ]
    # What a provider delivers again is the event that there was.
    repeated = event | {"id": str(new_id())}
    assert world.call(ACME.system(), "accept_webhook_v1", repeated) == {"outcome": "known"}


def test_what_has_done_something_does_not_run_again(world: World) -> None:
    """It might do it twice; nor does what is erased, of which nobody knows any more what it was told."""
    run = loops.queued(world, ACME, "production")
    held = loops.claimed(world, ACME, run)
    action = world.note(by=ACME.system(), run_id=run)
    world.call(ACME.system(), "take_run_step_v1", held | {"step": None, "status": "failed", "reason": "too late"})
    again: Row = {"id": str(new_id()), "run_id": run, "reason": "again"}
    with refusal("run_has_acted"):
        world.call(ACME.user(), "restart_run_v1", again)
    attempt = world.claim(action)
    with refusal("run_has_acted"):
        world.call(ACME.user(), "restart_run_v1", again)
    world.finish(ACME, attempt, "failed", response={"status": 422, "reached": "no", "body": None})
    assert world.call(ACME.user(), "restart_run_v1", again)["instruction"] == world.value(
        "select instruction from app.runs where id = %s", run
    )
    other = loops.failed(world, ACME)
    world.rows("alter table app.runs disable trigger user")
    world.rows("update app.runs set erased_at = now(), instruction = '' where id = %s", other)
    with refusal("run_erased"):
        world.call(ACME.user(), "restart_run_v1", {"id": str(new_id()), "run_id": other, "reason": "again"})


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "waited"])
def test_nor_does_what_was_done_by_hand(world: World, stopped: bool) -> None:
    """Its action is denied or cancelled; and while it waits to be done by hand, it may be at any moment."""
    run = loops.queued(world, ACME, "production")
    held = loops.claimed(world, ACME, run)
    if stopped:
        world.stop()
        action = by_hand.manual(world, by=ACME.system(), run_id=run)
    else:
        action = world.payment(by=ACME.system(), run_id=run)
    world.call(ACME.system(), "take_run_step_v1", held | {"step": None, "status": "failed", "reason": "too late"})
    again: Row = {"id": str(new_id()), "run_id": run, "reason": "again"}
    with refusal("run_has_acted"):
        world.call(ACME.user(), "restart_run_v1", again)
    done = world.call(ACME.user("owner2"), "decide_exception_v1", world.verdict(action, "answer"))
    assert done["status"] == "answered"
    with refusal("run_has_acted"):
        world.call(ACME.user(), "restart_run_v1", again)


def hooks_trigger(world: World) -> str:
    """An address for the events of the CRM to ACME's workflow in production."""
    made = hooks.trigger(ACME)
    world.call(ACME.user("admin"), "create_webhook_trigger_v1", made)
    return str(made["id"])
