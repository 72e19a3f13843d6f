"""A tenant's own tools: declared by people, for themselves alone, and never milder than they were."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.ids import new_id
from tests.db import tools
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.founding import spec_of
from tests.db.names import ACME, GLOBEX, NOTE, PAY, Row, Tenant
from tests.db.tools import TOOL, refund
from tests.db.world import World, refusal

HARD: Row = {"effect": "money_movement", "reversible": False}
INSERT = (
    "insert into app.tenant_tools (tenant_id, id, name, version, access, effect, contract, digest, registered_by)"
    " values (%s, gen_random_uuid(), %s, %s, %s, %s, %s, '', %s)"
)


def row(contract: Row, version: int = 1, tenant: Tenant = ACME, by: str = "owner") -> tuple[Any, ...]:
    """Values for INSERT."""
    named = contract["name"], version, contract["access"], contract["effect"]
    return tenant.id, *named, Jsonb(contract), tenant.person(by)


def listed(world: World, tenant: Tenant) -> dict[str, Row]:
    found: Any = world.call(tenant.user("auditor"), "list_tools_v1", {})
    return {tool["name"]: tool for tool in found}


def relied_on(world: World, **grant: Any) -> None:
    """A version of the workflow that names the tool waits for its review."""
    spec = spec_of(ACME, "production")
    body = {"slug": ACME.slug(), "spec": spec | {"tools": {TOOL: {"access": "write"} | grant}}}
    version = world.call(ACME.user("developer"), "create_workflow_version_v1", body)["version"]
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": ACME.slug(), "version": version})


def test_other_content_is_another_version_and_the_same_is_the_same(world: World) -> None:
    first = tools.register(world, ACME)
    assert (first["version"], first["created"], first["origin"], first["provider"]) == (1, True, "tenant", "tenant")
    assert tools.register(world, ACME, ACME.user("developer")) == first | {"created": False}
    second = tools.register(world, ACME, title="Another title")
    assert (second["version"], second["created"]) == (2, True)
    again = tools.register(world, ACME)
    assert (again["version"], again["created"]) == (3, True)
    assert listed(world, ACME)[TOOL]["version"] == 3


def test_it_raises_the_epoch_and_is_audited_with_its_digest(world: World) -> None:
    epoch, seen = world.epoch(ACME), world.last_event(ACME)
    tools.register(world, ACME, ACME.user("admin"), **HARD)
    assert world.epoch(ACME) > epoch
    [event] = [e for e in world.events(ACME, seen) if e["type"] == "tool.registered"]
    assert event["principal"]["id"] == ACME.person("admin")
    assert (event["what"]["name"], event["what"]["effect"]) == (TOOL, "money_movement")
    assert event["what"]["digest"] == world.value(
        "select 'sha256:' || encode(sha256(convert_to(contract::text, 'UTF8')), 'hex') from app.tenant_tools"
    )
    assert world.verified(ACME)["ok"]


def test_only_people_who_may_declare_what_a_tool_is(world: World) -> None:
    for claims, reason in (
        (ACME.service(), "permission_denied"),
        (ACME.service("sandbox"), "permission_denied"),
        (ACME.system(), "permission_denied"),
        (ACME.user("operator"), "permission_denied"),
        (ACME.user("approver"), "permission_denied"),
        (ACME.user("auditor"), "permission_denied"),
        (ACME.user("owner", "aal1"), "aal2_required"),
        (ACME.user("developer", "aal1"), "aal2_required"),
        ({"kind": "nobody"}, "unauthenticated"),
    ):
        with world.refuses(reason, note=claims):
            tools.register(world, ACME, claims)
    for who in ("owner", "admin", "developer"):
        tools.register(world, ACME, ACME.user(who), title=who)


def test_no_key_can_be_given_the_permission(world: World) -> None:
    for change in ("service = true", "system = true", "aal2 = false"):
        with world.refuses(psycopg.errors.CheckViolation, note=change):
            world.owner.execute(f"update private.permissions set {change} where permission = 'tools.write'".encode())


def test_another_tenant_neither_sees_nor_uses_nor_shadows_it(world: World) -> None:
    tools.register(world, ACME, **HARD)
    assert TOOL not in listed(world, GLOBEX)
    assert not world.call(GLOBEX.user(), "list_tools_v1", {"name": TOOL})
    facts = world.call(GLOBEX.service(), "gate_facts_v1", {"workflow": GLOBEX.slug()})["facts"]
    assert TOOL not in facts["known_tools"]
    with refusal("contract_moved"):
        tools.propose(world, GLOBEX, effect="money_movement", outcome="deny")
    with world.refuses("unknown_target"):
        world.stop(GLOBEX, "tool", TOOL)
    # A tool of theirs of the same name is another tool, and changes nothing here.
    tools.register(world, GLOBEX, effect="write")
    assert (listed(world, GLOBEX)[TOOL]["effect"], listed(world, ACME)[TOOL]["effect"]) == ("write", "money_movement")
    with refusal("contract_moved"):
        tools.propose(world, ACME, effect="write")
    with standing(world, "authenticated", GLOBEX.user()) as member:
        seen = member.execute("select distinct tenant_id::text from app.tenant_tools").fetchall()
    assert seen == [(GLOBEX.id,)]


@pytest.mark.parametrize("effect", ["write", "outbound_message", "destructive"])
def test_a_later_version_lifts_no_hard_gate(world: World, effect: str) -> None:
    tools.register(world, ACME, effect="legal")
    with world.refuses("hard_gate_lifted"):
        tools.register(world, ACME, effect=effect)
    # Nor by way of a version that is stricter still: what was one is one.
    tools.register(world, ACME, effect="money_movement")
    with world.refuses("hard_gate_lifted"):
        tools.register(world, ACME, effect=effect)


@pytest.mark.parametrize(
    "name", [PAY, NOTE, "sandbox_bank.mine.create", "sandbox_crm.x", "tenant.x", "hubspot.anything.at_all"]
)
def test_names_of_providers_are_taken(world: World, name: str) -> None:
    with world.refuses("name_taken"):
        tools.register(world, ACME, name=name)


def test_the_catalogue_wins_when_it_gains_the_name_later(world: World) -> None:
    tools.register(world, ACME, effect="write")
    action = tools.propose(world, ACME)
    world.owner.execute(
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " values (%s, 1, 'till', 'write', 'destructive', %s)",
        (TOOL, Jsonb(refund(effect="destructive", provider="till", execution={"mode": "http", "method": "POST"}))),
    )
    tool = listed(world, ACME)[TOOL]
    assert (tool["effect"], tool["origin"], tool["provider"]) == ("destructive", "provider", "till")
    facts = world.call(ACME.service(), "gate_facts_v1", {"workflow": ACME.slug()})["facts"]
    assert facts["known_tools"][TOOL]["effect"] == "destructive"
    # Nothing happens under the declaration any more, although version and name are the same.
    with refusal("contract_moved"):
        tools.propose(world, ACME)
    with world.nothing_released():
        assert world.claim(action)["claimed"] is False
    with world.refuses("name_taken"):
        tools.register(world, ACME, title="Back again")
    with world.refuses("name_taken"):
        tools.register(world, ACME)


def test_no_provider_is_called_tenant(world: World) -> None:
    with world.refuses("name_taken"):
        world.owner.execute(
            "insert into private.tool_catalog values ('x.y', 1, 'tenant', 'write', 'write', %s)",
            (Jsonb(refund(name="x.y")),),
        )


def test_while_a_workflow_relies_on_it_nothing_changes_that_its_reviewer_went_by(world: World) -> None:
    tools.register(world, ACME)
    relied_on(world)
    for change in (
        {"title": "Say hello"},
        {"effect": "outbound_message"},
        {"reversible": False},
        {"idempotency": "none"},
        {"arguments": {"/receipt": {"role": "setting"}, "/reference": {"role": "free_text"}}},
        {"arguments": refund()["arguments"] | {"/bcc": {"role": "setting"}}},
        {"output": {"trust": {"": "trusted"}, "data_classes": {}}},
        {"intents": ["anything"]},
    ):
        with world.refuses("tool_in_use", note=change):
            tools.register(world, ACME, ACME.user("developer"), **change)
    schema = refund()["input_schema"] | {"required": ["receipt"]}
    assert tools.register(world, ACME, input_schema=schema)["version"] == 2
    # What turns out to be more than was said becomes a hard gate at once.
    assert tools.register(world, ACME, input_schema=schema, effect="destructive")["version"] == 3
    with world.refuses("hard_gate_lifted"):
        tools.register(world, ACME, input_schema=schema)


def test_it_may_change_when_no_workflow_relies_on_it_any_more(world: World) -> None:
    tools.register(world, ACME)
    relied_on(world)
    version = world.value(
        "select max(version) from app.workflow_reviews where status = 'in_review' and workflow_id = %s",
        ACME.workflow(),
    )
    named = {"slug": ACME.slug(), "version": version}
    world.call(ACME.user("developer"), "withdraw_workflow_version_v1", named)
    assert tools.register(world, ACME, title="Say hello")["version"] == 2


@pytest.mark.parametrize("vantage", OWNER)
def test_what_is_registered_is_never_rewritten(still_world: World, vantage: str) -> None:
    for statement in (
        "update app.tenant_tools set effect = 'write'",
        'update app.tenant_tools set contract = contract || \'{"effect": "write"}\'',
        "delete from app.tenant_tools",
        "truncate app.tenant_tools",
    ):
        refused_everywhere(still_world, statement, reasons=("append_only",))
    with (
        still_world.refuses("append_only", "people_only", "version_moved", "wrong_isolation"),
        standing(still_world, vantage, ACME.user()) as owner,
    ):
        owner.execute(
            "insert into app.tenant_tools select * from app.tenant_tools"
            " on conflict (tenant_id, name, version) do update set effect = 'write'"
        )


def test_the_owner_of_the_table_declares_nothing_either(world: World) -> None:
    """In nobody's name, in another's, for another tenant, out of turn, or with a document that says something else."""
    tools.register(world, ACME)
    contract = refund(title="Another")
    attacks: list[tuple[Row | None, tuple[Any, ...], object]] = [
        (None, row(contract, 2), "unauthenticated"),
        (ACME.service(), row(contract, 2), "permission_denied"),
        (ACME.user("owner", "aal1"), row(contract, 2), "aal2_required"),
        (ACME.user("operator"), row(contract, 2, by="operator"), "permission_denied"),
        (ACME.user("admin"), row(contract, 2), "people_only"),
        (GLOBEX.user(), row(contract, 2), "people_only"),
        (ACME.user(), row(contract, 2, GLOBEX), "people_only"),
        (ACME.user(), row(contract, 1), "version_moved"),
        (ACME.user(), row(contract, 7), "version_moved"),
        (ACME.user(), row(contract | {"name": PAY}), "name_taken"),
        (ACME.user(), (*row(contract, 2)[:4], "legal", *row(contract, 2)[5:]), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"provider": "sandbox_bank"}, 2), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"execution": {"mode": "http"}}, 2), psycopg.errors.CheckViolation),
        (ACME.user(), row({k: v for k, v in contract.items() if k != "execution"}, 2), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"version": 9}, 2), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"effect": "harmless"}, 2), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"name": "t\u0456ll.x"}), psycopg.errors.CheckViolation),
        (ACME.user(), row(contract | {"title": "x" * 100_001}, 2), psycopg.errors.CheckViolation),
    ]
    for claims, values, reason in attacks:
        assert isinstance(reason, str | type)
        with world.refuses(reason, note=(claims, values)), standing(world, "postgres", claims or {}) as owner:
            owner.execute(INSERT.encode(), values)


def test_a_tenant_has_no_end_of_tools_but_this_one(world: World) -> None:
    tools.register(world, ACME)
    world.root.execute("set session_replication_role = replica")
    world.root.execute("alter table app.tenant_tools disable trigger all")
    world.root.execute(
        "insert into app.tenant_tools select tenant_id, gen_random_uuid(), 'many.t' || n, 1, access, effect,"
        " contract || jsonb_build_object('name', 'many.t' || n), digest, registered_by, created_at"
        " from app.tenant_tools, generate_series(1, 499) n"
    )
    world.root.execute("alter table app.tenant_tools enable always trigger tenant_tools_guard")
    with refusal("too_many_tools"):
        tools.register(world, ACME, name="one.more")
    assert tools.register(world, ACME, title="Another")["version"] == 2


def test_it_can_be_stopped(world: World) -> None:
    tools.register(world, ACME)
    world.stop(ACME, "tool", TOOL)
    facts = world.call(ACME.service(), "gate_facts_v1", {"workflow": ACME.slug()})["facts"]
    assert [switch["target"] for switch in facts["kill_switches"]] == [TOOL]


def due(world: World) -> set[str]:
    """What the executor is handed."""
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        found = world.api.execute("select app.claim_due_actions_v1(100)").fetchone()
    assert found is not None
    return {item["action_id"] for item in found[0]}


def test_what_the_client_executes_is_no_executors_work(world: World) -> None:
    tools.register(world, ACME)
    action = tools.propose(world, ACME)
    assert action.status == "authorized"
    assert world.value("select next_attempt_at from app.actions where id = %s", action.id) is None
    assert action.id not in due(world)
    with world.unchanged(), world.nothing_released():
        claimed = world.claim(action)
    assert claimed == {"claimed": False, "reason": "external", "status": "authorized"}
    with world.refuses("invalid_transition"):
        world.owner.execute("update app.actions set status = 'succeeded' where id = %s", (action.id,))
    world.owner.execute("update app.actions set next_attempt_at = now() where id = %s", (action.id,))
    assert action.id not in due(world)


def test_it_waits_for_people_like_any_other_and_then_for_the_client(world: World) -> None:
    tools.register(world, ACME, **HARD)
    with refusal("approvals_missing", "hard_gate"):
        tools.propose(world, ACME, effect="money_movement")
    action = tools.propose(world, ACME, effect="money_movement", outcome="escalate")
    assert action.status == "awaiting_approval"
    with world.refuses("approvals_missing"):
        world.owner.execute("update app.actions set status = 'authorized' where id = %s", (action.id,))
    world.approve(action)
    assert world.status(action) == "authorized"
    assert action.id not in due(world)


def test_an_approval_does_not_outlive_its_contract(world: World) -> None:
    tools.register(world, ACME, **HARD)
    waiting = tools.propose(world, ACME, effect="money_movement", outcome="escalate")
    approved = tools.propose(world, ACME, effect="money_movement", outcome="escalate")
    world.approve(approved)
    tools.register(world, ACME, title="Another", **HARD)
    with world.refuses("contract_moved"):
        world.approve(waiting)
    assert due(world) >= {approved.id}
    assert world.claim(approved)["reason"] == "the tool has a new contract"
    assert world.status(approved) == "expired"


def test_an_authorized_one_expires_when_its_time_is_over(world: World) -> None:
    tools.register(world, ACME)
    action = tools.propose(world, ACME)
    for statement in (
        "alter table app.actions disable trigger actions_keep_columns",
        f"update app.actions set expires_at = now() where id = '{action.id}'",
        "alter table app.actions enable always trigger actions_keep_columns",
    ):
        world.root.execute(statement.encode())
    assert action.id in due(world)
    assert world.claim(action) == {
        "claimed": False, "reason": "the time to execute it is over", "status": "expired",
    }  # fmt: skip
    assert world.status(action) == "expired"
    assert action.id not in due(world)


def test_no_connection_goes_with_it(world: World) -> None:
    tools.register(world, ACME)
    made = world.proposal(ACME, TOOL, effect="write", outcome="allow")
    assert made["connection_id"]
    with world.refuses("external_tool"):
        world.call(ACME.service(), "record_action_v1", made)


def test_no_credential_is_released_to_read_with_it(world: World) -> None:
    tools.register(world, ACME, name="till.receipts.list", access="read", effect="read")
    with world.refuses("external_tool"):
        world.call(ACME.service(), "claim_observation_v1", world.observation(tool="till.receipts.list"))


def test_readiness_finds_the_tenants_own_tools_and_asks_for_no_connection(world: World) -> None:
    spec = spec_of(ACME, "production")
    grant = {"access": "write", "data_classes": ["internal"], "irreversible_alone": True}
    body = {"slug": ACME.slug(), "spec": spec | {"tools": spec["tools"] | {TOOL: grant}}}
    version = world.call(ACME.user("developer"), "create_workflow_version_v1", body)["version"]

    def missing() -> dict[int, str]:
        answer = world.call(ACME.user(), "readiness_v1", {"slug": ACME.slug(), "version": version})
        return {control["control"]: " ".join(control["missing"]) for control in answer["controls"]}

    assert f"Not in force: {TOOL}" in missing()[1]
    tools.register(world, ACME)
    assert missing() == dict.fromkeys(range(1, 10), "")
    tools.register(world, GLOBEX, idempotency="none", arguments={"/receipt": {"role": "account"}})
    assert missing() == dict.fromkeys(range(1, 10), "")
    tools.register(world, ACME, idempotency="none", arguments={"/receipt": {"role": "account"}})
    assert f"financial data to {TOOL}" in missing()[6]
    assert f"about: {TOOL}" in missing()[7]


def test_ids_are_the_callers_and_name_one_version(world: World) -> None:
    args = {"id": str(new_id()), "contract": refund()}
    world.call(ACME.user(), "register_tool_v1", args)
    with world.refuses(psycopg.errors.UniqueViolation):
        world.call(ACME.user(), "register_tool_v1", args | {"contract": refund(title="Another")})
