"""Invariant 5: nothing starts executing while a kill switch covers it. Races are in tests/concurrency."""

from __future__ import annotations

import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, BILLS, GLOBEX, NOTE, PAY, Tenant
from tests.db.world import World

EXECUTE = "update app.actions set status = 'executing' where id = %s"


def _target(scope: str, tenant: Tenant = ACME) -> str:
    """What a switch of this scope names to cover a payment of the tenant's agent."""
    return {
        "tenant": tenant.id,
        "workflow": tenant.workflow(),
        "connection": tenant.connection("bank/write"),
        "tool": PAY,
        "service_account": tenant.agent,
    }[scope]


SCOPES = ("tenant", "workflow", "connection", "tool", "service_account")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_covered_action_does_not_start(world: World, scope: str) -> None:
    action, note = world.authorized(), world.note(by=ACME.user("operator"))
    world.stop(scope=scope, target=_target(scope))
    with world.unchanged():
        assert world.claim(action) == {"claimed": False, "reason": "kill_switch_engaged", "status": "authorized"}
    refused_everywhere(world, EXECUTE, action.id, claims=ACME.user(), reasons=("kill_switch_engaged",))
    # Another tenant, and what the switch does not cover, go on.
    assert world.claim(world.authorized(GLOBEX))["claimed"]
    if scope in ("connection", "tool", "service_account"):
        assert world.claim(note)["claimed"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_covered_read_does_not_start(world: World, scope: str) -> None:
    target = {"connection": ACME.connection("bank/read"), "tool": BILLS}.get(scope, _target(scope))
    world.stop(scope=scope, target=target)
    with world.refuses("kill_switch_engaged"):
        world.call(ACME.service(), "claim_observation_v1", world.observation())


@pytest.mark.parametrize("scope", ["tenant", "workflow", "connection", "service_account"])
def test_a_target_written_differently_is_the_same_target(world: World, scope: str) -> None:
    action = world.authorized()
    world.stop(scope=scope, target=_target(scope).upper())
    assert world.claim(action)["reason"] == "kill_switch_engaged"


def test_a_switch_that_covers_nothing_is_refused(world: World) -> None:
    """Somebody who has stopped something must be able to rely on it."""
    for scope in SCOPES:
        for target in ("unknown.tool",) if scope == "tool" else (str(new_id()), _target(scope, GLOBEX)):
            with world.refuses("unknown_target"):
                world.stop(scope=scope, target=target)
            with world.refuses("unknown_target"), standing(world, "owner") as owner:
                owner.execute(
                    "insert into app.kill_switches (tenant_id, id, scope, target, reason)"
                    " values (%s, gen_random_uuid(), %s, %s, 'stop')",
                    (ACME.id, scope, target),
                )


def test_the_owner_may_engage_one_and_it_holds(world: World) -> None:
    """Also from a replica session, in which ordinary triggers would not raise the epoch."""
    proposal, action, epoch = world.proposal(ACME), world.authorized(), world.epoch(ACME)
    for vantage in OWNER[1:3]:
        with world.refuses("wrong_isolation"), standing(world, vantage) as owner:
            owner.execute(_engage(), (ACME.id, ACME.id))
    with standing(world, "owner, replica") as owner:
        owner.execute(_engage(), (ACME.id, ACME.id))
    assert world.epoch(ACME) > epoch
    assert world.claim(action)["reason"] == "kill_switch_engaged"
    answer = world.call(ACME.service(), "record_action_v1", proposal)
    assert (answer["recorded"], answer["reason"]) == (False, "epoch_moved")
    assert answer["facts"]["kill_switches"]


def _engage() -> str:
    return (
        "insert into app.kill_switches (tenant_id, id, scope, target, reason)"
        " values (%s, gen_random_uuid(), 'tenant', %s, 'stop')"
    )


def test_an_old_snapshot_does_not_see_past_it(world: World) -> None:
    """A transaction that began before the switch was engaged, and would not see it, may not start anything."""
    action = world.authorized()
    for vantage in OWNER[1:3]:
        with world.refuses("wrong_isolation"), standing(world, vantage) as owner:
            owner.execute("select count(*) from app.kill_switches")
            owner.execute(EXECUTE.encode(), (action.id,))
    with world.database.connect(autocommit=False) as api:
        api.execute("set transaction isolation level repeatable read")
        api.execute("select 1")
        world.stop()
        with world.refuses("wrong_isolation"):
            world.call(
                ACME.system(),
                "claim_attempt_v1",
                {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": 60},
                connection=api,
            )
        api.rollback()
    assert world.status(action) == "authorized"


def test_a_switch_is_released_and_never_undone_otherwise(world: World) -> None:
    switch, action = world.stop(), world.authorized()
    for statement in (
        "delete from app.kill_switches",
        "update app.kill_switches set target = gen_random_uuid()::text",
        "update app.kill_switches set scope = 'tool'",
        "update app.kill_switches set tenant_id = (select tenant_id from app.tenants where name = 'globex')",
        "update app.kill_switches set reason = 'none'",
        "truncate app.kill_switches cascade",
    ):
        reasons = ("append_only", "immutable_column", "invalid_transition")
        refused_everywhere(world, statement, claims=ACME.user(), reasons=reasons)
    assert world.claim(action)["reason"] == "kill_switch_engaged"
    world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "over"})
    assert world.claim(action)["claimed"]


def test_an_attempt_cannot_be_slipped_in(world: World) -> None:
    """An attempt row holds a credential's lease: nobody writes one for an action that is not executing."""
    action = world.authorized()
    attempt = (
        "insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals,"
        " idempotency_key) select tenant_id, gen_random_uuid(), environment, id, run_id, 1, now() + interval '1 hour',"
        " '{}', 'k' from app.actions where id = %s"
    )
    refused_everywhere(world, attempt, action.id, claims=ACME.system(), vantages=APPLICATION)
    refused_everywhere(world, attempt, action.id, claims=ACME.system(), vantages=OWNER, reasons=("not_executing",))


def test_what_is_in_flight_is_said_to_be(world: World) -> None:
    """A switch cannot call back what has left; it names it."""
    started, waiting, ready = world.authorized(), world.payment(), world.note()
    claimed = world.claim(started)
    world.call(ACME.system(), "send_attempt_v1", {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"]})
    args = {"id": str(new_id()), "scope": "tenant", "target": ACME.id, "reason": "stop"}
    answer = world.call(ACME.user("operator", "aal1"), "engage_kill_switch_v1", args)
    assert (answer["stopped"], answer["in_flight"]) == (sorted([waiting.id, ready.id]), [started.id])
    assert world.propose(ACME, NOTE).status == "authorized"  # what the gate decides is the gate's to say


def test_a_retry_under_a_switch_waits(world: World) -> None:
    action = world.note()
    claimed = world.claim(action)
    world.stop()
    assert world.finish(ACME, claimed, "retry")["status"] == "authorized"
    assert world.claim(action)["reason"] == "kill_switch_engaged"
