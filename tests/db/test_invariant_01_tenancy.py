"""Invariant 1: a tenant's rows are invisible and untouchable to every other tenant.

Here through the doors and around them; every table and every function, by everybody, are in test_isolation_matrix.py
and test_function_matrix.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, standing
from tests.db.names import ACME, GLOBEX, Row, soon
from tests.db.world import World

DENIED = psycopg.errors.InsufficientPrivilege
_EXPIRE = f"update app.api_keys set expires_at = clock_timestamp() where id = '{ACME.key('sandbox')}'"


FORGERIES: dict[str, Callable[[], Row]] = {
    "a foreign tenant": lambda: GLOBEX.user() | {"tenant_id": ACME.id},
    "a foreign person": lambda: GLOBEX.user() | {"sub": ACME.person("owner"), "session_id": None},
    "a person in another's session": lambda: ACME.user() | {"session_id": GLOBEX.session("owner")},
    "a person who is nowhere": lambda: ACME.user() | {"sub": str(new_id()), "session_id": None},
    "a key with a wrong hash": lambda: ACME.service() | {"key_hash": GLOBEX.key_hash()},
    "a key with no hash": lambda: ACME.service() | {"key_hash": None},
    "a key by its account": lambda: {"kind": "service", "sub": ACME.agent, "tenant_id": ACME.id},
    "a function of no tenant": lambda: {"kind": "system", "function": "x"},
    "a function of an unknown tenant": lambda: {"kind": "system", "tenant_id": str(new_id())},
    "permissions brought along": lambda: {"kind": "user", "permissions": ["actions.read"], "tenant_id": ACME.id},
    "an array": list,  # type: ignore[dict-item]
}


@pytest.mark.parametrize("how", FORGERIES)
def test_forged_claims_are_nobody(shared_world: World, how: str) -> None:
    claims = FORGERIES[how]()
    refusal = "session_ended" if "session" in how else "unauthenticated"
    with shared_world.refuses(refusal):
        shared_world.call(claims, "me_v1")
    with shared_world.refuses(refusal), standing(shared_world, "countersign_api") as api:
        api.execute("select app.begin_v1(%s, 'tenant.read')", (json.dumps(claims),))
    with standing(shared_world, "authenticated", claims) as api:
        assert api.execute("select count(*) from app.tenants").fetchone() == (0,)


def test_a_key_is_its_own_tenants_whatever_the_claims_say(shared_world: World) -> None:
    told = shared_world.call(
        GLOBEX.service() | {"tenant_id": ACME.id, "environment": "sandbox", "role": "owner"}, "me_v1"
    )
    assert (told["tenant"]["id"], told["environment"], told["role"]) == (GLOBEX.id, "production", None)


# Revocation counts from the next statement on.


def test_a_revoked_key_is_nobody_at_the_next_statement(world: World) -> None:
    for claims, how in (
        (ACME.service(), lambda: world.call(ACME.user("developer"), "revoke_api_key_v1", {"id": ACME.key()})),
        (ACME.service("sandbox"), lambda: world.owner.execute(_EXPIRE.encode())),
        (GLOBEX.service(), lambda: world.owner.execute("update app.service_accounts set disabled_at = now()")),
    ):  # fmt: skip
        with standing(world, "authenticated", claims) as held:
            assert held.execute("select count(*) from app.tenants").fetchone() == (1,)
            how()
            assert held.execute("select count(*) from app.tenants").fetchone() == (0,)
        with world.refuses("unauthenticated"):
            world.call(claims, "me_v1")


def test_a_revoked_key_does_not_come_back(world: World) -> None:
    world.call(ACME.user("developer"), "revoke_api_key_v1", {"id": ACME.key()})
    for vantage in ("owner", "owner, replica"):
        for change in (
            "revoked_at = null",
            "revoked_at = now() + interval '1 day'",
            "expires_at = now() + interval '99 days'",
        ):
            with world.refuses("key_ended"), standing(world, vantage, ACME.user()) as owner:
                owner.execute(f"update app.api_keys set {change} where id = '{ACME.key()}'".encode())


def test_a_removed_member_is_nobody_at_the_next_statement(world: World) -> None:
    with standing(world, "authenticated", ACME.user("operator")) as held:
        assert held.execute("select count(*) from app.tenants").fetchone() == (1,)
        world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("operator")})
        assert held.execute("select count(*) from app.tenants").fetchone() == (0,)


def test_an_old_snapshot_does_not_let_a_revoked_key_write(world: World) -> None:
    with world.database.connect(autocommit=False) as api:
        api.execute("set transaction isolation level repeatable read")
        api.execute("select 1")
        world.call(ACME.user("developer"), "revoke_api_key_v1", {"id": ACME.key()})
        run = {"id": str(new_id()), "workflow": ACME.slug(), "trigger": "call", "instruction": "x", "subject": None}
        with world.refuses("wrong_isolation"):
            world.call(ACME.service(), "start_run_v1", run, connection=api)
        api.rollback()


# Rows cannot point, or wander, into another tenant.


def test_a_membership_does_not_wander(world: World) -> None:
    for statement in (
        f"update app.members set tenant_id = '{ACME.id}' where user_id = '{GLOBEX.person('owner')}'",
        f"update app.members set user_id = '{GLOBEX.person('owner')}' where user_id = '{ACME.person('owner')}'",
        f"update app.api_keys set tenant_id = '{ACME.id}' where id = '{GLOBEX.key()}'",
        f"update app.service_accounts set tenant_id = '{ACME.id}', name = 'x' where id = '{GLOBEX.agent}'",
        f"update app.workflows set tenant_id = '{ACME.id}', slug = 'x' where id = '{GLOBEX.workflow()}'",
        f"update app.connections set tenant_id = '{ACME.id}' where id = '{GLOBEX.connection('bank/read')}'",
        f"update app.runs set tenant_id = '{ACME.id}' where id = '{GLOBEX.run()}'",
    ):
        for vantage in ("owner", "owner, replica"):
            with world.refuses("immutable_column", note=statement), standing(world, vantage, ACME.user()) as owner:
                owner.execute(statement.encode())


def test_a_tenant_keeps_an_owner(world: World) -> None:
    only = "delete from app.members where tenant_id = %s and role = 'owner' and user_id <> %s"
    world.owner.execute(only.encode(), (ACME.id, ACME.person("owner")))
    for statement in (
        "delete from app.members where user_id = %s",
        "update app.members set role = 'admin' where user_id = %s",
    ):
        for vantage in ("owner", "owner, repeatable read", "owner, serializable", "owner, replica"):
            with world.refuses("last_owner", "wrong_isolation", note=vantage), standing(world, vantage) as owner:
                owner.execute(statement.encode(), (ACME.person("owner"),))
    with world.refuses("last_owner"):
        world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("owner")})
    with world.refuses("owner_required"):
        world.call(ACME.user("admin"), "remove_member_v1", {"user_id": ACME.person("owner")})
    with world.refuses("last_owner"):
        world.call(ACME.user(), "leave_tenant_v1")
    with world.refuses("owner_required"):
        world.call(ACME.user("admin"), "change_role_v1", {"user_id": ACME.person("developer"), "role": "owner"})
    with world.refuses("owner_required"):
        world.call(ACME.user("admin"), "change_role_v1", {"user_id": ACME.person("owner"), "role": "auditor"})
    with world.refuses("own_role"):
        world.call(ACME.user("admin"), "change_role_v1", {"user_id": ACME.person("admin"), "role": "approver"})


def test_a_workflow_uses_its_own_connections(shared_world: World) -> None:
    for connection in (
        GLOBEX.connection("bank/read"),
        ACME.connection("bank/read", "sandbox"),
        ACME.connection("bank/write"),
    ):
        spec = {"connections": {"sandbox_bank": {"read": connection}}, "tools": {}}
        args = {"id": str(new_id()), "slug": "new", "environment": "production", "title": "New", "spec": spec}
        with shared_world.refuses("connection_mismatch"):
            shared_world.call(ACME.user("developer"), "create_workflow_v1", args)


# The application's login has two doors and nothing else.


def test_the_bare_login_can_do_nothing(shared_world: World) -> None:
    readable = shared_world.rows(
        "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('app', 'private', 'auth', 'vault', 'supabase_migrations')"
        " and c.relkind in ('r', 'v', 'p')"
        " and has_any_column_privilege('countersign_api', c.oid, 'select, insert, update, references')"
    )
    assert readable == []
    for statement in (
        "create table app.mine ()",
        "create table private.mine ()",
        "create function app.mine() returns void language sql as 'select'",
        "create schema mine",
        "set role postgres",
        "set role service_role",
        "set role anon",
        "set session authorization postgres",
        "set session_replication_role = replica",
        "alter table app.members disable trigger all",
        "alter role countersign_api bypassrls",
        "grant service_role to countersign_api",
        "grant postgres to authenticated",
        "select private.current_principal()",
        "select pg_read_file('vault_root_key')",
        "copy (select 1) to program 'true'",
    ):
        with shared_world.refuses(
            psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction, note=statement
        ):
            shared_world.api.execute(statement.encode())


def test_the_doors_lead_to_functions_of_app_only(shared_world: World) -> None:
    for name in (
        "fail",
        "release_credential",
        "pg_sleep",
        "private.require",
        "me_v1\"('{}'); select 1; --",
        "",
        "call_v1",
    ):
        with shared_world.refuses(psycopg.errors.UndefinedFunction, psycopg.errors.SyntaxError, note=name):
            shared_world.call(ACME.user(), name)
    with standing(shared_world, "countersign_api") as api:
        api.execute("select app.begin_v1(%s, 'tenant.read')", (json.dumps(ACME.user()),))
        assert api.execute("select current_user").fetchone() == ("authenticated",)


def test_claims_do_not_outlive_their_transaction(shared_world: World) -> None:
    """The next user of a pooled connection starts as nobody."""
    shared_world.call(ACME.user(), "me_v1")
    assert shared_world.api.execute("select current_user, current_setting('request.jwt.claims', true)").fetchone() == (
        "countersign_api", "",
    )  # fmt: skip


@pytest.mark.parametrize("type_name", ["uuid", "text", "jsonb", "timestamptz", "bytea"])
def test_a_shadowed_type_runs_nothing_as_the_owner(world: World, type_name: str) -> None:
    """A domain in the temporary schema, whose check runs whatever its maker likes.

    With an empty search_path a definer function would find it before pg_catalog's, and check as its owner.
    """
    with standing(world, "countersign_api") as api:
        api.execute(
            f"create function pg_temp.evil(pg_catalog.{type_name}) returns boolean language plpgsql as $$ begin"
            " if current_user = 'postgres' then raise exception 'evil ran as the owner'; end if;"
            " return true; end $$".encode()
        )
        api.execute("grant execute on all functions in schema pg_temp to public")
        api.execute(f"create domain pg_temp.{type_name} as pg_catalog.{type_name} check (pg_temp.evil(value))".encode())
        for name in ("members", "tenants", "permissions", "api_keys"):
            api.execute(f"create temp table {name} (tenant_id pg_catalog.uuid, role pg_catalog.text)".encode())
        args: Row = {"id": ACME.connection("bank/read"), "service_account_id": ACME.agent, "environment": "sandbox"}
        args |= {"secret_hash": "00" * 32, "prefix": "p", "scopes": ["tenant.read"], "expires_at": soon()}
        for function in ("me_v1", "list_kill_switches_v1", "revoke_connection_v1"):
            world.call(ACME.user(), function, args, connection=api)
            api.execute("reset role")
        world.call(ACME.user(), "create_api_key_v1", args | {"id": str(new_id())}, connection=api)


@pytest.mark.parametrize("vantage", APPLICATION)
def test_operators_and_functions_cannot_be_shadowed(shared_world: World, vantage: str) -> None:
    """Where a schema can be written to at all, it is not on the path of a definer function."""
    with shared_world.refuses(DENIED), standing(shared_world, vantage) as connection:
        connection.execute("create function public.sha256(bytea) returns bytea language sql as 'select $1'")
