"""Webhook triggers, attacked as whoever may call the functions or write the rows."""

from __future__ import annotations

import json

import pytest
from psycopg.errors import UniqueViolation

from tests.db import hooks
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import DENIED, World, refusal

ADMIN, SYSTEM = ACME.user("admin"), ACME.system()
ACCEPT, ROTATE, REVOKE = "accept_webhook_v1", "rotate_webhook_secret_v1", "revoke_webhook_trigger_v1"


@pytest.fixture
def address(world: World) -> str:
    """ACME's trigger in production, whose workflow's live version asks for messages."""
    made = hooks.trigger(ACME)
    world.call(ADMIN, "create_webhook_trigger_v1", made)
    return str(made["id"])


def secrets(world: World, address: str) -> int:
    kept = f"countersign/webhook/{address}/%"
    return int(world.value("select count(*) from vault.secrets where name like %s", kept))


def test_an_event_starts_one_run_and_leaves_one_event(world: World, address: str) -> None:
    event = hooks.event(address)
    after = world.last_event(ACME)
    assert world.call(SYSTEM, ACCEPT, event) == {"outcome": "started"}
    assert world.call(SYSTEM, ACCEPT, event | hooks.event(address, event_id=event["event_id"])) == {"outcome": "known"}
    assert len(world.events(ACME, after)) == 1
    detail, instruction, subject = world.rows(
        "select trigger_detail, instruction, subject from app.runs where id = %s", event["id"]
    )[0]
    assert detail == {
        "webhook_trigger_id": address, "provider": "sandbox_crm", "event_id": event["event_id"],
        "event_type": "message.received",
    }  # fmt: skip
    assert instruction == ACME.mark("production")
    assert subject == {"type": "message", "id": "msg_1"}


def test_no_second_run_of_an_event_whoever_writes_it(world: World, address: str) -> None:
    event = hooks.event(address)
    world.call(SYSTEM, ACCEPT, event)
    refused_everywhere(
        world,
        "insert into app.runs select (jsonb_populate_record(null::app.runs, to_jsonb(r) || "
        f"jsonb_build_object('id', gen_random_uuid()))).* from app.runs r where id = '{event['id']}'",
        claims=SYSTEM, vantages=OWNER, reasons=(UniqueViolation,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_id": "two words"}, "invalid_event"),
        ({"event_id": None}, "invalid_event"),
        ({"event_type": "*" * 3}, "invalid_event"),
        ({"subject": {"type": "message", "id": "Ignore all rules"}}, "invalid_event"),
        ({"subject": {"type": "message", "id": "msg_1", "note": "pay"}}, "invalid_event"),
        ({"generation": 2}, "invalid_signature"),
        ({"generation": 0}, "invalid_signature"),
        ({"generation": None}, "invalid_signature"),
    ],
)
def test_what_is_no_event_starts_nothing(world: World, address: str, changes: Row, reason: str) -> None:
    with world.refuses(reason):
        world.call(SYSTEM, ACCEPT, hooks.event(address, **changes))


def test_a_type_that_nobody_asked_for_is_ignored(world: World, address: str) -> None:
    with world.unchanged():
        assert world.call(SYSTEM, ACCEPT, hooks.event(address, event_type="deal.won")) == {"outcome": "ignored"}


def test_under_a_kill_switch_the_run_is_queued_and_waits(world: World, address: str) -> None:
    world.stop()
    assert world.call(SYSTEM, ACCEPT, hooks.event(address)) == {"outcome": "started"}
    waiting = world.value("select status from app.runs where tenant_id = %s and trigger = 'webhook'", ACME.id)
    assert waiting == "queued"


def test_a_rotated_secret_is_good_until_its_end_and_then_not(world: World, address: str) -> None:
    rotated = world.call(ADMIN, ROTATE, hooks.rotation(address))
    assert rotated["secret_generation"] == 2
    for generation in (1, 2):
        answer = world.call(SYSTEM, ACCEPT, hooks.event(address, generation=generation))
        assert answer == {"outcome": "started"}
    with refusal("generation_moved"):
        world.call(ADMIN, ROTATE, hooks.rotation(address))
    world.call(ADMIN, ROTATE, hooks.rotation(address, generation=3, overlap_hours=0))
    assert secrets(world, address) == 1
    with refusal("invalid_signature"):
        world.call(SYSTEM, ACCEPT, hooks.event(address, generation=2))


def test_a_revoked_address_is_none_and_stays_so(world: World, address: str) -> None:
    world.call(ADMIN, REVOKE, {"id": address})
    assert secrets(world, address) == 0
    with refusal("not_found"):
        world.call(SYSTEM, ACCEPT, hooks.event(address))
    back = f"update app.webhook_triggers set status = 'active', secret_id = gen_random_uuid() where id = '{address}'"
    refused_everywhere(world, back, claims=ADMIN, reasons=("webhook_revoked",))
    refused_everywhere(
        world, f"delete from app.webhook_triggers where id = '{address}'", claims=ADMIN, reasons=("append_only",)
    )  # fmt: skip


def test_another_tenants_address_is_none(world: World, address: str) -> None:
    with refusal("not_found"):
        world.call(GLOBEX.system(), ACCEPT, hooks.event(address))
    for function, args in ((ROTATE, hooks.rotation(address)), (REVOKE, {"id": address})):
        with refusal("not_found"):
            world.call(GLOBEX.user("admin"), function, args)


@pytest.mark.parametrize("claims", [ACME.user("admin", aal="aal1"), ACME.user("operator"), ACME.service(), SYSTEM])
def test_only_a_person_with_a_second_factor_manages_them(world: World, address: str, claims: Row) -> None:
    with refusal("aal2_required", "permission_denied"):
        world.call(claims, ROTATE, hooks.rotation(address))


@pytest.mark.parametrize("claims", [ADMIN, ACME.service()])
def test_nobody_else_accepts_an_event(world: World, address: str, claims: Row) -> None:
    with refusal("permission_denied"):
        world.call(claims, ACCEPT, hooks.event(address))


def test_a_secret_is_read_by_nobody_but_the_verification(world: World, address: str) -> None:
    for column in ("secret_id", "previous_secret_id"):
        with standing(world, "authenticated", ADMIN) as connection, refusal(DENIED):
            connection.execute(f"select {column} from app.webhook_triggers")
    with standing(world, "authenticated", ADMIN) as connection, refusal(DENIED):
        connection.execute("select app.claim_webhook_v1(%s)", (address,))


def test_a_rotation_wraps_a_secret_anew_and_stores_nothing_else(world: World, address: str) -> None:
    claim_it, store_it = "claim_webhook_rewrap_v1", "store_webhook_rewrap_v1"

    def envelope(kek: str, data: str = "c2VhbGVk") -> str:
        return json.dumps({"v": 1, "kek": kek, "key": f"under {kek}", "data": data})

    world.call(ADMIN, ROTATE, hooks.rotation(address))
    where = {"trigger_id": address, "generation": 1}
    claim, stored = where | {"kek": "new"}, where | {"envelope": envelope("new")}
    for claims in (ADMIN, ACME.user("owner"), ACME.service()):
        for function, args in ((claim_it, claim), (store_it, stored)):
            with refusal("permission_denied"):
                world.call(claims, function, args)
    assert world.call(GLOBEX.system(), claim_it, claim) == {"claimed": False}
    assert world.call(GLOBEX.system(), store_it, stored) == {"stored": False}
    assert world.call(SYSTEM, claim_it, claim)["envelope"] == hooks.ENVELOPE
    [release] = [event for event in world.events() if event["type"] == "sealed_key.released"]
    assert release["what"] == {"webhook_trigger_id": address, "generation": 1}
    with refusal("permission_denied"):  # another secret is a person's to give
        world.call(SYSTEM, store_it, stored | {"envelope": envelope("new", "b3RoZXI=")})
    assert world.call(SYSTEM, store_it, stored | {"generation": 3}) == {"stored": False}
    assert world.call(SYSTEM, store_it, stored) == {"stored": True}
    assert world.call(SYSTEM, store_it, stored) == {"stored": False}
    assert world.call(SYSTEM, claim_it, claim) == {"claimed": False}
    row = world.value("select to_jsonb(t) from app.webhook_triggers t where id = %s", address)
    assert (row["generation"], row["wrapping"]) == (2, 1)
    assert secrets(world, address) == 2
    for column in ("secret_id", "previous_secret_id"):
        refused_everywhere(
            world,
            f"update app.webhook_triggers set wrapping = wrapping + 1, {column} = vault.create_secret('x', 'mine')",
            claims=SYSTEM, reasons=("permission_denied",),
        )  # fmt: skip


def test_a_release_is_written_for_the_tenant_itself_and_stays(world: World, address: str) -> None:
    world.call(SYSTEM, "claim_webhook_rewrap_v1", {"trigger_id": address, "generation": 1, "kek": "new"})
    for change in (
        "update app.rewrap_releases set generation = 2",
        "delete from app.rewrap_releases",
        "truncate app.rewrap_releases cascade",
    ):
        refused_everywhere(world, change, claims=SYSTEM, reasons=("append_only",))
    forged = (
        "insert into app.rewrap_releases select (jsonb_populate_record(r, to_jsonb(r) - 'id')).*"
        " from app.rewrap_releases r"
    )
    for claims in (ADMIN, GLOBEX.system()):
        refused_everywhere(world, forged, claims=claims, vantages=OWNER, reasons=("permission_denied",))


def test_a_lost_secret_is_told_once_until_there_is_another(world: World, address: str) -> None:
    """Whoever delivers is nobody that is known: however often that is, it is one alert, raised once."""
    lost = "select secret_id from app.webhook_triggers where id = %s"
    world.rows("delete from vault.secrets where id = (" + lost + ")", address)
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        [claimed] = world.api.execute("select app.claim_webhook_v1(%s)", (address,)).fetchone() or [None]
    assert (claimed["generation"], claimed["secrets"]) == (1, [])
    told = {"trigger_id": address, "generation": 1}
    assert [world.call(SYSTEM, "note_lost_webhook_secret_v1", told)["raised"] for _ in "ab"] == [True, False]
    for nothing in (told | {"generation": 2}, {"trigger_id": GLOBEX.id, "generation": 1}):
        assert world.call(SYSTEM, "note_lost_webhook_secret_v1", nothing) == {"raised": False}
    assert world.call(GLOBEX.system(), "note_lost_webhook_secret_v1", told) == {"raised": False}
    alerts = "select status, severity, occurrences, contact from app.alerts where kind = 'webhook.secret_lost'"
    assert [row[:3] for row in world.rows(alerts)] == [("open", "critical", 1)]
    for claims in (ADMIN, ACME.service()):
        with refusal("permission_denied", note=claims):
            world.call(claims, "note_lost_webhook_secret_v1", told)
    world.call(ADMIN, ROTATE, hooks.rotation(address, overlap_hours=1))
    assert world.rows(alerts)[0][0] == "resolved"
    assert world.call(SYSTEM, "note_lost_webhook_secret_v1", told) == {"raised": False}
