"""A version goes live when nine controls hold, each of which is broken here on its own, by whoever could break it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from api.providers.manifest import manifests
from api.workflows.data_classes import CLASS_OF_ROLE, classes_of
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.founding import spec_of
from tests.db.names import ACME, BILLS, DELETE, GLOBEX, NOTE, PAY, Row
from tests.db.world import World

APPROVAL = {"slug": ACME.slug(), "version": 2, "reason": "read"}


def reviewed(world: World, spec: Row | None = None) -> None:
    """A second version of the workflow, written by the developer, in review."""
    spec = spec or spec_of(ACME, "production")
    world.call(ACME.user("developer"), "create_workflow_version_v1", {"slug": ACME.slug(), "spec": spec})
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": ACME.slug(), "version": 2})


def controls(world: World, by: Row | None = None) -> dict[int, Row]:
    """What readiness says of the second version, by control."""
    answer = world.call(by or ACME.user("auditor"), "readiness_v1", {"slug": ACME.slug(), "version": 2})
    return {control["control"]: control for control in answer["controls"]}


def approve(world: World) -> Row:
    return world.call(ACME.user("admin"), "approve_workflow_version_v1", APPROVAL)


def changed(**changes: Any) -> Row:
    return spec_of(ACME, "production") | changes


def with_tool(tool: str, **changes: Any) -> Row:
    spec = copy.deepcopy(spec_of(ACME, "production"))
    spec["tools"][tool] = spec["tools"].get(tool, {}) | changes
    return spec


def without(spec: Row, *names: str) -> Row:
    for name in names:
        spec["tools"].pop(name, None)
    return spec


def test_a_version_of_which_everything_holds_goes_live(world: World) -> None:
    reviewed(world)
    found = controls(world)
    assert {number: control["missing"] for number, control in found.items()} == {n: [] for n in range(1, 10)}
    assert all(control["evidence"] for control in found.values())
    assert approve(world)["status"] == "live"


#: By control: a spec that it does not hold for, and a word of what is said.
SPECS: list[tuple[int, str, Callable[[], Row]]] = [
    (1, "names no tool", lambda: changed(tools={}, connections={})),
    (1, "Not in force", lambda: with_tool("sandbox_bank.no.such", access="write")),
    (1, "another access", lambda: with_tool(BILLS, access="write")),
    (1, "Name the fields", lambda: with_tool(BILLS, read_fields=[])),
    (1, "Name the fields", lambda: with_tool(BILLS, read_fields=["/bills/*/id", ""])),
    (1, "No connection", lambda: changed(connections={})),
    (1, "no tool writes through it: sandbox_crm", lambda: without(changed(), NOTE, DELETE)),
    (2, "(5 needed, 4 there)", lambda: with_tool(PAY, approvals={"count": 5, "roles": ["owner", "approver"]})),
    (2, "(1 needed, 0 there)", lambda: changed(approvals={"count": 1, "roles": ["operator", "auditor"]})),
    (5, "confidence_min is not set", lambda: changed(confidence_min=None)),
    (5, "confidence_min is 0.49", lambda: changed(confidence_min=0.49)),
    (5, "A confidence of less than 0.5", lambda: with_tool(NOTE, confidence_min=0.49)),
    (5, "approval_hours", lambda: changed(approval_hours=9999)),
    (6, "No data classes", lambda: changed(data_classes=[])),
    (6, "/bills/*/iban of sandbox_bank.bills.list (financial)", lambda: changed(data_classes=["internal", "personal"])),
    (6, "financial data to sandbox_bank.payments.create", lambda: with_tool(PAY, data_classes=["personal"])),
    (6, "retention_days", lambda: changed(retention_days=None)),
    (6, "erased after 3 days", lambda: changed(retention_days=3, retention={}, approval_hours=73)),
    (6, "erased after 1 days", lambda: changed(retention={"personal": 10, "financial": 1})),
    (7, "cannot be undone: sandbox_crm.notes.create", lambda: with_tool(NOTE, irreversible_alone=False)),
    (9, "No approval is asked for", lambda: with_tool(PAY, approvals={"count": 0, "roles": ["owner"]})),
]


@pytest.mark.parametrize(("control", "said", "spec"), SPECS, ids=[f"{c}: {s}" for c, s, _ in SPECS])
def test_a_spec_that_breaks_a_control_does_not_go_live(
    world: World, control: int, said: str, spec: Callable[[], Row]
) -> None:
    """The function takes what the application would have refused before; the database looks for itself."""
    reviewed(world, spec())
    found = controls(world)[control]
    assert (found["verified"], any(said in missing for missing in found["missing"])) == (False, True), found
    with world.refuses("not_ready"):
        approve(world)


#: By control: what happens to the world, as its superuser, and a word of what is said.
BROKEN: list[tuple[int, str, str]] = [
    (1, "Row-level security", "alter table app.runs no force row level security"),
    (1, "Row-level security", "alter table app.members disable row level security"),
    (2, "approvals_guard", "alter table app.approvals disable trigger approvals_guard"),
    (2, "approvals_guard", "alter table app.approvals enable trigger approvals_guard"),
    (2, "exceptions_guard", "drop trigger exceptions_guard on app.exceptions"),
    (3, "app.runs.zz_audit_change", "drop trigger zz_audit_change on app.runs"),
    (3, "app.audit_events.refuse_change", "alter table app.audit_events disable trigger refuse_change"),
    (4, "sandbox_bank (read) is degraded", "update app.connections set status = 'degraded' where id = '{bank}'"),
    (4, "The credential is missing", "delete from vault.secrets"),
    (4, "no end within a year", "update app.api_keys set expires_at = 'infinity'"),
    (4, "tokens end of: sandbox_", "delete from private.function_runs where function = 'refresh_tokens'"),
    (4, "refresh_tokens", "update private.function_runs set succeeded_at = now() - interval '31 minutes'"),
    (5, "execute_actions", "update private.function_runs set succeeded_at = now() - interval '16 minutes'"),
    (6, "purge_expired", "delete from private.function_runs"),
    (6, "purge_expired", "update private.function_runs set succeeded_at = now() - interval '49 hours'"),
    (7, "The guards of kill switches", "alter table app.kill_switches disable trigger kill_switches_guard"),
    (8, "The owner is no member", "update app.members set email = 'new@example.com' where email = 'owner@example.com'"),
    (8, "expire_exceptions", "update private.function_runs set succeeded_at = null"),
    (9, "actions_guard", "alter table app.actions disable trigger actions_guard"),
    (9, "no longer hard gates in this database: pricing", "{no_pricing}"),
]
NO_PRICING = """create or replace function private.is_hard_gate(p_effect text) returns boolean language sql immutable
    set search_path = pg_catalog, pg_temp as $$ select p_effect in ('destructive', 'bulk', 'money_movement', 'legal',
    'employment', 'regulated', 'permission_change', 'credential_change', 'mass_outbound') $$"""


@pytest.mark.parametrize(("control", "said", "statement"), BROKEN, ids=[f"{c}: {s}" for c, s, _ in BROKEN])
def test_a_world_that_breaks_a_control_lets_nothing_go_live(
    world: World, control: int, said: str, statement: str
) -> None:
    reviewed(world)
    statement = statement.replace("{bank}", ACME.connection("bank/read")).replace("{no_pricing}", NO_PRICING)
    with world.root.transaction():
        if "api_keys" in statement or "members set" in statement:
            world.root.execute("alter table app.api_keys disable trigger user")
        world.root.execute(statement.encode())
    found = controls(world)[control]
    assert (found["verified"], any(said in missing for missing in found["missing"])) == (False, True), found
    if "The owner is" in said:
        with world.refuses("owner_not_a_member"):
            approve(world)
    else:
        with world.refuses("not_ready"):
            approve(world)


def test_a_chain_that_was_rewritten_lets_nothing_go_live(world: World) -> None:
    reviewed(world)
    assert controls(world)[3]["verified"]
    last = world.last_event()
    for statement in (
        "update app.audit_events set record = replace(record, 'in_review', 'live') where tenant_id = %s and seq = %s",
        "delete from app.audit_events where tenant_id = %s and seq = %s",
        "update app.audit_heads set seq = seq + 1 where tenant_id = %s and seq = %s",
    ):
        with world.root.transaction(force_rollback=True):
            world.root.execute("alter table app.audit_events disable trigger user")
            world.root.execute("alter table app.audit_heads disable trigger user")
            world.root.execute(statement.encode(), (ACME.id, last))
            world.root.execute("alter table app.audit_events enable always trigger refuse_change")
            world.root.execute("alter table app.audit_events enable always trigger audit_events_chain")
            rows = world.root.execute(
                "select missing from private.readiness_3((select w from app.workflows w where id = %s),"
                " (select v from app.workflow_versions v where workflow_id = %s and version = 2))",
                (ACME.workflow(), ACME.workflow()),
            ).fetchall()
            assert any("does not verify" in str(missing) for (missing,) in rows), statement


def test_a_kill_switch_keeps_a_version_from_going_live(world: World) -> None:
    reviewed(world)
    for scope, target in (
        ("tenant", ACME.id), ("workflow", ACME.workflow()), ("tool", PAY), ("connection", ACME.connection("crm/write")),
    ):  # fmt: skip
        switch = world.stop(ACME, scope, target)
        assert any("kill switch" in missing for missing in controls(world)[8]["missing"])
        with world.refuses("not_ready"):
            approve(world)
        world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "over"})
    world.stop(ACME, "tool", "sandbox_bank.refunds.create")
    world.stop(ACME, "workflow", ACME.workflow("sandbox"))
    world.stop(GLOBEX)
    assert approve(world)["status"] == "live"


def test_a_consent_that_ends_soon_is_noticed_where_connections_say_when(world: World) -> None:
    reviewed(world)
    world.root.execute("alter table app.connections add column if not exists consent_expires_at timestamptz")
    for days, verified in ((30, True), (6, False)):
        with world.root.transaction():
            world.root.execute("alter table app.connections disable trigger user")
            world.root.execute(
                "update app.connections set consent_expires_at = now() + %s * interval '1 day' where tenant_id = %s",
                (days, ACME.id),
            )
            for (name,) in world.rows(
                "select tgname from pg_trigger where tgrelid = 'app.connections'::regclass and not tgisinternal"
            ):
                world.root.execute(f"alter table app.connections enable always trigger {name}".encode())
        assert controls(world)[4]["verified"] is verified


def test_the_owner_of_the_tables_puts_nothing_live_past_a_control(world: World) -> None:
    """With the claims of a person who may approve, and everything else as it should be."""
    reviewed(world, with_tool(NOTE, irreversible_alone=False))
    refused_everywhere(
        world,
        "update app.workflow_reviews set status = 'live', approved_by = %s where workflow_id = %s and version = 2",
        ACME.person("admin"), ACME.workflow(),
        claims=ACME.user("admin"), vantages=OWNER, reasons=("not_ready",),
    )  # fmt: skip


def test_one_list_of_hard_gates_in_the_application_and_the_database(world: World) -> None:
    reviewed(world)
    ours = world.value("select private.hard_gates()")
    with world.refuses("not_ready"):
        world.call(ACME.user("admin"), "approve_workflow_version_v1", APPROVAL | {"hard_gates": ours[1:]})
    world.call(ACME.user("admin"), "approve_workflow_version_v1", APPROVAL | {"hard_gates": ours})


def test_whose_duties_are_separated_does_not_count(world: World) -> None:
    """Where it is so decided, who issued the key that proposes cannot approve, and is no approver that there is."""
    reviewed(world, with_tool(PAY, approvals={"count": 4, "roles": ["owner", "approver"]}))
    assert controls(world)[2]["verified"]
    world.rows(
        "update app.api_keys set revoked_at = now() where tenant_id = %s and environment = 'production'", ACME.id
    )
    key = {
        "id": GLOBEX.person("x"), "service_account_id": ACME.agent, "environment": "production", "prefix": "cs_test",
        "secret_hash": "ab" * 32, "scopes": ["actions.propose"],
        "expires_at": world.value("select (now() + interval '3 days')::text"),
    }  # fmt: skip
    world.call(ACME.user("owner"), "create_api_key_v1", key)
    assert controls(world)[2]["verified"]
    world.rows(
        "alter table app.tenant_settings disable trigger tenant_settings_guard;"
        " insert into app.tenant_settings (tenant_id, version, separation_of_duties, changed_by)"
        f" select '{ACME.id}', coalesce(max(version), 0) + 1, true, '{ACME.person('owner')}' from app.tenant_settings"
        f" where tenant_id = '{ACME.id}'"
    )
    assert "(4 needed, 3 there)" in " ".join(controls(world)[2]["missing"])


def test_who_may_read_workflows_reads_readiness_and_nobody_elses(world: World) -> None:
    reviewed(world)
    for by in (ACME.user("auditor"), ACME.user("approver", "aal1"), ACME.service()):
        assert set(controls(world, by)) == set(range(1, 10))
    with world.refuses("wrong_environment"):
        controls(world, ACME.service("sandbox"))
    other = world.call(GLOBEX.user(), "readiness_v1", {"slug": GLOBEX.slug(), "version": None})
    assert (other["version"], other["status"]) == (1, "live")
    with world.refuses("not_found"):
        controls(world, GLOBEX.user())


def test_python_and_sql_see_the_same_classes(still_world: World) -> None:
    """Of every field that a manifest labels, of its parents, and of what it does not label."""
    compared = 0
    for manifest in manifests().values():
        for contract in manifest.contracts():
            labels = contract.output.data_classes
            fields = {"/nowhere", "", *labels, *(label.rpartition("/")[0] for label in labels)}
            fields |= {f"{label}/deeper" for label in labels} | {label.replace("*", "0") for label in labels}
            for field in sorted(fields):
                found = still_world.value(
                    "select private.classes_of_field(contract, %s) from private.tool_catalog where name = %s",
                    field, contract.name,
                )  # fmt: skip
                assert (contract.name, field, set(found)) == (contract.name, field, classes_of(contract, field))
                compared += 1
    assert compared > 100
    roles = ("recipient", "account", "amount", "url", "object_id", "free_text", "quantity", "setting")
    assert {role: still_world.value("select private.class_of_role(%s)", role) for role in roles} == {
        role: CLASS_OF_ROLE.get(role) for role in roles
    }


def test_every_guard_is_registered(still_world: World) -> None:
    """A table that is guarded later registers itself; a guard that a migration removes must say so (guard_table)."""
    assert (
        still_world.rows(
            "select g.relation, g.trigger from private.guards g full join ("
            "  select tgrelid::regclass::text as relation, tgname as trigger from pg_trigger t"
            "  join pg_class c on c.oid = t.tgrelid where not tgisinternal"
            "  and c.relnamespace in ('app'::regnamespace, 'private'::regnamespace)) t using (relation, trigger)"
            " where g.relation is null or t.relation is null or not exists (select from pg_trigger p where"
            "  p.tgrelid = to_regclass(g.relation) and p.tgname = g.trigger)"
        )
        == []
    )
