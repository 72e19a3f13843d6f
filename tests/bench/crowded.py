"""Makes a tenant large behind the application's back: copies of one action that waits, and a long audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from tests.cluster import Database

TABLES = ("runs", "actions", "decisions", "exceptions", "audit_events", "audit_heads")


class Place(Protocol):
    """A database, and what its superuser sees."""

    @property
    def database(self) -> Database: ...

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class Crowd:
    """The one action that was copied, its run and its exception, and the number of the last audit event."""

    action_id: str
    run_id: str
    exception_id: str
    events: int


#: How much older than the original a copy is: the oldest of 100,000 is of 23 days ago.
_AGE = "c.n * interval '20 seconds'"
#: Of the copies that are over, how many wait to be tried again.
DEAD = 500
#: Event by event, each on the hash of the one before; times go on from the last real one, a few a second at the most.
_EVENTS = """
do $$
declare
    v_tenant uuid := '{tenant}';
    v_head app.audit_heads;
    v_base jsonb;
    v_begun timestamptz;
    v_record text;
    v_ids uuid[];
    v_runs uuid[];
    v_which integer;
    v_types text[] := array['action.proposed', 'action.decided', 'action.authorized', 'action.executing',
        'action.succeeded'];
begin
    select * into v_head from app.audit_heads where tenant_id = v_tenant;
    select e.record::jsonb, (e.at)::timestamptz into v_base, v_begun from app.audit_events e
        where e.tenant_id = v_tenant and e.action_id is not null order by e.seq desc limit 1;
    select array_agg(id order by created_at, id), array_agg(run_id order by created_at, id) into v_ids, v_runs
        from app.actions where tenant_id = v_tenant;
    for n in v_head.seq + 1 .. {events} loop
        v_which := 1 + (n / 5) % cardinality(v_ids);
        v_record := (v_base || jsonb_build_object('seq', n, 'type', v_types[1 + n % 5],
            'at', to_char((v_begun + n * interval '1 millisecond') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'subject', jsonb_build_object('type', 'action', 'id', v_ids[v_which]),
            'action_id', v_ids[v_which], 'run_id', v_runs[v_which]))::text;
        v_head.seq := n;
        insert into app.audit_events (tenant_id, seq, prev_hash, hash, record)
            values (v_tenant, n, v_head.hash, sha256(v_head.hash || convert_to(v_record, 'UTF8')), v_record);
        v_head.hash := sha256(v_head.hash || convert_to(v_record, 'UTF8'));
    end loop;
    update app.audit_heads set seq = v_head.seq, hash = v_head.hash where tenant_id = v_tenant;
end $$
"""


def crowd(
    world: Place, tenant_id: str, person: str, action_id: str, *, actions: int, waiting: int, events: int
) -> Crowd:
    """Copies the action until there are so many, the newest `waiting` with an open exception, as many approved before
    by this person.

    Ten actions are of one run. The superuser writes, with the triggers off.
    """
    with world.database.connect("superuser") as connection, _without_triggers(connection):
        # The foreign keys of a hundred thousand copies need not be looked up.
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "create temp table copies as select n, gen_random_uuid() as action, gen_random_uuid() as run,"
            " gen_random_uuid() as decision, gen_random_uuid() as exception from generate_series(1, %s::int) n",
            (actions,),
        )
        connection.execute("create index on copies (n)")
        run = "(select o.run from copies o where o.n = 1 + (c.n - 1) / 10 * 10)"
        old = f"c.n > {waiting}"
        this = f"s.action_id = '{action_id}'"
        of_action = {"action_id": "c.action", "run_id": run}
        when = f"s.created_at - {_AGE}"
        mine = f"s.id = (select run_id from app.actions where id = '{action_id}') and c.n % 10 = 1"
        _copy(connection, "runs", mine, {"id": "c.run", "created_at": when})
        given_up = f"c.n > {actions} - {DEAD}"
        settled = {"status": f"case when {given_up} then 'dead_letter' when {old} then 'succeeded' else s.status end"}
        _copy(connection, "actions", f"s.id = '{action_id}'",
              settled | {"id": "c.action", "run_id": run, "created_at": when})  # fmt: skip
        _copy(connection, "decisions", this,
              of_action | {"id": "c.decision", "decided_at": f"s.decided_at - {_AGE}"})  # fmt: skip
        verdict = {
            "status": f"case when {old} then 'approved' else 'open' end",
            "decided_by": f"case when {old} then '{person}'::uuid end",
            "decided_at": f"case when {old} then {when} end",
            "expires_at": f"s.expires_at + {_AGE}",
        }
        _copy(connection, "exceptions", f"{this} and c.n <= {2 * waiting}",
              of_action | verdict | {"id": "c.exception", "created_at": when})  # fmt: skip
        with _without_indexes(connection, "audit_events"):
            connection.execute(_EVENTS.format(tenant=tenant_id, events=events).encode())
    with world.database.connect("superuser") as connection:
        for table in TABLES:
            connection.execute(f"vacuum analyze app.{table}".encode())
    statement = "select run_id::text, id::text from app.exceptions where action_id = %s"
    ((run_id, exception_id),) = world.rows(statement, action_id)
    return Crowd(action_id, run_id, exception_id, events)


def _copy(connection: psycopg.Connection[Any], table: str, which: str, changes: dict[str, str]) -> None:
    """Inserts a row's copies, with these columns changed; generated columns follow by themselves."""
    rows = connection.execute(
        "select column_name from information_schema.columns where table_schema = 'app' and table_name = %s"
        " and is_generated = 'NEVER'",
        (table,),
    )
    columns = [row[0] for row in rows]
    taken = ", ".join(changes.get(name, f"s.{name}") for name in columns)
    target = f"app.{table} ({', '.join(columns)})"
    connection.execute(f"insert into {target} select {taken} from app.{table} s, copies c where {which}".encode())


@contextmanager
def _without_triggers(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Turns the triggers of the tables off, and on again as they were: some fire always."""
    found = connection.execute(
        "select tgrelid::regclass::text, tgname, tgenabled::text from pg_trigger"
        " where tgrelid = any(%s::regclass[]) and not tgisinternal",
        ([f"app.{table}" for table in TABLES],),
    ).fetchall()
    for table, name, _ in found:
        connection.execute(f"alter table {table} disable trigger {name}".encode())
    yield
    for table, name, state in found:
        how = "enable always" if state == "A" else "enable"
        connection.execute(f"alter table {table} {how} trigger {name}".encode())


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Drops the indexes of a table that are no constraint's, and makes them again, quicker for a million rows."""
    found = connection.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
        " where indrelid = %s::regclass and not indisunique",
        (f"app.{table}",),
    ).fetchall()
    for name, _ in found:
        connection.execute(f"drop index {name}".encode())
    yield
    for _, made in found:
        connection.execute(made.encode())
