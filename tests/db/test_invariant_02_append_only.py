"""Invariant 2: what is append-only refuses change for everybody, the owner of the tables included."""

from __future__ import annotations

import psycopg
import pytest

from tests.db.attacks import OWNER, VANTAGES, refused_everywhere, standing
from tests.db.names import ACME
from tests.db.world import World

#: What section 4 of the design names, and what later rows rest on.
APPEND_ONLY = {
    "app.audit_events": "record",
    "app.decisions": "outcome",
    "app.approvals": "digest",
    "app.constitution_versions": "reason",
    "app.workflow_versions": "version",
    "app.credential_releases": "purpose",
    "app.audit_checkpoints": "signature",
    "app.gate_facts": "environment",
    "private.tool_catalog": "effect",
}


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_rows_cannot_be_changed_or_removed(still_world: World, table: str) -> None:
    column = APPEND_ONLY[table]
    assert still_world.value(f"select count(*) from {table}") > 0
    for statement in (
        f"update {table} set {column} = {column}",
        f"delete from {table}",
        f"truncate {table}",
        f"truncate {table} cascade",
        f"with gone as (delete from {table} returning 1) select count(*) from gone",
        f"merge into {table} t using {table} s on t.ctid = s.ctid when matched then delete",
    ):
        refused_everywhere(
            still_world, statement, reasons=("append_only", psycopg.errors.FeatureNotSupported)
        )  # FeatureNotSupported: a truncate that foreign keys forbid already


@pytest.mark.parametrize("table", ["app.audit_heads", "app.idempotency_keys", "app.actions", "app.kill_switches"])
def test_what_lives_on_cannot_be_removed_either(still_world: World, table: str) -> None:
    assert still_world.value(f"select count(*) from {table}") > 0
    refused_everywhere(still_world, f"delete from {table}", reasons=("append_only",))
    refused_everywhere(still_world, f"truncate {table} cascade", reasons=("append_only",))


def test_no_table_can_be_truncated(still_world: World) -> None:
    tables = still_world.tables("app")
    assert len(tables) > 20
    for table in tables:
        refused_everywhere(still_world, f"truncate {table} cascade", reasons=("append_only",))


@pytest.mark.parametrize("vantage", OWNER)
def test_an_upsert_is_a_change(still_world: World, vantage: str) -> None:
    with (
        still_world.refuses("append_only", "people_only", "unauthenticated", "wrong_isolation"),
        standing(still_world, vantage) as owner,
    ):
        owner.execute(
            "insert into app.constitution_versions select * from app.constitution_versions"
            " on conflict (tenant_id, version) do update set rules = '[{}]'"
        )


def test_the_tenant_that_rows_point_to_stays(busy_world: World) -> None:
    refused_everywhere(busy_world, "delete from app.tenants where tenant_id = %s", ACME.id, reasons=("append_only",))
    refused_everywhere(
        busy_world,
        "update app.tenants set tenant_id = gen_random_uuid() where tenant_id = %s",
        ACME.id,
        reasons=("immutable_column", psycopg.errors.ForeignKeyViolation),
    )


def test_every_vantage_point_is_what_it_says(busy_world: World) -> None:
    """The refusals above are worth something only if the owner may write at all."""
    for vantage in VANTAGES:
        with standing(busy_world, vantage) as connection:
            (replica,) = connection.execute("show session_replication_role").fetchone() or ("",)
            assert (replica == "replica") == vantage.endswith("replica")
    with standing(busy_world, "owner, replica") as owner:
        renamed = owner.execute("update app.tenants set name = 'renamed' where tenant_id = %s", (ACME.id,))
        assert renamed.rowcount == 1
