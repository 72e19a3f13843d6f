"""Invariant 7: an action has at most one live attempt, and who has lost its lease says nothing any more."""

from __future__ import annotations

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World

SECOND = (
    "insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals,"
    " idempotency_key) select tenant_id, gen_random_uuid(), environment, id, run_id, 2, now() + interval '1 hour',"
    " '{}', 'k' from app.actions where id = %s"
)


def _finish(claimed: Row, **changed: object) -> Row:
    return {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "outcome": "succeeded"} | changed


def test_a_second_attempt_is_refused(shared_world: World) -> None:
    action, other = shared_world.authorized(), shared_world.authorized()
    claimed = shared_world.claim(action)
    with shared_world.unchanged():
        assert shared_world.claim(action) == {"claimed": False, "reason": "not_due", "status": "executing"}
    with shared_world.refuses(psycopg.errors.UniqueViolation):
        shared_world.claim(other, attempt_id=claimed["attempt_id"])
    refused_everywhere(shared_world, SECOND, action.id, claims=ACME.system(), vantages=APPLICATION)
    refused_everywhere(
        shared_world, SECOND, action.id, claims=ACME.system(), vantages=OWNER, reasons=(psycopg.errors.UniqueViolation,)
    )


def test_a_second_claim_in_the_same_transaction_is_refused(shared_world: World) -> None:
    action = shared_world.authorized()
    with shared_world.database.connect(autocommit=False) as api:
        for expected in (True, False):
            args = {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": 60}
            claimed = shared_world.call(ACME.system(), "claim_attempt_v1", args, connection=api)
            assert claimed["claimed"] is expected
            api.execute("reset role")


def test_only_the_holder_finishes(shared_world: World) -> None:
    claimed, other = shared_world.claim(shared_world.authorized()), shared_world.claim(shared_world.authorized())
    for wrong in (
        {"fence": str(new_id())},
        {"fence": other["fence"]},
        {"fence": None},
        {"attempt_id": other["attempt_id"]},
        {"attempt_id": str(new_id())},
    ):
        with shared_world.refuses("lease_lost"):
            shared_world.call(ACME.system(), "finish_attempt_v1", _finish(claimed, **wrong))
    with shared_world.refuses("lease_lost"):
        shared_world.call(GLOBEX.system(), "finish_attempt_v1", _finish(claimed))
    for claims in (ACME.service(), ACME.user(), GLOBEX.user()):
        with shared_world.refuses("permission_denied"):
            shared_world.call(claims, "finish_attempt_v1", _finish(claimed))
    assert shared_world.finish(ACME, claimed)["status"] == "succeeded"
    with shared_world.refuses("lease_lost"):
        shared_world.finish(ACME, claimed)


def test_a_late_finisher_is_refused(shared_world: World) -> None:
    action = shared_world.authorized()
    late = shared_world.claim(action, lease_seconds=0)
    for outcome in ("succeeded", "failed", "retry", "unknown", "dead_letter"):
        with shared_world.refuses("lease_lost"):
            shared_world.finish(ACME, late, outcome)
    refused_everywhere(
        shared_world,
        "update app.attempts set status = 'succeeded' where id = %s",
        late["attempt_id"],
        reasons=("lease_lost",),
    )
    args = {"attempt_id": late["attempt_id"], "outcome": "retry", "error": "died"}
    assert shared_world.call(ACME.system(), "expire_attempt_v1", args)["status"] == "authorized"
    again = shared_world.claim(action)
    assert (again["claimed"], again["number"]) == (True, 2)
    assert again["fence"] != late["fence"]
    assert again["idempotency_key"] == late["idempotency_key"]
    with shared_world.refuses("lease_lost"):
        shared_world.finish(ACME, late)
    assert shared_world.finish(ACME, again)["status"] == "succeeded"


def test_time_does_not_stand_still_in_a_transaction(shared_world: World) -> None:
    """A finisher that opened its transaction in time and comes to the point too late is late."""
    claimed = shared_world.claim(shared_world.authorized(), lease_seconds=1)
    with shared_world.database.connect(autocommit=False) as api:
        api.execute("select 1")
        shared_world.rows("select pg_sleep(1.1)")
        with shared_world.refuses("lease_lost"):
            shared_world.call(ACME.system(), "finish_attempt_v1", _finish(claimed), connection=api)


def test_a_dead_function_s_attempt_is_settled_once_and_not_before_its_time(shared_world: World) -> None:
    live, dead = (
        shared_world.claim(shared_world.authorized()),
        shared_world.claim(shared_world.authorized(), lease_seconds=0),
    )
    shared_world.owner.execute("update app.attempts set sent_at = now() where id = %s", (dead["attempt_id"],))
    with shared_world.unchanged():
        for attempt in (live["attempt_id"], str(new_id())):
            args = {"attempt_id": attempt, "outcome": "retry"}
            assert shared_world.call(ACME.system(), "expire_attempt_v1", args) == {"recorded": False}
        foreign = {"attempt_id": dead["attempt_id"], "outcome": "retry"}
        assert shared_world.call(GLOBEX.system(), "expire_attempt_v1", foreign) == {"recorded": False}
    for outcome in ("succeeded", "failed"):
        with shared_world.refuses("invalid_outcome"):
            shared_world.call(
                ACME.system(), "expire_attempt_v1", {"attempt_id": dead["attempt_id"], "outcome": outcome}
            )
    args = {"attempt_id": dead["attempt_id"], "outcome": "unknown"}
    assert shared_world.call(ACME.system(), "expire_attempt_v1", args)["status"] == "unknown"
    with shared_world.unchanged():
        assert shared_world.call(ACME.system(), "expire_attempt_v1", args) == {"recorded": False}


def test_a_lease_is_not_prolonged_or_handed_on(world: World) -> None:
    world.claim(world.authorized())
    for column, value in {
        "lease_expires_at": "now() + interval '1 day'",
        "fence": "gen_random_uuid()",
        "number": "number + 1",
        "idempotency_key": "'other'",
        "approvals": "'{}'",
        "action_id": "gen_random_uuid()",
    }.items():
        refused_everywhere(
            world, f"update app.attempts set {column} = {value}", claims=ACME.system(), reasons=("immutable_column",)
        )


def test_nobody_reads_a_fence(world: World) -> None:
    claimed = world.claim(world.authorized())
    for statement in ("select fence from app.attempts", "select * from app.attempts", "table app.attempts"):
        for vantage in APPLICATION:
            with (
                world.refuses(psycopg.errors.InsufficientPrivilege),
                standing(world, vantage, ACME.user()) as connection,
            ):
                connection.execute(statement.encode())
    with standing(world, "authenticated", ACME.user()) as member:
        seen = member.execute("select id::text, status from app.attempts").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege), member.transaction():
            member.execute("select 1 from app.attempts where fence = %s", (claimed["fence"],))
    assert seen == [(claimed["attempt_id"], "executing")]
    assert claimed["fence"] not in str(world.events())


def test_an_attempt_is_never_removed(world: World) -> None:
    world.claim(world.authorized())
    refused_everywhere(world, "delete from app.attempts", reasons=("append_only",))
