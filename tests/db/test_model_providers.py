"""Model providers and their calls, attacked as whoever may write the rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.db import models
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.founding import spec_of
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import DENIED, World, refusal

ADMIN, SYSTEM = ACME.user("admin"), ACME.system()
BEGIN, SETTLE = "begin_model_call_v1", "settle_model_call_v1"
INSERT = """
    insert into app.model_reservations (tenant_id, id, run_id, provider_id, generation, model, attempt, prompt_digest,
        system_version, input_bound, output_bound)
    select p.tenant_id, gen_random_uuid(), %s, p.id, p.generation, 'm-1', 1, 'sha256:' || repeat('0', 64), 'v', 10, 10
    from app.model_providers p where p.id = %s
"""


def registered(world: World, **changes: Any) -> str:
    """A provider of ACME's production."""
    args = models.provider(ACME, **changes)
    world.call(ADMIN, "register_model_provider_v1", args)
    return str(args["id"])


def end_run(world: World) -> None:
    with standing(world, "owner", SYSTEM) as connection:
        connection.execute("update app.runs set status = 'completed' where id = %s", (ACME.run(),))


def thinks(world: World, **changes: Any) -> str:
    """A run of another workflow of ACME's, with changes of its spec."""
    made = {"slug": "thinks", "spec": spec_of(ACME, "production") | changes}
    about = {"id": "00000000-0000-4000-8000-000000000001", "environment": "production", "title": "Thinks"}
    world.call(ACME.user("developer"), "create_workflow_v1", made | about)
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": "thinks", "version": 1})
    world.call(ADMIN, "approve_workflow_version_v1", {"slug": "thinks", "version": 1, "reason": "reviewed"})
    run = {"id": "00000000-0000-4000-8000-000000000002", "workflow": "thinks", "trigger": "call", "subject": None}
    world.call(ACME.service(), "start_run_v1", run | {"instruction": "Think."})
    return str(run["id"])


def test_a_provider_that_trains_is_refused_whoever_writes_it(world: World) -> None:
    with refusal("trains_on_data"):
        world.call(ADMIN, "register_model_provider_v1", models.provider(ACME, trains_on_data=True))
    provider = registered(world)
    with refusal("trains_on_data"):
        world.call(ADMIN, "change_model_provider_v1", {"id": provider, "trains_on_data": True})
    row: Row = world.value("select to_jsonb(p) from app.model_providers p where id = %s", provider)
    refused_everywhere(
        world,
        "insert into app.model_providers select (jsonb_populate_record(null::app.model_providers, %s)).*",
        Jsonb(row | {"id": str(ACME.run()), "name": "trainer", "trains_on_data": True}),
        claims=ADMIN, vantages=OWNER, reasons=("trains_on_data", "trains_on_data"),
    )  # fmt: skip
    refused_everywhere(
        world, f"update app.model_providers set trains_on_data = true where id = '{provider}'",
        claims=ADMIN, reasons=("trains_on_data", "immutable_column"),
    )  # fmt: skip


@pytest.mark.parametrize("claims", [ACME.user("admin", aal="aal1"), ACME.user("operator"), ACME.service(), SYSTEM])
def test_only_a_person_who_may_connect_registers_one(world: World, claims: Row) -> None:
    with refusal("aal2_required", "permission_denied"):
        world.call(claims, "register_model_provider_v1", models.provider(ACME))


def test_another_tenant_neither_sees_changes_nor_uses_one(world: World) -> None:
    provider = registered(world)
    for function in ("change_model_provider_v1", "revoke_model_provider_v1"):
        with refusal("not_found"):
            world.call(GLOBEX.user("admin"), function, {"id": provider, "region": "EU"})
    with refusal("no_model_provider"):
        world.call(GLOBEX.system(), BEGIN, models.asking(ACME))
    with (
        refusal("not_found", "permission_denied", "provider_not_usable"),
        standing(world, "owner", GLOBEX.system()) as at,
    ):
        at.execute(INSERT.encode(), (GLOBEX.run(), provider))


def test_a_key_goes_to_the_address_that_it_was_given_for(world: World) -> None:
    provider = registered(world)
    with refusal("key_required"):
        world.call(ADMIN, "change_model_provider_v1", {"id": provider, "base_url": "https://elsewhere.example/v1"})
    with refusal("key_required"), standing(world, "owner", ADMIN) as connection:
        connection.execute(
            "update app.model_providers set base_url = 'https://elsewhere.example' where id = %s", (provider,)
        )
    new = {"id": provider, "base_url": "https://elsewhere.example/v1", "envelope": "new", "generation": 2}
    assert world.call(ADMIN, "change_model_provider_v1", new)["key_generation"] == 2
    with refusal("generation_moved"):
        world.call(ADMIN, "change_model_provider_v1", new)
    assert world.value("select count(*) from vault.decrypted_secrets where decrypted_secret = 'sealed'"
                       " and name like 'countersign/model/%%'") == 0  # fmt: skip
    assert world.call(SYSTEM, BEGIN, models.asking(ACME))["envelope"] == "new"


def test_a_key_is_released_for_a_live_run_and_each_time_audited(world: World) -> None:
    provider = registered(world)
    call = models.asking(ACME)
    assert world.call(SYSTEM, BEGIN, call)["envelope"] == "sealed"
    assert world.value("select count(*) from app.audit_events where record::jsonb ->> 'type' = 'model_key.released'"
                       " and record::jsonb -> 'subject' ->> 'id' = %s", call["id"]) == 1  # fmt: skip
    for claims in (ADMIN, ACME.user(), ACME.service()):
        with refusal("permission_denied"):
            world.call(claims, BEGIN, models.asking(ACME))
    end_run(world)
    with refusal("run_completed"):
        world.call(SYSTEM, BEGIN, models.asking(ACME))
    refused_everywhere(world, INSERT, ACME.run(), provider, claims=SYSTEM, reasons=("run_completed",))


def test_nothing_is_asked_under_a_kill_switch_or_after_the_revocation(world: World) -> None:
    provider = registered(world)
    world.stop(ACME, "workflow", ACME.workflow())
    with refusal("kill_switch_engaged"):
        world.call(SYSTEM, BEGIN, models.asking(ACME))
    refused_everywhere(world, INSERT, ACME.run(), provider, claims=SYSTEM, reasons=("kill_switch_engaged",))
    assert world.call(ADMIN, "revoke_model_provider_v1", {"id": provider})["status"] == "revoked"
    assert world.value("select count(*) from vault.secrets where name like 'countersign/model/%%'") == 0
    with refusal("no_model_provider"):
        world.call(SYSTEM, BEGIN, models.asking(ACME))
    back = f"update app.model_providers set status = 'active' where id = '{provider}'"
    refused_everywhere(world, back, claims=ADMIN, reasons=("provider_revoked",))
    refused_everywhere(
        world, f"delete from app.model_providers where id = '{provider}'", claims=ADMIN, reasons=("append_only",)
    )


def test_regulated_data_takes_a_provider_that_keeps_nothing(world: World) -> None:
    provider = registered(world, retention_days=30)
    assert world.call(SYSTEM, BEGIN, models.asking(ACME))["envelope"]
    run = thinks(world, data_classes=["financial", "personal", "internal", "regulated"])
    with refusal("retains_regulated_data"):
        world.call(SYSTEM, BEGIN, models.asking(ACME, run_id=run))
    refused_everywhere(world, INSERT, run, provider, claims=SYSTEM, reasons=("retains_regulated_data",))


@pytest.mark.parametrize("what", [{"model": "m-2"}, {"provider": "other"}, {"kind": "openai"}])
def test_only_what_the_reviewed_version_declares_is_asked(world: World, what: Row) -> None:
    registered(world, models={name: {"input_price": 1, "output_price": 1} for name in ("m-1", "m-2")})
    registered(world, name="other")
    with refusal("reasoner_not_declared", "no_model_provider"):
        world.call(SYSTEM, BEGIN, models.asking(ACME, **what))


def test_a_budget_holds_and_what_was_not_settled_counts_in_full(world: World) -> None:
    """Of 20,000 tokens for the run, each call reserves 8,000."""
    provider = registered(world)
    calls = [models.asking(ACME, input_bound=7000, output_bound=1000) for _ in range(3)]
    for call in calls[:2]:
        world.call(SYSTEM, BEGIN, call)
    with refusal("budget"):
        world.call(SYSTEM, BEGIN, calls[2])
    direct = INSERT.replace("10, 10", "7000, 1000")
    refused_everywhere(world, direct, ACME.run(), provider, claims=SYSTEM, reasons=("budget",))
    settled = world.call(SYSTEM, SETTLE, models.ended(calls[0]["id"], input_tokens=3, output_tokens=1))
    assert settled["cost"] == 8  # (3 * 1.00 + 1 * 5.00) for a million, in millionths
    assert world.call(SYSTEM, SETTLE, models.ended(calls[0]["id"], input_tokens=0, output_tokens=0)) == settled
    world.call(SYSTEM, BEGIN, calls[2])


def test_money_is_a_budget_too_and_in_one_currency(world: World) -> None:
    provider = registered(world)
    dear = {"m-1": {"input_price": 200_000_000, "output_price": 0}}
    world.call(ADMIN, "change_model_provider_v1", {"id": provider, "models": dear})
    with refusal("budget"):
        world.call(SYSTEM, BEGIN, models.asking(ACME))
    world.call(ADMIN, "change_model_provider_v1", {"id": provider, "currency": "USD"})
    with refusal("budget_currency"):
        world.call(SYSTEM, BEGIN, models.asking(ACME))


def test_calls_are_appended_once_within_their_reservation_and_never_changed(world: World) -> None:
    registered(world)
    call = models.asking(ACME)
    world.call(SYSTEM, BEGIN, call)
    for bad in ({"input_tokens": 1001}, {"output_tokens": 201}):
        with refusal("beyond_reservation"):
            world.call(SYSTEM, SETTLE, models.ended(call["id"], **bad))
    with refusal("not_found"):
        world.call(GLOBEX.system(), SETTLE, models.ended(call["id"]))
    world.call(SYSTEM, SETTLE, models.ended(call["id"]))
    for table in ("model_calls", "model_reservations"):
        for change in (
            f"update app.{table} set model = 'x'",
            f"delete from app.{table}",
            f"truncate app.{table} cascade",
        ):
            refused_everywhere(world, change, claims=SYSTEM, reasons=("append_only",))
    with refusal(DENIED), standing(world, "authenticated", ADMIN) as connection:
        connection.execute("select secret_id from app.model_providers")


def test_a_rotation_wraps_a_key_anew_and_stores_nothing_else(world: World) -> None:
    def envelope(kek: str, data: str = "same") -> str:
        return json.dumps({"kek": kek, "key": f"under {kek}", "data": data})

    provider = registered(world, envelope=envelope("old"))
    where = {"provider_id": provider}
    claim, stored = where | {"kek": "new"}, where | {"generation": 1, "envelope": envelope("new")}
    for claims in (ADMIN, ACME.user("owner"), ACME.service()):
        for function, args in (("claim_model_rewrap_v1", claim), ("store_model_rewrap_v1", stored)):
            with refusal("permission_denied"):
                world.call(claims, function, args)
    assert world.call(GLOBEX.system(), "claim_model_rewrap_v1", claim) == {"claimed": False}
    assert world.call(GLOBEX.system(), "store_model_rewrap_v1", stored) == {"stored": False}
    claimed = world.call(SYSTEM, "claim_model_rewrap_v1", claim)
    assert (claimed["claimed"], claimed["generation"], claimed["envelope"]) == (True, 1, envelope("old"))
    with refusal("permission_denied"):
        world.call(SYSTEM, "store_model_rewrap_v1", stored | {"envelope": envelope("new", "other")})
    assert world.call(SYSTEM, "store_model_rewrap_v1", stored | {"generation": 2}) == {"stored": False}
    assert world.call(SYSTEM, "store_model_rewrap_v1", stored) == {"stored": True}
    assert world.call(SYSTEM, "claim_model_rewrap_v1", claim) == {"claimed": False}
    assert world.call(SYSTEM, BEGIN, models.asking(ACME))["envelope"] == envelope("new")
    assert world.value("select count(*) from vault.secrets where name like 'countersign/model/%%'") == 1
