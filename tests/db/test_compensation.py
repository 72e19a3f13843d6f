"""Undoing, attacked: twice, somebody else's, of what did not succeed, by another tool, in another's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.errors import UniqueViolation

from api.ids import new_id
from sandbox.postgres import Server
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, GLOBEX, NOTE, Row
from tests.db.undo import TAG, UNTAG, publish, tagged, undo, undoing
from tests.db.world import DENIED, Action, World, refusal

#: How an owner of the table writes an undo past every function.
FORGED = (
    "insert into app.actions (tenant_id, id, environment, run_id, workflow_id, workflow_version, tool,"
    " contract_version, effect, connection_id, payload, digest, status, required_approvals, required_roles,"
    " required_aal, proposed_by_kind, proposed_by, expires_at, compensates)"
    " select tenant_id, gen_random_uuid(), environment, run_id, workflow_id, workflow_version, tool, contract_version,"
    " effect, connection_id, payload, digest, 'authorized', 0, required_roles, required_aal,"
    " proposed_by_kind, proposed_by, expires_at, %s from app.actions where id = %s"
)


@pytest.fixture(scope="module")
def world(cluster: Server) -> Iterator[World]:
    with world_from(cluster, peopled(cluster)) as made:
        publish(made)
        yield made


def as_owner(world: World, claims: Row, statement: str, *values: object) -> None:
    """Runs a statement as the owner of every table, with somebody's claims."""
    with world.owner.transaction():
        world.owner.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        world.owner.execute(statement.encode(), values)


def free(world: World, **more: str) -> Action:
    """An action of the undoing tool that undoes nothing: what a forged undo is copied from."""
    return world.propose(ACME, UNTAG, {"tag": str(new_id())}, outcome="allow", effect="write", **more)


def test_an_undo_is_an_action_that_names_what_it_undoes(world: World) -> None:
    done = tagged(world, ACME)
    answer = undo(world, done)
    assert (answer["recorded"], answer["status"], answer["compensates"]) == (True, "authorized", done.id)
    kept = world.rows("select compensates::text, tool, proposed_by::text from app.actions where id = %s", answer["id"])
    assert kept == [(done.id, UNTAG, ACME.agent)]
    told = [e for e in world.events() if e.get("action_id") == answer["id"] and e["type"] == "action.proposed"]
    assert told[0]["what"]["compensates"] == done.id


def test_nothing_is_undone_twice(world: World) -> None:
    done, forged = tagged(world, ACME), free(world)
    first = undo(world, done)
    with world.refuses("undo_under_way"):
        undo(world, done)
    with world.refuses("undo_under_way"):
        as_owner(world, ACME.service(), FORGED, done.id, forged.id)
    # The guard switched off, as only a superuser can: the index is there too.
    with refusal(UniqueViolation), world.root.transaction():
        world.root.execute("set local session_replication_role = replica")
        world.root.execute("alter table app.actions disable trigger user")
        world.root.execute(FORGED.encode(), (done.id, forged.id))
    claimed = world.call(
        ACME.system(), "claim_attempt_v1", {"action_id": first["id"], "attempt_id": str(new_id()), "lease_seconds": 60}
    )
    world.finish(ACME, claimed)
    with world.refuses("undone_already"):
        undo(world, done)
    with world.refuses("undone_already"):
        as_owner(world, ACME.service(), FORGED, done.id, forged.id)


def test_of_two_undos_at_once_the_second_waits_and_is_refused(world: World) -> None:
    done = tagged(world, ACME)
    mine, theirs = (undoing(world, done.id, ACME, "production") for _ in range(2))
    with (
        world.database.connect("countersign_api", autocommit=False) as first,
        world.waiter() as second,
        ThreadPoolExecutor(1) as pool,
    ):
        world.call(ACME.service(), "compensate_action_v1", mine, connection=first)
        late = pool.submit(world.call, ACME.user(), "compensate_action_v1", theirs, connection=second)
        world.until_somebody_waits(late)
        first.commit()
        with refusal("undo_under_way"):
            late.result(timeout=120)


def test_what_came_to_nothing_may_be_tried_again(world: World) -> None:
    done = tagged(world, ACME)
    denied = undo(world, done, outcome="deny")
    assert denied["status"] == "denied"
    first = undo(world, done)
    world.call(ACME.user("operator"), "cancel_action_v1", {"id": first["id"], "reason": "not now"})
    assert undo(world, done)["status"] == "authorized"
    with world.refuses("immutable_column"):
        as_owner(world, ACME.system(), "update app.actions set compensates = null where id = %s", first["id"])


@pytest.mark.parametrize("status", ["authorized", "failed", "unknown", "dead_letter", "cancelled"])
def test_only_what_succeeded_is_undone(world: World, status: str) -> None:
    action = world.propose(ACME, TAG, {"tag": str(new_id())}, outcome="allow", effect="write")
    if status == "cancelled":
        world.call(ACME.user("operator"), "cancel_action_v1", {"id": action.id, "reason": "no"})
    elif status != "authorized":
        world.finish(ACME, world.claim(action), status)
    assert world.status(action) == status
    with world.refuses("not_succeeded"):
        undo(world, action)
    forged = free(world)
    with world.refuses("not_succeeded"):
        as_owner(world, ACME.service(), FORGED, action.id, forged.id)
    if status == "unknown":
        world.call(ACME.user(), "reconcile_action_v1", {"id": action.id, "outcome": "succeeded", "reason": "seen"})
        assert undo(world, action)["recorded"]


def test_nobody_undoes_what_another_tenant_did(world: World) -> None:
    theirs, forged = tagged(world, GLOBEX), free(world)
    mine = undoing(world, theirs.id, ACME, "production")
    for claims in (ACME.service(), ACME.user(), ACME.system()):
        with world.refuses("not_found"):
            world.call(claims, "compensate_action_v1", mine)
        with world.refuses("not_found"):
            world.call(claims, "describe_undo_v1", {"id": theirs.id})
    with world.refuses("not_found"):
        as_owner(world, ACME.service(), FORGED, theirs.id, forged.id)
    with world.refuses("not_found"):
        world.call(ACME.user(), "undo_run_v1", {"id": str(new_id()), "run_id": GLOBEX.run(), "reason": "x"})


def test_a_key_of_the_other_environment_undoes_nothing(world: World) -> None:
    done = tagged(world, ACME)
    with world.refuses("not_found"):
        world.call(ACME.service("sandbox"), "compensate_action_v1", undoing(world, done.id, ACME, "production"))


def test_an_action_is_undone_by_its_contract_s_own_tool_and_in_its_run(world: World) -> None:
    done = tagged(world, ACME)
    with world.refuses("not_its_undo"):
        undo(world, done, tool=TAG)
    note = world.note()
    world.finish(ACME, world.claim(note))
    with world.refuses("not_its_undo"):  # a note cannot be taken back
        undo(world, note)
    with world.refuses("not_its_undo"):
        undo(world, done, tool=NOTE)
    undone = undo(world, done)
    world.finish(ACME, world.claim(Action(ACME, undone["id"], "", "", "", "", "production", {})))
    with world.refuses("undo_of_undo"):
        undo(world, Action(ACME, undone["id"], "", "", "", "", "production", {}), tool=TAG)


def test_nobody_reaches_the_tables(world: World) -> None:
    done = tagged(world, ACME)
    with world.database.connect("countersign_api", autocommit=False) as forged:
        forged.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(ACME.user()),))
        forged.execute("set local role authenticated")
        with refusal(DENIED):
            forged.execute(FORGED.encode(), (done.id, done.id))


def test_a_plan_is_asked_for_in_one_s_own_name_and_only_goes_forward(world: World) -> None:
    run: Row = {"id": str(new_id()), "workflow": ACME.slug(), "trigger": "call", "instruction": "x", "subject": None}
    world.call(ACME.service(), "start_run_v1", run)
    first, second = (tagged(world, ACME, run_id=run["id"]) for _ in range(2))
    plan = {"id": str(new_id()), "run_id": run["id"], "reason": "a mistake"}
    with world.refuses("permission_denied"):
        world.call(ACME.user("auditor"), "undo_run_v1", plan)
    with world.refuses("permission_denied"):
        world.call(ACME.system(), "undo_run_v1", plan)
    world.call(ACME.user("operator"), "undo_run_v1", plan)
    with world.refuses("undo_under_way"):
        world.call(ACME.user(), "undo_run_v1", plan | {"id": str(new_id())})
    # In somebody else's name, by direct SQL; and a step of another run's action.
    forged = (
        "insert into app.undo_plans (tenant_id, id, environment, run_id, reason, requested_by_kind, requested_by)"
        " values (%s, gen_random_uuid(), 'production', %s, 'x', 'user', %s)"
    )
    with world.refuses("not_the_proposer"):
        as_owner(world, ACME.service(), forged, ACME.id, ACME.run(), ACME.person("operator"))
    step = (
        "insert into app.undo_steps (tenant_id, environment, plan_id, position, action_id)"
        " values (%s, 'production', %s, 9, %s)"
    )
    elsewhere = tagged(world, ACME)
    with world.refuses("undo_elsewhere"):
        as_owner(world, ACME.system(), step, ACME.id, plan["id"], elsewhere.id)

    # The last write first; the schedule proposes in the asker's name, and only the plan's own step.
    advance: Row = {"plan_id": plan["id"]}
    due = world.call(ACME.system(), "advance_undo_v1", advance)
    assert (due["state"], due["action_id"]) == ("next", second.id)
    with world.refuses("step_settled"):  # the system undoes nothing that nobody asked to undo
        undo(world, elsewhere, ACME.system())
    args = undoing(world, second.id, ACME, "production") | advance
    undone = world.call(ACME.system(), "compensate_action_v1", args)
    kept = world.rows("select proposed_by_kind, proposed_by::text from app.actions where id = %s", undone["id"])
    assert kept == [("user", ACME.person("operator"))]
    assert world.call(ACME.system(), "advance_undo_v1", advance)["state"] == "waiting"
    with world.refuses("step_settled"):
        world.call(ACME.system(), "compensate_action_v1", args)
    world.finish(ACME, world.claim(Action(ACME, undone["id"], "", "", "", "", "production", {})))
    due = world.call(ACME.system(), "advance_undo_v1", advance)
    assert (due["state"], due["action_id"]) == ("next", first.id)

    # Who asked has left: nothing more is undone in his name, whoever writes the row.
    world.call(ACME.user(), "change_role_v1", {"user_id": ACME.person("operator"), "role": "auditor"})
    args = undoing(world, first.id, ACME, "production") | advance
    with world.refuses("asker_gone"):
        world.call(ACME.system(), "compensate_action_v1", args)
    copied = FORGED.replace("proposed_by_kind, proposed_by, expires_at, %s", "'user', %s::uuid, expires_at, %s")
    forged_of = free(world, run_id=run["id"])
    with world.refuses("not_the_proposer"):
        as_owner(world, ACME.system(), copied, ACME.person("operator"), first.id, forged_of.id)
    settle = advance | {"action_id": first.id, "code": "asker_gone", "reason": "He has left."}
    assert world.call(ACME.system(), "settle_undo_step_v1", settle)["settled"]
    assert world.call(ACME.system(), "advance_undo_v1", advance)["state"] == "finished"
    for statement in (
        "update app.undo_plans set status = 'running', finished_at = null where id = %s",
        "delete from app.undo_plans where id = %s",
        "update app.undo_steps set status = 'waiting', code = null where plan_id = %s",
        "delete from app.undo_steps where plan_id = %s",
        "update app.undo_plans set requested_by = gen_random_uuid() where id = %s",
    ):
        with world.refuses(note=statement):
            as_owner(world, ACME.system(), statement, plan["id"])


def test_a_requeue_is_a_person_s_own_and_counts_truly(world: World) -> None:
    action = world.note()
    world.finish(ACME, world.claim(action), "dead_letter")
    forged = (
        "insert into app.requeues (tenant_id, environment, action_id, attempts, reason, requeued_by)"
        " values (%s, 'production', %s, 99, 'x', %s)"
    )
    for claims, code in ((ACME.system(), "permission_denied"), (ACME.user("approver"), "people_only")):
        with world.refuses(code):
            as_owner(world, claims, forged, ACME.id, action.id, ACME.person("owner"))
    as_owner(world, ACME.user("owner"), forged, ACME.id, action.id, ACME.person("owner"))
    assert world.value("select attempts from app.requeues where action_id = %s", action.id) == 1
    alive = world.note()
    with world.refuses("not_a_dead_letter"):
        as_owner(world, ACME.user("owner"), forged, ACME.id, alive.id, ACME.person("owner"))
