"""Every relation of ours, read and attacked by everybody, with every command.

Made from the catalog: a new table is in it unasked. A table that joins `app` needs rows in tests/db/founding.py, of
both tenants and of both environments, so that "nothing visible" means something. Functions: test_function_matrix.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors

from sandbox.postgres import Server
from tests.db.attacks import standing
from tests.db.founding import busy, world_from
from tests.db.matrix import EVERYBODY, NOT_WRITABLE, REFUSED, THROUGH, Matrix, Principal
from tests.db.names import ACME, ENVIRONMENTS, GLOBEX, ROLES, Row
from tests.db.world import World

#: What even a member cannot select: tokens, sign-ins under way, stored answers.
HIDDEN = {"app.credentials", "app.oauth_flows", "app.idempotency_keys"}
#: What belongs to a tenant as a whole and is the same in both environments.
OF_BOTH_ENVIRONMENTS = {
    "app.tenants", "app.members", "app.service_accounts", "app.kill_switches", "app.kill_switch_proofs",
    "app.constitution_versions",
    "app.constitution_drafts",
    "app.audit_heads", "app.audit_checkpoints", "app.invitations", "app.tenant_settings", "app.directory_settings",
    "app.tenant_tools", "app.erasures",
}  # fmt: skip
#: Belongs to its workflow's environment.
OF_A_WORKFLOW = "app.workflow_versions"

#: Database roles that have no way to any relation, with or without claims of somebody who has.
OTHER_ROLES = ("anon", "service_role", "authenticator", "countersign_api", "countersign_worker")
LOCKS = (
    "row share", "row exclusive", "share update exclusive", "share", "share row exclusive", "exclusive",
    "access exclusive",
)  # fmt: skip
#: What nobody but the owner may do to a relation, by kind; {t} is its name and {own} a tenant's id.
WRITES = [
    "insert into {t} default values",
    "insert into {t} ({key}) values ('{own}')",
    "insert into {t} ({key}) select {key} from {t}",
    "insert into {t} default values on conflict do nothing",
    "update {t} set {key} = {key}",
    "update {t} set {key} = '{own}'",
    "update {t} set {key} = {key} where {key}::text = '{own}' returning *",
    "delete from {t}",
    "delete from {t} where {key}::text = '{own}'",
    "merge into {t} using (select) s on true when matched then delete",
    "merge into {t} using (select) s on false when not matched then insert default values",
]
OF_TABLES = [
    "truncate {t}",
    "truncate {t} cascade",
    *(f"select from {{t}} for {strength}" for strength in ("update", "no key update", "share", "key share")),
    *(f"lock table {{t}} in {mode} mode" for mode in LOCKS),
    "create trigger mine before update on {t} for each row execute function suppress_redundant_updates_trigger()",
    "create rule mine as on insert to {t} do also select 1",
    "create index mine on {t} ({key})",
    "create policy mine on {t} using (true)",
    "create statistics pg_temp.mine on {key}, ctid from {t}",
    "alter table {t} disable row level security",
    "alter table {t} no force row level security",
    "alter table {t} disable trigger all",
    "alter table {t} add column mine text",
    "alter table {t} owner to current_user",
    "alter table {t} set schema public",
    "alter table {t} rename to mine",
    "drop table {t} cascade",
    "comment on table {t} is 'mine'",
    "cluster {t} using mine",
    "reindex table {t}",
]
OF_SEQUENCES = ["select nextval('{t}')", "select setval('{t}', 1)", "select * from {t}", "alter sequence {t} restart"]
COMMANDS = {
    "r": WRITES + OF_TABLES,
    "p": WRITES + OF_TABLES,
    "v": WRITES,
    "f": WRITES,
    "m": OF_TABLES[:2],
    "S": OF_SEQUENCES,
}
#: Ways to read, each answering one text; none may tell of a row that is not the reader's.
READS = [
    "select string_agg({row}, '|') from {t}",
    "select string_agg({key}::text, '|') from {t} full join {t} u using ({key})",
    "select count(*) || coalesce(current_setting('attack.peeked', true), '') from {t} where attack.peek({key}::text)",
]
STATISTICS = [
    "select string_agg(s::text, '|') from pg_stats s where schemaname in ('app', 'private')",
    "select string_agg(s::text, '|') from pg_stats_ext s where schemaname in ('app', 'private')",
    "select string_agg(s::text, '|') from pg_statistic s",
]
#: Counts of what is not the reader's: nought, if they may be taken at all.
COUNTS = ["select count(*)::text from {t} where {key}::text is distinct from '{own}'"]
COUNTS_OF_ENVIRONMENTS = ["select count(*)::text from {t} where environment <> '{environment}'"]
#: What creates something of one's own where it would be in the way of ours.
IN_SCHEMAS = [
    f"create {what}"
    for schema in ("app", "private", "public")
    for what in (f"table {schema}.mine ()", f"function {schema}.mine() returns int language sql as 'select 1'",
                 f"view {schema}.mine as select 1", f"sequence {schema}.mine", f"domain {schema}.mine as text")
]  # fmt: skip


@pytest.fixture(scope="module")
def matrix(still_world: World) -> Matrix:
    return Matrix(still_world)


@contextmanager
def _as(world: World, claims: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with standing(world, "authenticated", claims) as connection:
        yield connection


def _commands(matrix: Matrix, own: str) -> list[str]:
    return IN_SCHEMAS + [
        command.format(t=name, key=(columns or ["tenant_id"])[0], own=own)
        for name, kind, columns in matrix.relations
        for command in COMMANDS[kind]
    ]


def _reads(matrix: Matrix, principal: Principal | None) -> tuple[list[str], set[str]]:
    """Ways to read everything, and which of them are counts of what is not the reader's."""
    reads, counts = list(STATISTICS), set()
    for name, kind, columns in matrix.relations:
        if kind == "S":
            continue
        row = f"concat_ws('|', {', '.join(matrix.granted.get(name, columns))})"
        own = ((principal and principal.tenant) or ACME).id
        reads += [read.format(t=name, key=columns[0], row=row) for read in READS]
        counts |= {count.format(t=name, key=columns[0], own=own) for count in COUNTS}
        if principal and principal.environment and "environment" in columns:
            counts |= {count.format(t=name, environment=principal.environment) for count in COUNTS_OF_ENVIRONMENTS}
    return reads + sorted(counts), counts


def test_there_is_something_to_see(still_world: World) -> None:
    for table in still_world.tables("app"):
        for tenant in (ACME, GLOBEX):
            assert still_world.value(f"select count(*) from {table} where tenant_id = %s", tenant.id) > 0, table


def _read_everything(matrix: Matrix, principals: list[Principal]) -> None:
    for principal in principals:
        reads, counts = _reads(matrix, principal)
        with _as(matrix.world, principal.claims) as reader:
            outcomes = matrix.attempts(reader, "read", reads)
        for statement, (state, said) in zip(reads, outcomes, strict=True):
            allowed = state == REFUSED or (state == THROUGH and (said == "0" or statement not in counts))
            told = matrix.told_to(principal, said)
            if told or not allowed:
                matrix.found(f"{principal.name}: {statement}: {sorted(told)[:5] or (state, said)}")


def _write_everywhere(matrix: Matrix, principals: list[Principal]) -> None:
    for principal in principals:
        statements = _commands(matrix, (principal.tenant or ACME).id)
        with _as(matrix.world, principal.claims) as writer:
            outcomes = matrix.attempts(writer, "try", statements)
        _expect_refusals(matrix, principal.name, statements, outcomes)


def _try_everything(matrix: Matrix, role: str, claims: Row | None) -> None:
    login = "countersign_api" if role == "countersign_worker" else role
    reads = [read for read in _reads(matrix, None)[0] if read not in STATISTICS]
    statements = _commands(matrix, ACME.id)
    with matrix.world.database.connect(login, autocommit=False) as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims) if claims else "",))
        if role != login:
            connection.execute(f"set local role {role}".encode())
        outcomes = matrix.attempts(connection, "try", statements) + matrix.attempts(connection, "read", reads)
        connection.rollback()
    _expect_refusals(matrix, role, statements + reads, outcomes)


def _expect_refusals(matrix: Matrix, who: str, statements: list[str], outcomes: list[list[str]]) -> None:
    views = {name for name, kind, _ in matrix.relations if kind == "v"}
    for statement, (state, said) in zip(statements, outcomes, strict=True):
        of_a_view = state in NOT_WRITABLE and views & set(statement.split())
        # Row-level security is the second wall: what it has to stop has come through the first.
        if not of_a_view and (state != REFUSED or "row-level security" in said):
            matrix.found(f"{who}: {statement}: {state} {said}")


def test_nobody_reads_what_is_not_theirs(matrix: Matrix, record_property: Any) -> None:
    """Every relation, by everybody there is: both tenants' people, keys and functions, and all who are nobody."""
    _read_everything(matrix, EVERYBODY)
    matrix.report(record_property)


def test_nobody_reads_what_is_hidden(still_world: World) -> None:
    for principal in EVERYBODY:
        with _as(still_world, principal.claims) as reader:
            for table in HIDDEN:
                assert _count(reader, table) is None, (principal.name, table)


def test_nobody_copies_what_is_not_theirs(matrix: Matrix, record_property: Any) -> None:
    for principal in EVERYBODY:
        with _as(matrix.world, principal.claims) as reader:
            for name, kind, _ in matrix.relations:
                ways = [f"copy (select * from {name}) to stdout", f"copy (table {name}) to stdout csv"]
                ways += [f"copy {name} to stdout"] if kind in ("r", "p") else []
                for statement in ways:
                    matrix.cells += 1
                    try:
                        with reader.transaction(), reader.cursor().copy(statement.encode()) as copy:
                            said = b"".join(copy).decode()
                    except errors.InsufficientPrivilege:
                        continue
                    if told := matrix.told_to(principal, said):
                        matrix.found(f"{principal.name}: {statement}: {sorted(told)[:5]}")
                if kind in ("r", "p"):
                    matrix.cells += 1
                    with pytest.raises(errors.InsufficientPrivilege), reader.transaction():
                        reader.execute(f"copy {name} from stdin".encode())
    matrix.report(record_property)


def test_nobody_writes_past_the_functions(matrix: Matrix, record_property: Any) -> None:
    """Not even a tenant's own people: every change goes through a function that checks and records it."""
    _write_everywhere(matrix, EVERYBODY)
    matrix.report(record_property)


@pytest.mark.parametrize(
    "claims", [None, ACME.user(), GLOBEX.system()], ids=["no claims", "a person's", "a function's"]
)
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_other_roles_have_no_way_in(matrix: Matrix, role: str, claims: Row | None, record_property: Any) -> None:
    """What the login and the Data API's roles can do with any claims: nothing at all."""
    _try_everything(matrix, role, claims)
    matrix.report(record_property)


def _count(connection: psycopg.Connection[Any], table: str, where: str = "true") -> int | None:
    """How many rows are seen; None when the table may not be read at all."""
    try:
        with connection.transaction():
            row = connection.execute(f"select count(tenant_id) from {table} where {where}".encode()).fetchone()
    except errors.InsufficientPrivilege:
        return None
    return int(row[0]) if row else None


def test_a_member_sees_all_of_its_own_tenant(still_world: World) -> None:
    for who in ROLES:
        with _as(still_world, GLOBEX.user(who)) as member:
            for table in still_world.tables("app"):
                if table in HIDDEN:
                    assert _count(member, table) is None
                else:
                    own = still_world.value(f"select count(*) from {table} where tenant_id = %s", GLOBEX.id)
                    assert (_count(member, table), table) == (own, table)


#: What people say to one another about what agents propose; no key reads it.
AMONG_PEOPLE = {"app.exception_comments"}


@pytest.mark.parametrize("own", ENVIRONMENTS)
def test_a_key_sees_all_of_its_environment_and_no_other(still_world: World, own: str) -> None:
    (other,) = set(ENVIRONMENTS) - {own}
    with _as(still_world, ACME.service(own)) as key:
        for table in set(still_world.tables("app")) - HIDDEN:
            here = f"tenant_id = '{ACME.id}'"
            if table in OF_BOTH_ENVIRONMENTS:
                assert _count(key, table) == still_world.value(f"select count(*) from {table} where {here}"), table
                continue
            of = "environment = '{}'"
            if table == OF_A_WORKFLOW:
                of = "workflow_id in (select id from app.workflows where environment = '{}')"
            for environment, visible in ((own, True), (other, False)):
                rows = still_world.value(f"select count(*) from {table} where {here} and {of.format(environment)}")
                assert rows > 0, f"{table} has no rows of {environment}"
                seen = _count(key, table, f"{here} and {of.format(environment)}")
                assert (seen, table) == (rows if visible and table not in AMONG_PEOPLE else 0, table)


#: What a careless migration would leave behind, and how the matrix tells of it.
HOLES = {
    "grant select on app.credentials to authenticated; alter table app.credentials disable row level security":
        r"acme's owner at aal1: select string_agg\(concat_ws\('\|', tenant_id, connection_id.* from app\.credentials:",
    "create policy leak on app.members for select to authenticated using (true)":
        r"nobody: select count\(\*\)::text from app\.members where tenant_id::text is distinct",
    "create policy leak on app.runs for select to authenticated using (tenant_id = (select private.current_tenant()))":
        r"acme's sandbox key: select count\(\*\)::text from app\.runs where environment <> 'sandbox'",
    "grant update (reason) on app.kill_switches to authenticated":
        r"globex's auditor at aal2: select from app\.kill_switches for update",
    "grant insert on app.tenants to anon; grant usage on schema app to anon":
        r"anon: insert into app\.tenants default values",
    "create view app.all_runs as select * from app.runs; grant select on app.all_runs to authenticated":
        r"nobody: select string_agg\(.* from app\.all_runs:",
    "create sequence app.numbers; grant usage on sequence app.numbers to authenticated":
        r"nobody: select nextval\('app\.numbers'\)",
    "create table app.open (id int, tenant_id uuid); grant select, insert on app.open to authenticated":
        r"nobody: insert into app\.open default values",
    "grant truncate on app.attempts to service_role; grant usage on schema app to service_role":
        r"service_role: (lock table|truncate) app\.attempts",
    "grant trigger on app.exceptions to authenticated":
        r"nobody: create trigger mine before update on app\.exceptions",
    "grant create on schema private to authenticated": r"nobody: create function private\.mine",
}  # fmt: skip


def test_every_hole_is_seen(cluster: Server) -> None:
    """A matrix that finds nothing where there are holes would find nothing anywhere."""
    few = [
        p
        for p in EVERYBODY
        if p.name in {"acme's owner at aal1", "globex's auditor at aal2", "nobody"} or p.environment
    ]
    with world_from(cluster, busy(cluster)) as world:
        for hole in HOLES:
            world.owner.execute(hole.encode())
        matrix = Matrix(world)
        _read_everything(matrix, few)
        _write_everywhere(matrix, few)
        for role in ("anon", "service_role"):
            _try_everything(matrix, role, None)
    told = "\n".join(matrix.leaks)
    unseen = [hole for hole, leak in HOLES.items() if not re.search(leak, told)]
    assert not unseen, f"not seen: {unseen}"
