"""A provider that forgets idempotency keys: a retry after that would pay a second time."""

from __future__ import annotations

import time

import pytest

from sandbox.organisation import ok, once
from tests.concurrency.test_provider_faults import deliveries_of, until_tried
from tests.concurrency.world import PAY, World

pytestmark = pytest.mark.slow
#: Of the time that a provider remembers a key, a minute is left for the request to arrive.
RESERVE = 60


def remembers(world: World, seconds: int) -> None:
    """Publishes the payment's contract anew: with a bank that remembers keys for so long."""
    world.rows(
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, version + 1, provider, access, effect,"
        " contract || jsonb_build_object('idempotency_seconds', %s::int)"
        " from private.tool_catalog where name = %s order by version desc limit 1 returning 1",
        seconds,
        PAY,
    )


def test_a_key_that_may_be_forgotten_is_not_used_again(world: World) -> None:
    """The bank paid and its answer was lost. What happened is asked for, and not tried."""
    remembers(world, RESERVE + 1)
    world.new_version()
    world.start_run()
    world.break_next("bank", "payments.create", "drop_after")
    action = world.do(world.payment())
    until_tried(world, action)
    assert world.action(action)["next_attempt_at"] is not None, "a retry was planned while the key was known"
    time.sleep(1.5)
    world.hurry([action])
    world.tick()
    until_tried(world, action, 2)
    assert world.statuses([action]) == {action: "unknown"}
    assert "forgotten the idempotency key" in world.attempts(action)[1]["error"]
    assert len(deliveries_of(world, action)) == 1
    path = f"/v1/actions/{action}/reconcile"
    ok(world.organisation.owner.api.post(path, json={"reason": "ask the bank"}, headers=once()))
    assert world.statuses([action]) == {action: "succeeded"}
    world.check()


def test_a_key_that_is_remembered_is_used_again(world: World) -> None:
    remembers(world, RESERVE + 3600)
    world.new_version()
    world.start_run()
    world.break_next("bank", "payments.create", "drop_after")
    action = world.do(world.payment())
    assert world.settle([action]) == {action: "succeeded"}
    assert [entry["outcome"] for entry in deliveries_of(world, action)] == ["done", "replayed"]
    world.check()


def test_proposing_reads_no_manifest(world: World) -> None:
    """A cold start that decides does not wait for files: here they cannot even be found, and nobody notices."""
    with world.settings({"COUNTERSIGN_MANIFESTS": "nowhere/at/all"}):
        assert world.agent.get("/v1/providers").status_code >= 500
        proposed = ok(world.agent.post("/v1/actions", json=world.payment() | {"confidence": 0.1}, headers=once()))
        assert proposed["status"] == "awaiting_approval"
