"""The cooling-off period is raised at once, and lowered when the one before it has gone by: no pair skips it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.db.attacks import refused_everywhere
from tests.db.directory import agreed, settings, verdict, vouch
from tests.db.names import ACME, GLOBEX, Row, Tenant
from tests.db.world import World

HOURS = timedelta(hours=1)


def period(world: World, tenant: Tenant = ACME, by: Row | None = None) -> tuple[Any, ...]:
    """What the settings answer: hours in force, hours that they are lowered to, and in how many hours."""
    with world.api.transaction():
        world.api.execute("select app.begin_v1(%s, %s)", (json.dumps(by or tenant.user("auditor")), "directory.read"))
        [row] = world.api.execute(
            "select cooling_off_hours, lowered_to, round(extract(epoch from lowered_from_at - now()) / 3600)"
            " from private.cooling_off(%s)", (tenant.id,)
        ).fetchall()  # fmt: skip
    return tuple(row)


def trusted_after(world: World, tenant: Tenant = ACME) -> timedelta:
    """After how long an account that is approved now is trusted."""
    after: timedelta = world.value(
        "select trusted_from - created_at from app.directory_details where entry_id = %s and type = 'bank_account'",
        vouch(world, tenant),
    )
    return after


def later(world: World, hours: float) -> None:
    """So much later, of what the settings wait for; only the superuser can."""
    world.rows("alter table app.directory_settings disable trigger refuse_change")
    world.rows("update app.directory_settings set before_until = before_until - %s * interval '1 hour'", hours)
    world.rows("alter table app.directory_settings enable always trigger refuse_change")


def test_lowered_when_the_old_period_has_gone_by(world: World) -> None:
    agreed(world, ACME, settings(0))
    assert (period(world), trusted_after(world)) == ((72, 0, 72), 72 * HOURS)
    later(world, 71.9)
    assert (period(world)[:2], trusted_after(world)) == ((72, 0), 72 * HOURS)
    later(world, 0.2)
    assert (period(world), trusted_after(world)) == ((0, None, None), 0 * HOURS)
    assert (period(world, GLOBEX), trusted_after(world, GLOBEX)) == ((72, None, None), 72 * HOURS)


def test_raised_at_once_and_then_that_is_what_goes_by(world: World) -> None:
    agreed(world, ACME, settings(100))
    assert (period(world), trusted_after(world)) == ((100, None, None), 100 * HOURS)
    agreed(world, ACME, settings(1, 1))
    assert (period(world), trusted_after(world)) == ((100, 1, 100), 100 * HOURS)


@pytest.mark.parametrize("steps", [(71, 0), (1, 0), (0, 1, 0), (0, 71, 0), (50, 60, 2)])
def test_no_steps_are_a_short_cut(world: World, steps: tuple[int, ...]) -> None:
    """However it is lowered bit by bit, the last bit waits for the period that was in force when it was approved."""
    for version, hours in enumerate(steps):
        later(world, 10)
        agreed(world, ACME, settings(hours, version))
    assert (period(world), trusted_after(world)) == ((72, steps[-1], 72), 72 * HOURS)


def test_who_takes_a_lowering_back_is_where_they_were(world: World) -> None:
    agreed(world, ACME, settings(0))
    agreed(world, ACME, settings(72, 1))
    assert period(world) == (72, None, None)
    later(world, 73)
    assert (period(world), trusted_after(world)) == ((72, None, None), 72 * HOURS)


def test_an_approval_in_an_old_transaction_waits_as_long(world: World) -> None:
    """Whoever approves by row cannot have begun to wait before the approval."""
    proposed = settings(0)
    world.call(ACME.user("operator"), "propose_directory_change_v1", proposed)
    with world.api.transaction():
        world.api.execute("select pg_sleep(0.3)")
        world.call(ACME.user("approver"), "decide_directory_change_v1", verdict(proposed))
    assert world.value(
        "select before_until - created_at >= interval '72 hours 0.3 seconds' from app.directory_settings"
    )


def test_nobody_writes_when_a_period_ends(world: World) -> None:
    agreed(world, ACME, settings(0))
    for change in ("before_until = now()", "before_hours = null, before_until = null", "before_hours = 1"):
        refused_everywhere(
            world, f"update app.directory_settings set {change}",
            claims=ACME.user("approver"), reasons=("append_only",),
        )  # fmt: skip


def test_the_settings_of_others_are_not_told(world: World) -> None:
    agreed(world, GLOBEX, settings(100))
    with world.api.transaction():
        world.api.execute("select app.begin_v1(%s, %s)", (json.dumps(ACME.user()), "directory.read"))
        rows = world.api.execute("select version, cooling_off_hours from private.cooling_off(%s)", (GLOBEX.id,))
        assert rows.fetchall() == [(0, 72)]
