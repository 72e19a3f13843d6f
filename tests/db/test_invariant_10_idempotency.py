"""Invariant 10: an idempotency key names one request for ever. Same body, same answer; other body, 422."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, NOTE, Row
from tests.db.world import World

CALLERS = 20


def _note(world: World) -> Row:
    return world.proposal(ACME, NOTE, outcome="allow")


def test_the_same_request_again_gets_the_same_answer_and_does_nothing(world: World) -> None:
    note = _note(world)
    first = world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    assert (first["replayed"], first["result"]["id"]) == (False, note["id"])
    with world.unchanged():
        for args in (note, _note(world), {}):  # what the client sent is what `request` stands for
            again = world.answer(ACME.service(), "record_action_v1", args, key="k", request="r")
            assert again == {"result": first["result"], "replayed": True}


def test_the_answer_stays_whatever_happens_meanwhile(world: World) -> None:
    """Epochs move, switches are engaged, the action is done: the request was answered once."""
    note = _note(world)
    first = world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    action = world.recorded(note, first["result"])
    world.finish(ACME, world.claim(action))
    world.stop()
    with world.unchanged():
        again = world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    assert again["result"] == first["result"]


@pytest.mark.parametrize("other", ["R", "r ", "", None])
def test_another_request_under_the_key_is_refused(world: World, other: str | None) -> None:
    note = _note(world)
    world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    with world.refuses("idempotency_key_reused"):
        world.answer(ACME.service(), "record_action_v1", note, key="k", request=other)
    with world.refuses("idempotency_key_reused"):
        world.answer(ACME.service(), "list_tools_v1", {}, key="k", request=other)


def test_a_key_belongs_to_who_used_it(world: World) -> None:
    note = _note(world)
    world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    for claims in (ACME.user(), ACME.user("operator"), GLOBEX.service(), ACME.system()):
        assert not world.answer(claims, "me_v1", {}, key="k", request="other")["replayed"]
    # A service account's keys of two environments know nothing of each other.
    assert not world.answer(ACME.service("sandbox"), "me_v1", {}, key="k", request="r")["replayed"]


def test_what_was_refused_or_not_written_is_not_remembered(world: World) -> None:
    note = _note(world)
    with world.refuses("permission_denied"):
        world.answer(ACME.user("auditor"), "record_action_v1", note, key="k", request="r")
    stale = world.answer(ACME.service(), "record_action_v1", note | {"epoch": 0}, key="k", request="r")
    assert stale["result"]["recorded"] is False
    done = world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    assert (done["replayed"], done["result"]["recorded"]) == (False, True)


def test_a_revoked_key_gets_no_stored_answer(world: World) -> None:
    note = _note(world)
    world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")
    world.call(ACME.user("developer"), "revoke_api_key_v1", {"id": ACME.key()})
    with world.refuses("unauthenticated"):
        world.answer(ACME.service(), "record_action_v1", note, key="k", request="r")


def test_a_lost_right_gets_no_new_answer(world: World) -> None:
    """A member who was demoted replays what he did, and does nothing new."""
    run = {"id": str(new_id()), "workflow": ACME.slug(), "trigger": "call", "instruction": "x", "subject": None}
    world.answer(ACME.user("operator"), "start_run_v1", run, key="k", request="r")
    world.call(ACME.user(), "change_role_v1", {"user_id": ACME.person("operator"), "role": "auditor"})
    with world.refuses("permission_denied"):
        world.answer(ACME.user("operator"), "start_run_v1", run | {"id": str(new_id())}, key="l", request="r")


def test_many_at_once_do_it_once(world: World) -> None:
    """Twenty identical requests on twenty connections: one is recorded, all get its answer."""
    note, start = _note(world), Barrier(CALLERS)

    def call(_: int) -> Row:
        with world.database.connect() as connection:
            start.wait()
            # Each with an id of its own, as each instance of the application makes one.
            args = note | {"id": str(new_id()), "decision_id": str(new_id())}
            return world.answer(ACME.service(), "record_action_v1", args, key="k", request="r", connection=connection)

    before = world.value("select count(*) from app.actions")
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(call, range(CALLERS)))
    assert [answer["replayed"] for answer in answers].count(False) == 1
    assert len({answer["result"]["id"] for answer in answers}) == 1
    assert world.value("select count(*) from app.actions") == before + 1
    assert world.value("select count(*) from app.idempotency_keys where key = 'k'") == 1


def test_many_at_once_with_different_bodies_do_one_of_them(world: World) -> None:
    note, start = _note(world), Barrier(8)

    def call(number: int) -> str:
        with world.database.connect() as connection:
            start.wait()
            args = note | {"id": str(new_id()), "decision_id": str(new_id())}
            try:
                world.answer(
                    ACME.service(), "record_action_v1", args, key="k", request=str(number), connection=connection
                )
            except psycopg.Error as error:
                return str(error.diag.message_detail)
            return "done"

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(call, range(8)))
    assert answers == ["done"] + ["idempotency_key_reused"] * 7


def test_a_tenant_is_founded_once(world: World) -> None:
    """There is no tenant yet to keep an answer in; the tenant itself is the answer."""
    tenant, start = str(new_id()), Barrier(8)
    founder = {"kind": "user", "sub": str(new_id()), "tenant_id": None, "aal": "aal1"}
    args = {
        "id": tenant, "name": "initech", "email": "peter@example.com", "constitution": {"rules": [], "reason": "first"},
    }  # fmt: skip

    def call(_: int) -> Row:
        with world.database.connect() as connection:
            start.wait()
            return world.answer(founder, "create_tenant_v1", args, key="k", request="r", connection=connection)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    # Who comes while the tenant is being made is told so by the function, who comes later by the stored answer.
    repeated = [answer["result"].pop("replayed", answer["replayed"]) for answer in answers]
    assert repeated.count(False) == 1
    assert [answer["result"] for answer in answers] == [{"id": tenant, "name": "initech", "role": "owner"}] * 8
    assert world.value("select count(*) from app.members where tenant_id = %s", tenant) == 1
    with world.refuses("idempotency_key_reused"):
        world.call(founder, "create_tenant_v1", args | {"name": "initrode"}, key="k", request="s")
    with world.refuses("idempotency_key_reused"):
        world.call(ACME.user(), "create_tenant_v1", args, key="k", request="r")


def test_an_old_snapshot_does_not_do_it_twice(world: World) -> None:
    note = _note(world)
    for isolation in ("repeatable read", "serializable"):
        with world.database.connect(autocommit=False) as api:
            api.execute(f"set transaction isolation level {isolation}".encode())
            api.execute("select 1")
            world.answer(ACME.service(), "record_action_v1", note, key=isolation, request="r")
            with world.refuses("wrong_isolation", psycopg.errors.SerializationFailure, psycopg.errors.UniqueViolation):
                world.answer(ACME.service(), "record_action_v1", note, key=isolation, request="r", connection=api)
            api.rollback()
        note = _note(world)


def test_a_stored_answer_is_not_changed_or_removed_before_its_time(world: World) -> None:
    world.answer(ACME.service(), "record_action_v1", _note(world), key="k", request="r")
    for change in ("answer = '{}'", "request = 'other'", "key = 'other'", "created_at = now() - interval '31 days'"):
        refused_everywhere(world, f"update app.idempotency_keys set {change}", reasons=("append_only",))
    for statement in ("delete from app.idempotency_keys", "truncate app.idempotency_keys"):
        refused_everywhere(world, statement, reasons=("append_only",))
    refused_everywhere(world, "select answer from app.idempotency_keys", vantages=APPLICATION)


def test_a_stored_answer_is_purged_after_thirty_days(world: World) -> None:
    """As the documentation of the header says; the owner's purge goes through then."""
    insert = (
        "insert into app.idempotency_keys"
        " (tenant_id, principal_id, environment, permissions, key, request, answer, created_at)"
        " values (%s, %s, 'production', '{}', %s, 'r', '{}', now() - %s * interval '1 day')"
    )
    with standing(world, "owner") as owner:
        for key, days in (("old", 31), ("new", 29)):
            owner.execute(insert.encode(), (ACME.id, ACME.agent, key, days))
        purge = "delete from app.idempotency_keys where created_at < now() - interval '30 days'"
        assert owner.execute(purge.encode()).rowcount == 1
    for vantage in OWNER:
        with world.refuses("append_only"), standing(world, vantage) as owner:
            owner.execute("delete from app.idempotency_keys where key = 'new'")
