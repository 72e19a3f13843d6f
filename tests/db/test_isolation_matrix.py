"""Every table in `app`, seen and touched by everybody it does not belong to.

Made from the catalog: a new table is in it unasked. A table that joins `app` needs rows in
tests/db/founding.py, so that "nothing visible" means something.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import standing
from tests.db.names import ACME, ENVIRONMENTS, GLOBEX, ROLES, Row
from tests.db.world import World

#: What even a member cannot select: tokens, sign-ins under way, stored answers.
HIDDEN = {"app.credentials", "app.oauth_flows", "app.idempotency_keys"}
#: What belongs to a tenant as a whole and is the same in both environments.
OF_BOTH_ENVIRONMENTS = {
    "app.tenants", "app.members", "app.service_accounts", "app.kill_switches", "app.constitution_versions",
    "app.audit_heads", "app.audit_checkpoints", "app.invitations", "app.tenant_settings",
}  # fmt: skip
#: Belongs to its workflow's environment.
OF_A_WORKFLOW = "app.workflow_versions"

OUTSIDERS: dict[str, Row] = {
    **{f"another tenant's {who}": GLOBEX.user(who) for who in ROLES},
    **{f"another tenant's {environment} key": GLOBEX.service(environment) for environment in ENVIRONMENTS},
    "another tenant's scheduled function": GLOBEX.system(),
    "another tenant's owner, naming this one": GLOBEX.user() | {"tenant_id": ACME.id},
    "a stranger, naming this tenant": ACME.user() | {"sub": str(new_id())},
    "this tenant's key, with another secret": ACME.service() | {"key_hash": "00" * 32},
    "this tenant's key, with another tenant's secret": ACME.service() | {"key_hash": GLOBEX.key_hash()},
    "this tenant's key, without a secret": {"kind": "service", "key_id": ACME.key()},
    "a service account without a key": {"kind": "service", "sub": ACME.agent, "tenant_id": ACME.id},
    "an unknown kind": {"kind": "admin", "sub": ACME.person("owner"), "tenant_id": ACME.id},
    "a role by name": {"role": "service_role", "sub": ACME.person("owner"), "tenant_id": ACME.id},
    "a plain Supabase token": {"role": "authenticated", "sub": ACME.person("owner"), "aal": "aal2"},
    "nobody": {},
}


@contextmanager
def _as(world: World, claims: Row) -> Iterator[psycopg.Connection[Any]]:
    with standing(world, "authenticated", claims) as connection:
        yield connection


def _count(connection: psycopg.Connection[Any], table: str, where: str = "true") -> int | None:
    """How many rows are seen; None when the table may not be read at all."""
    try:
        with connection.transaction():
            row = connection.execute(f"select count(tenant_id) from {table} where {where}".encode()).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return int(row[0]) if row else None


def test_there_is_something_to_see(still_world: World) -> None:
    for table in still_world.tables("app"):
        for tenant in (ACME, GLOBEX):
            assert still_world.value(f"select count(*) from {table} where tenant_id = %s", tenant.id) > 0, table


def test_a_member_sees_its_own_tenant_and_no_other(still_world: World) -> None:
    for who in ROLES:
        with _as(still_world, GLOBEX.user(who)) as member:
            for table in still_world.tables("app"):
                if table in HIDDEN:
                    assert _count(member, table) is None
                else:
                    own = still_world.value(f"select count(*) from {table} where tenant_id = %s", GLOBEX.id)
                    assert (_count(member, table), table) == (own, table)


@pytest.mark.parametrize("who", OUTSIDERS)
def test_outsiders_see_nothing(still_world: World, who: str) -> None:
    with _as(still_world, OUTSIDERS[who]) as outsider:
        for table in still_world.tables("app"):
            seen = _count(outsider, table, f"tenant_id = '{ACME.id}'")
            assert (seen, table) == (None if table in HIDDEN else 0, table)


@pytest.mark.parametrize("who", [*OUTSIDERS, "the tenant's own owner"])
def test_nobody_writes_past_the_functions(still_world: World, who: str) -> None:
    """Not even a tenant's own people: every change goes through a function that checks and records it."""
    claims = OUTSIDERS.get(who, ACME.user())
    with _as(still_world, claims) as outsider:
        for table in still_world.tables("app"):
            for statement in (
                f"insert into {table} default values",
                f"insert into {table} (tenant_id) values ('{ACME.id}')",
                f"update {table} set tenant_id = tenant_id where tenant_id = '{ACME.id}'",
                f"delete from {table} where tenant_id = '{ACME.id}'",
                f"select 1 from {table} for update",
                f"truncate {table}",
                f"lock table {table} in share mode",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), outsider.transaction():
                    outsider.execute(statement.encode())


@pytest.mark.parametrize("role", ["anon", "service_role", "countersign_api"])
def test_other_roles_have_no_way_in(still_world: World, role: str) -> None:
    with still_world.database.connect(role) as connection:
        for table in still_world.tables("app", "private"):
            for statement in (f"select 1 from {table}", f"delete from {table}", f"insert into {table} default values"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


@pytest.mark.parametrize("own", ENVIRONMENTS)
def test_a_key_sees_its_environment_only(still_world: World, own: str) -> None:
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
                assert (seen, table) == (rows if visible else 0, table)


def test_a_member_sees_both_environments(still_world: World) -> None:
    with _as(still_world, ACME.user("auditor")) as member:
        for environment in ENVIRONMENTS:
            assert _count(member, "app.actions", f"environment = '{environment}'") == still_world.value(
                "select count(*) from app.actions where tenant_id = %s and environment = %s", ACME.id, environment
            )
