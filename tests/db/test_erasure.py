"""A run is erased when its time is over or a person asks: by one function, in one way, and the chain still verifies.

The workflow of tests/db/founding.py keeps what it reads for 30 days, financial data for 20 and personal data for 10.
"""

from __future__ import annotations

import json

import pytest

from api.ids import new_id
from tests.db import permits
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, ENVIRONMENTS, GLOBEX, NOTE, RUN_KEYS, Row
from tests.db.world import Action, World

WORDS = "Ada Lovelace 0123"
TABLES = ("runs", "actions", "attempts", "decisions", "exceptions")


@pytest.fixture
def done(world: World) -> Action:
    """A note that was written, in a run with keys and a read, all of it about somebody."""
    world.call(ACME.service(), "keep_run_keys_v1", {"run_id": ACME.run(), "keys": RUN_KEYS})
    read = world.call(ACME.service(), "claim_observation_v1", world.observation(args={"reference": WORDS}))
    world.call(ACME.service(), "finish_observation_v1", {"id": read["id"], "status": "succeeded", "digest": "sha256:ab"}
               | {"result": {"name": WORDS}, "labels": {"/name": {"trust": "trusted", "data_class": "personal"}}},
               key="read", request="read")  # fmt: skip
    action = world.note(rationale=WORDS)
    world.finish(
        ACME, world.claim(action), "succeeded", response={"status": 200, "reached": "yes", "body": {"n": WORDS}}
    )
    return action


def age(world: World, days: float) -> None:
    """Makes everything so many days old, which only the superuser can."""
    for table, column in (("runs", "created_at"), ("observations", "created_at"), ("observations", "finished_at"),
                          ("actions", "updated_at")):  # fmt: skip
        world.rows(f"alter table app.{table} disable trigger user")
        world.rows(f"update app.{table} set {column} = now() - %s * interval '1 day'", days)
        for (name,) in world.rows(
            "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal", f"app.{table}"
        ):
            world.rows(f"alter table app.{table} enable always trigger {name}")


def request(world: World, *runs: str, by: Row | None = None) -> str:
    args = {"id": str(new_id()), "subject": "A***", "reason": "asked", "searched_to": None, "run_ids": list(runs)}
    world.call(by or ACME.user(), "request_erasure_v1", args)
    return str(args["id"])


def erase(world: World, *runs: str, by: Row | None = None) -> int:
    args = {"ids": list(runs)}
    return int(world.call(by or ACME.system("purge_expired"), "erase_runs_v1", args)["erased"])


def keys(world: World) -> tuple[str, set[str]]:
    [(status, kept)] = world.rows("select status, keys from app.run_keys where run_id = %s", ACME.run())
    return status, set(kept)


def found(world: World, text: str) -> list[str]:
    """Every column of every table of ours that has the text in it."""
    where = []
    for table, column in world.rows(
        "select c.oid::regclass::text, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace in ('app'::regnamespace, 'private'::regnamespace) and c.relkind = 'r' and a.attnum > 0"
        " and not a.attisdropped and a.atttypid in ('text'::regtype, 'jsonb'::regtype, 'text[]'::regtype)"
    ):
        if world.value(f"select exists (select from {table} where {column}::text like %s)", f"%{text}%"):
            where.append(f"{table}.{column}")
    return where


def test_nothing_goes_while_it_is_to_be_kept(world: World, done: Action) -> None:
    age(world, 9.9)
    erase(world, ACME.run())
    assert keys(world) == ("kept", set(RUN_KEYS))
    assert "app.actions.rationale" in found(world, WORDS)


def test_the_key_of_a_class_goes_first(world: World, done: Action) -> None:
    """And with it what a model was told of it and thought, unless something is still thought or proposed."""
    age(world, 10.1)
    world.rows("alter table app.runs disable trigger user")
    for status, left in (("running", {"args", "payload", "prompt"}), ("waiting", {"args"})):
        driven = "update app.runs set driven_by = 'loop', status = %s where id = %s"
        world.rows(driven, status, ACME.run())
        assert erase(world, ACME.run()) == 1
        assert keys(world) == ("partly_destroyed", left)
    world.rows("update app.runs set driven_by = 'client', status = 'active' where id = %s", ACME.run())
    assert "app.observations.result" not in found(world, WORDS)
    event, later = [e for e in world.events() if e["type"].startswith("run_key.")][-2:]
    assert (event["type"], later["type"]) == ("run_key.partly_destroyed", "run_key.updated")
    assert set(later["what"]["destroyed"]) - set(event["what"]["destroyed"]) == {"payload", "prompt"}
    assert event["what"]["destroyed"]["observation:personal"]["why"] == "time"
    assert WORDS in world.value("select rationale from app.actions where id = %s", done.id)


@pytest.mark.parametrize("why", ["time", "request"])
def test_in_the_end_it_is_nowhere(world: World, done: Action, why: str) -> None:
    assert len(found(world, WORDS)) > 3
    digest = world.value("select digest from app.actions where id = %s", done.id)
    if why == "time":
        age(world, 30.1)
    else:
        request(world, ACME.run())
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        [work] = world.api.execute("select app.claim_expired_runs_v1(100)").fetchone() or [[]]
    assert ACME.run() in [item["id"] for item in work]
    assert erase(world, ACME.run()) == 1
    assert found(world, WORDS) == []
    assert keys(world) == ("destroyed", set())
    for table in TABLES:
        assert world.value(f"select count(*) from app.{table} where {_of_run(table)} and erased_at is null") == 0, table
    [(kept, payload)] = world.rows("select digest, payload::jsonb from app.actions where id = %s", done.id)
    assert (kept, payload["args"], payload["tool"]) == (digest, {}, NOTE)
    assert {d["why"] for d in world.value("select destroyed from app.run_keys").values()} == {why}
    assert world.verified()["ok"]
    assert erase(world, ACME.run()) == 0


def _of_run(table: str) -> str:
    return f"{'id' if table == 'runs' else 'run_id'} = '{ACME.run()}'"


def test_what_is_open_is_kept_until_it_is_settled(world: World, done: Action) -> None:
    waiting = world.payment(rationale=WORDS)
    request(world, ACME.run())
    erase(world, ACME.run())
    assert "app.actions.rationale" in found(world, WORDS)
    world.call(ACME.user("operator"), "cancel_action_v1", {"id": waiting.id, "reason": "no"})
    erase(world, ACME.run())
    assert found(world, WORDS) == []


def test_a_stored_permit_does_not_keep_what_it_was_for(world: World) -> None:
    world.call(ACME.service(), "keep_run_keys_v1", {"run_id": ACME.run(), "keys": RUN_KEYS})
    action = permits.authorized(world)
    permit = permits.claim(world, action, key="permit", request="permit")
    permits.report(world, action, permit)
    receipt = permit["args"]["receipt"]
    assert "app.idempotency_keys.answer" in found(world, receipt)
    forged = "update app.idempotency_keys set answer = answer || '{\"args\": null}' where answer ? 'attempt_id'"
    refused_everywhere(world, forged, claims=ACME.system("purge_expired"), vantages=OWNER, reasons=("append_only",))
    request(world, ACME.run())
    erase(world, ACME.run())
    assert found(world, receipt) == []
    again = permits.claim(world, action, key="permit", request="permit")
    assert (again["args"], again["attempt_id"]) == (None, permit["attempt_id"])


def test_nothing_new_is_kept_in_an_erased_run(world: World, done: Action) -> None:
    """What would come after the erasure would stay for ever: no run is erased twice."""
    request(world, ACME.run())
    erase(world, ACME.run())
    with world.refuses("run_erased"):
        world.note(rationale=WORDS)
    with world.refuses("run_erased"):
        world.call(ACME.service(), "claim_observation_v1", world.observation(args={"reference": WORDS}))
    for table in ("actions", "observations", "decisions"):
        copy = (
            f"insert into app.{table} select (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),"
            f" 'erased_at', null))).* from app.{table} t where run_id = '{ACME.run()}' limit 1"
        )
        for claims in ({}, ACME.service(), ACME.system("purge_expired")):
            refused_everywhere(world, copy, claims=claims, vantages=OWNER, reasons=("run_erased",))
    assert found(world, WORDS) == []


def test_only_a_person_who_may_asks_and_only_the_schedule_erases(world: World, done: Action) -> None:
    for by in (ACME.user("approver"), ACME.user("auditor"), ACME.service(), ACME.system()):
        with world.refuses("permission_denied"):
            request(world, ACME.run(), by=by)
    with world.refuses("second_factor_required", "aal2_required", "mfa_required"):
        request(world, ACME.run(), by=ACME.user("owner", "aal1"))
    request(world, ACME.run(), by=GLOBEX.user())  # finds nothing there
    assert world.value("select count(*) from app.erasure_runs") == 0
    request(world, ACME.run())
    for by in (ACME.user(), *(ACME.service(e) for e in ENVIRONMENTS)):
        with world.refuses("permission_denied"):
            erase(world, ACME.run(), by=by)
    assert erase(world, ACME.run(), by=GLOBEX.system("purge_expired")) == 0
    insert = (
        "insert into app.erasure_runs (tenant_id, erasure_id, run_id, environment)"
        " select tenant_id, erasure_id, run_id, environment from app.erasure_runs limit 1"
    )
    for claims in ({}, ACME.service(), ACME.system("purge_expired"), ACME.user("operator")):
        refused_everywhere(
            world, insert, claims=claims, vantages=OWNER, reasons=("permission_denied", "unauthenticated")
        )


def test_nobody_erases_early(world: World, done: Action) -> None:
    world.payment()
    for claims in ({}, ACME.user(), ACME.service(), ACME.system("purge_expired")):
        for table in TABLES:
            refused_everywhere(
                world, f"update app.{table} set erased_at = now() where {_of_run(table)}", claims=claims,
                vantages=OWNER, reasons=("not_due", "permission_denied", "unauthenticated"),
            )  # fmt: skip


def test_whoever_erases_writes_nothing_of_their_own(world: World, done: Action) -> None:
    request(world, ACME.run())
    for change in (
        "app.runs set erased_at = now(), instruction = 'forged'",
        "app.runs set erased_at = now(), status = 'completed'",
        "app.actions set erased_at = now(), rationale = 'forged'",
        "app.decisions set erased_at = now(), outcome = 'allow'",
        "app.attempts set erased_at = now(), status = 'failed'",
        "app.run_keys set keys = '{}'",
    ):  # fmt: skip
        column = "id" if "app.runs" in change else "run_id"
        refused_everywhere(
            world, f"update {change} where {column} = '{ACME.run()}'",
            claims=ACME.system("purge_expired"), vantages=OWNER,
            reasons=("immutable_column", "append_only", "attempt_closed", "permission_denied"),
        )  # fmt: skip
    erase(world, ACME.run())
    for table in set(TABLES) - {"exceptions"}:  # of which a note has none
        refused_everywhere(
            world, f"update app.{table} set erased_at = null where {_of_run(table)}",
            claims=ACME.system("purge_expired"), vantages=OWNER, reasons=("already_erased",),
        )  # fmt: skip
    refused_everywhere(world, "update app.actions set payload = '{}'", vantages=OWNER, reasons=("immutable_column",))


def test_keys_are_neither_destroyed_early_nor_made_again(world: World, done: Action) -> None:
    again = f"update app.run_keys set keys = '{json.dumps(RUN_KEYS)}'"
    for claims in ({}, ACME.user(), ACME.service(), ACME.system("purge_expired")):
        refused_everywhere(
            world, "update app.run_keys set destroyed = '{\"payload\": 1}'", claims=claims, vantages=OWNER,
            reasons=("not_due", "permission_denied", "unauthenticated"),
        )  # fmt: skip
    refused_everywhere(world, "delete from app.run_keys", vantages=OWNER, reasons=("append_only",))
    request(world, ACME.run())
    erase(world, ACME.run())
    refused_everywhere(world, again, claims=ACME.system(), vantages=OWNER, reasons=("immutable_column",))
    answer = world.call(ACME.service(), "keep_run_keys_v1", {"run_id": ACME.run(), "keys": RUN_KEYS})
    assert answer["keys"] == {}


def test_every_guard_watches_every_column_but_the_one(still_world: World) -> None:
    """A trigger of these tables that names its columns names all, so that none is unguarded when it is new."""
    for table in TABLES:
        columns = still_world.value(
            "select array_agg(attnum::text order by attnum) from pg_attribute where attrelid = %s::regclass"
            " and attnum > 0 and not attisdropped and attname <> 'erased_at'", f"app.{table}")  # fmt: skip
        watched = still_world.rows(
            "select tgname, tgattr::text from pg_trigger where tgrelid = %s::regclass and not tgisinternal"
            " and tgtype & 19 = 19 and tgname <> 'z_erase'", f"app.{table}")  # fmt: skip
        assert watched, table
        for name, numbers in watched:
            assert numbers.split() == columns, f"{table}: {name}"


def test_what_could_not_be_looked_through_is_named_and_told(world: World) -> None:
    args: Row = {"id": str(new_id()), "subject": "A***", "reason": "asked", "searched_to": None, "run_ids": []}
    theirs = GLOBEX.run()
    unread = {"unread": [ACME.run(), theirs], "unread_count": 2}
    world.call(ACME.user(), "request_erasure_v1", args | unread)
    kept = "select unread::text[], unread_count from app.erasures where id = %s"
    assert world.rows(kept, args["id"]) == [([ACME.run()], 2)]
    alerts = "select owner_id::text, status from app.alerts where kind = 'erasure.unread' and subject_id = %s"
    assert world.rows(alerts, args["id"]) == [(ACME.user()["sub"], "open")]
    # It is not erased for that: only what was found is.
    assert world.value("select count(*) from app.erasure_runs where erasure_id = %s", args["id"]) == 0
    for change in ("update app.erasures set unread = '{}'", "update app.erasures set unread_count = 0"):
        refused_everywhere(world, change, claims=ACME.user(), vantages=OWNER, reasons=("append_only",))
