"""That a key was used is noted by the way: nobody waits for it, nothing fails for it, and it is seldom written."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.db.names import ACME
from tests.db.world import World

USED = "select used_at from app.key_uses where key_id = %s"


def forget(world: World) -> None:
    """Lets the last use be two minutes ago."""
    with world.root.transaction():
        world.root.execute("alter table app.key_uses disable trigger key_uses_keep_last")
        world.root.execute("update app.key_uses set used_at = now() - interval '2 minutes'")
        world.root.execute("alter table app.key_uses enable always trigger key_uses_keep_last")


def read(connection: psycopg.Connection[Any], **claims: str) -> None:
    """One transaction through the door of reads."""
    with connection.transaction():
        connection.execute(
            "select app.begin_v1(%s, 'tenant.read')", (json.dumps(ACME.service() | claims),)
        )  # fmt: skip
        assert connection.execute("select count(*) from app.tenants").fetchone() == (1,)


def test_a_use_is_written_once_a_minute(world: World) -> None:
    """Postgres numbers the transactions that write: the first one is, and the forty after it are not."""
    forget(world)
    numbered = []
    with world.database.connect() as api:
        for n in range(41):
            with api.transaction():
                if n % 2:
                    read(api)
                else:
                    world.call(ACME.service(), "me_v1", connection=api)
                row = api.execute("select pg_current_xact_id_if_assigned() is not null").fetchone()
                numbered.append(row)
    assert numbered == [(True,), *[(False,)] * 40]
    assert world.value("select count(*) from app.key_uses where used_at > now() - interval '1 minute'") == 1


def _written(world: World) -> int:
    """How many records one call through the door adds to the log that Postgres writes ahead.

    What is read first after a checkpoint may add some more: Postgres notes on the page that it saw a row committed.
    """
    row = world.api.execute(
        "explain (analyze, wal, format json) select app.call_v1(%s, 'me_v1', '{}')", (json.dumps(ACME.service()),)
    ).fetchone()
    assert row is not None
    return int(row[0][0]["Plan"]["WAL Records"])


def test_using_a_key_writes_one_row_a_minute_and_nothing_else(world: World) -> None:
    first, later = [], []
    for _ in range(3):  # other tests make checkpoints of the same cluster, and not between all of these
        forget(world)
        first.append(_written(world))
        _written(world)
        later.append([_written(world) for _ in range(5)])
    assert min(first) > 0
    assert min(first) < 10
    assert [0] * 5 in later


def test_nobody_waits_for_somebody_who_is_noting(world: World) -> None:
    """The row is held by a transaction that does not end; two hundred calls go by it."""
    forget(world)
    before = world.value(USED, ACME.key())
    with world.database.connect("postgres", autocommit=False) as holder:
        holder.execute("select 1 from app.key_uses for update")
        began = time.monotonic()
        for _ in range(100):
            world.call(ACME.service(), "me_v1")
            read(world.api)
        assert time.monotonic() - began < 60  # each would wait for seconds
        assert world.value(USED, ACME.key()) == before
        holder.rollback()
    world.call(ACME.service(), "me_v1")
    assert world.value(USED, ACME.key()) > before


def test_of_many_at_once_one_notes_it_and_none_fails(world: World) -> None:
    forget(world)

    def use(_: int) -> str:
        with world.database.connect() as api:
            for _round in range(25):
                world.call(ACME.service(), "me_v1", connection=api)
            return "done"

    count = "select n_tup_upd + 0 from pg_stat_user_tables where relid = 'app.key_uses'::regclass"
    world.rows("select pg_stat_force_next_flush()")
    before = world.value(count)
    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(use, range(8))) == {"done": 8}
    assert world.value("select count(*) from app.key_uses where used_at > now() - interval '1 minute'") == 1
    deadline = time.monotonic() + 120
    while world.value(count) == before:  # statistics arrive when their session ends
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert world.value(count) - before == 1


@pytest.mark.parametrize(
    "setting", ["default_transaction_read_only = on", "default_transaction_isolation = 'repeatable read'"]
)
def test_where_nothing_may_be_written_nothing_is_and_nothing_fails(world: World, setting: str) -> None:
    """A session of reads only, as on a replica, and one that must not follow what others commit meanwhile."""
    forget(world)
    before = world.value(USED, ACME.key())
    with world.database.connect() as api:
        api.execute(f"set {setting}".encode())
        if "read_only" in setting:
            read(api)
            world.call(ACME.service(), "list_tools_v1", connection=api)
        else:
            with api.transaction(), pytest.raises(psycopg.Error) as refused:
                read(api)
            assert refused.value.diag.message_detail == "wrong_isolation"
            api.execute("set default_transaction_read_only = on")
            read(api)
    assert world.value(USED, ACME.key()) == before


def test_who_is_refused_is_not_noted(world: World) -> None:
    forget(world)
    before = world.value(USED, ACME.key())
    for claims, function in (
        (ACME.service() | {"key_hash": "00" * 32}, "me_v1"),
        (ACME.service() | {"key_hash": "00" * 32}, "list_my_invitations_v1"),  # which asks for no permission
        (ACME.service() | {"kind": "user", "sub": ACME.person("owner")}, "me_v1"),
        (ACME.service(), "get_no_such_thing_v1"),
        (ACME.service(), "leave_tenant_v1"),
    ):
        try:
            world.call(claims, function)
        except psycopg.Error:
            continue
    assert world.value(USED, ACME.key()) == before
    with pytest.raises(psycopg.Error), world.database.connect() as api:
        read(api, key_hash="00" * 32)
    assert world.value(USED, ACME.key()) == before
