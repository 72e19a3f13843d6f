"""Two that wait for each other: one is undone by the server, and done again as if it had only been slower."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.auth import Principal
from api.db import TRIES, Answer, Database
from tests.db.incidents import follow_up, opened
from tests.db.names import ACME
from tests.db.world import World

#: How long one waits before the server looks whether it waits in a circle, in seconds; the other one waits for longer.
SOON, LATER = 2, 60


def test_a_follow_up_that_meets_a_removal_is_added_after_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The one who removes holds the member and wants the incident; who adds holds the incident and wants the member."""
    operator = ACME.person("operator")
    incident = opened(world)
    args = follow_up(incident_id=incident)
    world.root.execute(f"alter database {world.database.name} set deadlock_timeout = '{SOON}s'".encode())

    async def add() -> Answer:
        database = Database(world.database.url("countersign_api"), 1)
        try:
            return await database.call(Principal(ACME.user()), "add_follow_up_v1", args)
        finally:
            await database.close()

    with world.database.connect("superuser", autocommit=False) as remover, ThreadPoolExecutor(1) as pool:
        remover.execute(f"set deadlock_timeout = '{LATER}s'".encode())
        remover.execute("select from app.members where user_id = %s for update", (operator,))
        adding = pool.submit(asyncio.run, add())
        _until_it_waits(world)
        remover.execute("select from app.incidents where id = %s for update", (incident,))
        remover.commit()
        assert adding.result().result["id"] == args["id"]
    assert [(one.name, one.levelno) for one in caplog.records] == [("countersign.db", logging.WARNING)]
    assert "add_follow_up_v1" in caplog.text
    assert world.value("select count(*) from app.incident_follow_ups where id = %s", args["id"]) == 1


def test_what_is_undone_each_time_is_told(world: World) -> None:
    """And no other error is asked for twice."""
    for state, made in (("40P01", TRIES), ("40001", TRIES), ("55P03", 1), ("57014", 1), ("23505", 1)):
        world.root.execute("create sequence public.asked")
        world.root.execute(
            f"""create function app.undone_v1(jsonb) returns jsonb language plpgsql security definer as $$ begin
            perform nextval('public.asked'); raise exception using errcode = '{state}'; end $$""".encode()
        )
        world.root.execute("grant execute on function app.undone_v1 to authenticated")

        async def ask() -> None:
            database = Database(world.database.url("countersign_api"), 1)
            try:
                await database.call(Principal(ACME.user()), "undone_v1", {})
            finally:
                await database.close()

        with pytest.raises(psycopg.Error) as raised:
            asyncio.run(ask())
        assert raised.value.sqlstate == state
        assert world.value("select last_value from public.asked") == made
        world.root.execute("drop function app.undone_v1(jsonb)")
        world.root.execute("drop sequence public.asked")


def _until_it_waits(world: World) -> None:
    deadline = time.monotonic() + 20
    while not world.value("select count(*) from pg_locks l join pg_stat_activity a using (pid) where not granted"
                          " and a.datname = current_database()"):  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.01)
