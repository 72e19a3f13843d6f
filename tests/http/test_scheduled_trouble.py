"""One item's trouble is its own: the others are expired and erased, and the heartbeat says when nothing was."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.organisation import Organisation, ok
from tests.http.emissions import crash_reports
from tests.http.functions import function
from tests.http.integrator import NOTE, Agent, at_work, note
from tests.http.world import World


@contextmanager
def broken(world: World, table: str, condition: str, event: str = "update") -> Iterator[None]:
    """Meanwhile, rows of a table cannot be changed (or added), for a reason that nobody thought of."""
    raises = "create function public.breaks() returns trigger language plpgsql as $$ begin perform 1 / 0; end $$"
    trigger = f"create trigger a_breaks before {event} on {table} for each row when ({condition})"
    with world.database.connect("superuser") as connection:
        connection.execute(raises.encode())
        connection.execute(f"{trigger} execute function public.breaks()".encode())
        connection.execute(f"alter table {table} enable always trigger a_breaks".encode())
    try:
        yield
    finally:
        with world.database.connect("superuser") as connection:
            connection.execute("drop function public.breaks() cascade")


def heartbeat(world: World, name: str) -> tuple[bool, bool]:
    """Whether the last run went well, and whether it is the last one that did."""
    with world.database.connect("superuser") as connection:
        row = connection.execute(
            "select ok, succeeded_at = finished_at from private.function_runs where function = %s", (name,)
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_an_exception_that_breaks_stops_no_other(world: World, agent: Agent, fresh: Organisation) -> None:
    """The one that broke is reported, comes first in every run, and is expired as soon as it can be."""
    world.stack.tick("expire_exceptions")
    bad = agent.propose(NOTE, note(), confidence=0.1)
    world.end_the_time_of(bad["exception"]["id"])
    with at_work(fresh) as others:
        good = others.propose(NOTE, note(), confidence=0.1)
        world.end_the_time_of(good["exception"]["id"])
        with (
            crash_reports() as reports,
            broken(world, "app.exceptions", f"old.id = '{bad['exception']['id']}'"),
            function("functions.expire_exceptions", world, SENTRY_DSN=reports.dsn) as scheduled,
        ):
            assert scheduled.invoke({}) == {"expired": 1, "told": 0, "failed": 1}
            assert heartbeat(world, "expire_exceptions") == (True, True)
            assert others.action(good["id"])["status"] == "expired"
            assert scheduled.invoke({}) == {"expired": 0, "told": 0, "failed": 1}
            assert heartbeat(world, "expire_exceptions") == (False, False)
            assert world.stack.tick("expire_exceptions") == {"expired": 0, "told": 0, "failed": 1}
        assert sum(b"division" in report.lower() for report in reports.received) == 2
    assert agent.action(bad["id"])["status"] == "awaiting_approval"
    assert world.stack.tick("expire_exceptions") == {"expired": 1, "told": 0, "failed": 0}
    assert heartbeat(world, "expire_exceptions") == (True, True)
    assert agent.action(bad["id"])["status"] == "expired"


def _old(world: World, observation: str) -> None:
    """Makes an observation older than it is kept, which only the superuser can."""
    triggers = ("observations_keep_columns", "observations_transition")
    old = "now() - interval '366 days'"
    with world.database.connect("superuser") as connection:
        for trigger in triggers:
            connection.execute(f"alter table app.observations disable trigger {trigger}".encode())
        change = f"update app.observations set created_at = {old}, finished_at = {old} where id = '{observation}'"
        connection.execute(change.encode())
        for trigger in triggers:
            connection.execute(f"alter table app.observations enable always trigger {trigger}".encode())


def _retention(organisation: Organisation) -> list[tuple[str, str, int]]:
    """What was said of what could not be erased, the newest first."""
    found = ok(organisation.owner.api.get("/v1/alerts", params={"kind": "retention.failing"}))["items"]
    assert all(each["owner"]["user_id"] == organisation.owner.user_id for each in found)
    return [(each["severity"], each["status"], each["occurrences"]) for each in found]


@pytest.mark.parametrize("first", ["bad", "good"])
def test_a_tenant_whose_data_breaks_stops_no_other(
    world: World, agent: Agent, shared: Organisation, fresh: Organisation, first: str
) -> None:
    """Whoever answers for what could not be erased is told, until it is."""
    world.stack.tick("purge_expired")
    bad = agent.observe(args={"status": "open"})["id"]
    with at_work(fresh) as others:
        good = others.observe(args={"status": "open"})["id"]
        for observation in (bad, good) if first == "bad" else (good, bad):
            _old(world, observation)
        with (
            crash_reports() as reports,
            broken(world, "app.observations", f"old.id = '{bad}'"),
            function("functions.purge_expired", world, SENTRY_DSN=reports.dsn) as scheduled,
        ):
            assert scheduled.invoke({}) == {"erased": 1, "failed": 1}
            assert heartbeat(world, "purge_expired") == (True, True)
            assert scheduled.invoke({}) == {"erased": 0, "failed": 1}
            assert heartbeat(world, "purge_expired") == (False, False)
        assert _retention(shared)[0] == ("critical", "open", 2)
        assert _retention(fresh) == []
        assert sum(b"division" in report.lower() for report in reports.received) == 2
    assert world.stack.tick("purge_expired") == {"erased": 1, "failed": 0}
    assert heartbeat(world, "purge_expired") == (True, True)
    assert _retention(shared)[0] == ("critical", "resolved", 2)
