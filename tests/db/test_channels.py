"""Channels and what they are told, attacked as whoever may call the functions or write the rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.ids import new_id
from tests.db import channels
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.channels import alert, checked, created, in_use, told
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World, refusal

ADMIN, SYSTEM = ACME.user("admin"), ACME.system()
CREATE, VERIFY, CLAIM, SETTLE = (
    "create_channel_v1", "verify_channel_v1", "claim_notification_v1", "settle_notification_v1",
)  # fmt: skip


def raised(world: World, **changes: object) -> str:
    return str(world.call(SYSTEM, "raise_alert_v1", alert(ACME, **changes))["id"])  # type: ignore[arg-type]


def waiting(world: World, channel: str) -> str:
    return str(world.value("select id from app.notifications where channel_id = %s and status = 'pending'", channel))


def claimed(world: World, notification: str, claims: Row = SYSTEM) -> Row:
    return world.call(claims, CLAIM, {"id": notification, "lease_seconds": 60})


def settled(world: World, notification: str, fence: str, outcome: str = "delivered", **more: object) -> Row:
    return world.call(SYSTEM, SETTLE, {"id": notification, "fence": fence, "outcome": outcome} | more)


def test_only_a_person_with_a_second_factor_manages_them(world: World) -> None:
    made = created(world, ACME)
    for claims in (ACME.user("admin", aal="aal1"), ACME.user("operator"), ACME.service(), SYSTEM, GLOBEX.service()):
        with refusal("aal2_required", "permission_denied"):
            world.call(claims, CREATE, channels.channel())
        with refusal("aal2_required", "permission_denied"):
            world.call(claims, "delete_channel_v1", {"id": made})
    for function in ("delete_channel_v1", "change_channel_v1", VERIFY, "rotate_channel_v1", "begin_channel_check_v1"):
        with refusal("not_found"):
            world.call(GLOBEX.user("admin"), function, {"id": made, "if_match": None, "check_id": str(new_id())})
    with refusal("not_a_member"):
        world.call(ADMIN, CREATE, channels.channel(owner_id=GLOBEX.person("owner")))


def test_nothing_is_in_use_that_has_not_proved_itself(world: World) -> None:
    made = created(world, ACME)
    proved = "status = 'active', verified_at = now(), verified_by = '{}'"
    for claims, who in ((ADMIN, ACME.person("admin")), (ACME.user(), ACME.person("owner"))):
        with refusal("channel_unverified"):
            world.call(claims, VERIFY, {"id": made})
        refused_everywhere(
            world, f"update app.channels set {proved.format(who)} where id = '{made}'", claims=claims,
            reasons=("channel_unverified",),
        )  # fmt: skip
    checked(world, ACME, made)
    with refusal("channel_unverified"):  # somebody else has asked for it
        world.call(ACME.user(), VERIFY, {"id": made})
    with refusal("not_found"):
        world.call(ACME.user(), "open_channel_v1", {"id": made, "check_id": checked(world, ACME, made)})
    assert world.call(ADMIN, VERIFY, {"id": made})["verified"]
    refused_everywhere(
        world, f"update app.channel_checks set kind = 'code' where channel_id = '{made}'", claims=ADMIN,
        reasons=("append_only",),
    )  # fmt: skip
    forged = (
        "insert into app.channel_checks (tenant_id, id, channel_id, kind, address, generation, asked_by)"
        f" values ('{ACME.id}', gen_random_uuid(), '{made}', 'message', 'x', 1, '{ACME.person('owner')}')"
    )
    for claims in (ADMIN, GLOBEX.user()):
        refused_everywhere(world, forged, claims=claims, vantages=OWNER, reasons=("people_only",))


def test_a_code_is_good_once_five_times_and_for_a_while(world: World) -> None:
    made = created(world, ACME, kind="email")
    with refusal("code_expired"):
        world.call(ADMIN, VERIFY, {"id": made, "code_hash": channels.CODE})
    with refusal("channel_unverified"):  # a stranger is mailed codes, and nothing else
        checked(world, ACME, made)
    checked(world, ACME, made, code_hash=channels.CODE)
    wrong = {"id": made, "code_hash": "0" * 64}
    assert [world.call(ADMIN, VERIFY, wrong)["tries_left"] for _ in range(5)] == [4, 3, 2, 1, 0]
    with refusal("code_expired"):
        world.call(ADMIN, VERIFY, {"id": made, "code_hash": channels.CODE})
    refused_everywhere(
        world,
        f"update app.channels set status = 'active', verified_at = now(), verified_by = '{ACME.person('admin')}',"
        f" code_hash = null where id = '{made}'",
        claims=ADMIN, reasons=("channel_unverified",),
    )  # fmt: skip
    checked(world, ACME, made, code_hash=channels.CODE)
    assert world.call(ADMIN, VERIFY, {"id": made, "code_hash": channels.CODE})["verified"]
    with refusal("channel_verified"):
        checked(world, ACME, made, code_hash=channels.CODE)


def test_nobody_makes_us_write_to_strangers(world: World) -> None:
    address = "stranger@example.com"
    for tenant in (ACME, GLOBEX):
        for _ in range(2):
            checked(world, tenant, created(world, tenant, kind="email", target=address), code_hash=channels.CODE)
    checked(world, ACME, created(world, ACME, kind="email", target=address), code_hash=channels.CODE)
    last = created(world, GLOBEX, kind="email", target=address)
    with refusal("too_many_codes"):
        checked(world, GLOBEX, last, code_hash=channels.CODE)
    other = created(world, GLOBEX)
    for _ in range(10):
        checked(world, GLOBEX, other)
    with refusal("too_many_checks"):
        checked(world, GLOBEX, other)


def test_an_alert_and_what_is_told_of_it_commit_together_or_not(world: World) -> None:
    mine, theirs = in_use(world, ACME), in_use(world, GLOBEX)
    sandbox, critical = in_use(world, ACME, "sandbox"), in_use(world, ACME, None, least_severity="critical")
    with world.api.transaction(force_rollback=True):
        raised(world)
    assert told(world, mine) == []
    seen = world.last_event()
    first = raised(world, subject_id="x")
    assert [event["type"] for event in world.events(after=seen)] == ["alert.raised", "notification.queued"]
    for severity in ("warning", "critical", "critical"):
        raised(world, subject_id="x", severity=severity)
    world.call(ACME.user(), "resolve_alert_v1", {"id": first, "reason": "over"})
    assert told(world, mine) == ["alert.raised", "alert.escalated", "alert.resolved"]
    assert told(world, critical) == ["alert.raised", "alert.resolved"]
    assert told(world, theirs) == told(world, sandbox) == []
    whose = in_use(world, ACME, owner_id=ACME.person("admin"))
    handed = raised(world, owner_id=ACME.person("admin"))
    world.call(ACME.user(), "assign_alert_v1", {"id": handed, "user_id": ACME.person("approver")})
    world.call(ACME.user(), "resolve_alert_v1", {"id": handed, "reason": "over"})
    assert told(world, whose) == ["alert.raised", "alert.resolved"]  # who was told that it is there hears of its end
    seen_by_mine = len(told(world, mine))
    raised(world, environment=None, subject_type="channel", subject_id=mine)  # none is told of itself
    assert len(told(world, mine)) == seen_by_mine
    assert told(world, sandbox) == ["alert.raised"]
    content: Any = world.value("select content from app.notifications where channel_id = %s limit 1", mine)
    assert "detail" not in content


def test_what_comes_and_goes_and_what_comes_in_masses_is_no_flood(world: World) -> None:
    channel = in_use(world, ACME)
    for _ in range(7):
        again = raised(world, subject_id="flapping")
        world.call(ACME.user(), "resolve_alert_v1", {"id": again, "reason": "over"})
    assert told(world, channel) == ["alert.raised", "alert.resolved"] * 3 + ["alert.raised"]
    for _ in range(60):
        raised(world)
    events = told(world, channel)
    assert len(events) == 60
    assert events[-1] == "alert.more"
    raised(world, title="cs_live_" + "a" * 32 + "_x", subject_id="y")  # is no reason to lose the alert


def test_one_instance_sends_at_a_time_and_a_late_one_settles_nothing(world: World) -> None:
    channel = in_use(world, ACME)
    raised(world)
    item = waiting(world, channel)
    assert {"tenant_id": ACME.id, "id": item} in world.rows("select app.claim_due_notifications_v1(100)")[0][0]
    assert claimed(world, item, GLOBEX.system()) == {"claimed": False}
    for claims in (ADMIN, ACME.service()):
        with refusal("permission_denied"):
            claimed(world, item, claims)
    first = claimed(world, item)
    assert claimed(world, item) == {"claimed": False}
    assert world.rows("select app.claim_due_notifications_v1(100)")[0][0] == []
    world.root.execute("update private.notification_leases set lease_until = now()")
    second = claimed(world, item)
    with refusal("lease_lost"):
        settled(world, item, first["fence"])
    with refusal("invalid_outcome"):
        settled(world, item, second["fence"], "retry", retry_seconds=10**6)
    assert settled(world, item, second["fence"], "retry", retry_seconds=60, error="no")["status"] == "pending"
    assert claimed(world, item) == {"claimed": False}  # it is not due
    for change in ("status = 'delivered', attempts = attempts + 1, round = round + 1, next_attempt_at = null",
                   "status = 'dead', next_attempt_at = null", "attempts = 0", "content = '{}'"):  # fmt: skip
        for claims in (ADMIN, SYSTEM):
            refused_everywhere(
                world, f"update app.notifications set {change} where id = '{item}'", claims=claims,
                reasons=("permission_denied", "lease_lost", "invalid_transition", "immutable_column"),
            )  # fmt: skip
    refused_everywhere(world, "delete from app.notifications", claims=SYSTEM, reasons=("append_only",))


def test_what_is_given_up_is_sent_again_by_people_and_what_is_gone_ends(world: World) -> None:
    channel, other = in_use(world, ACME), in_use(world, ACME, None)
    raised(world)
    item = waiting(world, channel)
    settled(world, item, claimed(world, item)["fence"], "dead", error="It answered 500.")
    assert told(world, other) == ["alert.raised", "alert.raised"]
    assert told(world, channel) == ["alert.raised"]
    again = {"channel_id": channel, "id": item}
    for claims in (ACME.user("operator"), SYSTEM):
        with refusal("permission_denied"):
            world.call(claims, "resend_notification_v1", again)
    assert world.call(ADMIN, "resend_notification_v1", again)["status"] == "pending"
    raised(world)
    settled(world, item, claimed(world, item)["fence"], "gone", error="It answered 410.")
    assert world.rows("select status from app.notifications where channel_id = %s order by created_at", channel) == [
        ("dead",), ("cancelled",),
    ]  # fmt: skip
    with refusal("channel_not_in_use"):
        world.call(ADMIN, "resend_notification_v1", again)
    assert world.value("select status from app.channels where id = %s", channel) == "disabled"
    owners = "select distinct owner_id::text from app.alerts where kind in ('channel.gone', 'channel.failing')"
    assert world.rows(owners) == [(ACME.person("admin"),)]


def test_who_has_left_is_told_nothing_more(world: World) -> None:
    theirs = in_use(world, ACME, owner_id=ACME.person("operator"))
    mail = created(world, ACME, kind="email", target="operator@example.com")
    others = in_use(world, ACME)
    raised_about = "select distinct subject_id from app.alerts where kind = 'channel.member_left'"
    world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("operator")})
    states = "select status from app.channels where id = %s"
    assert [world.value(states, each) for each in (theirs, mail, others)] == ["disabled", "disabled", "active"]
    assert world.rows(raised_about) == [(theirs,)]  # the mail address was never in use
    assert told(world, others) == ["alert.raised"]
    world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("admin")})  # who has made them all
    assert {row[0] for row in world.rows(raised_about)} == {theirs, others}
    assert world.value("select status from app.channels where id = %s", others) == "active"
    assert told(world, others) == ["alert.raised"]  # nothing of itself


def test_what_is_deleted_stays_so_and_holds_no_secret(world: World) -> None:
    made = in_use(world, ACME)
    world.call(ADMIN, "rotate_channel_v1", {"id": made, "generation": 2, "envelope": channels.ENVELOPE})
    kept = "select count(*) from vault.secrets where name like %s"
    assert world.value(kept, f"countersign/channel/{made}/%") == 2
    with refusal("generation_moved"):
        world.call(ADMIN, "rotate_channel_v1", {"id": made, "generation": 2, "envelope": channels.ENVELOPE})
    world.call(ADMIN, "delete_channel_v1", {"id": made})
    assert world.value(kept, f"countersign/channel/{made}/%") == 0
    for statement, reason in (
        (f"update app.channels set secret_id = gen_random_uuid() where id = '{made}'", "channel_deleted"),
        (f"delete from app.channels where id = '{made}'", "append_only"),
    ):  # fmt: skip
        refused_everywhere(world, statement, claims=ADMIN, reasons=(reason,))
    raised(world)
    assert told(world, made) == []


def test_a_rotation_wraps_a_secret_anew_and_stores_nothing_else(world: World) -> None:
    made = in_use(world, ACME, None)
    where = {"channel_id": made, "generation": 1}

    def envelope(kek: str, data: str = "c2VhbGVk") -> Row:
        return where | {"envelope": json.dumps({"v": 1, "kek": kek, "key": f"under {kek}", "data": data})}

    claim_it, store_it = "claim_channel_rewrap_v1", "store_channel_rewrap_v1"
    for claims in (ADMIN, ACME.service()):
        for function, args in ((claim_it, where | {"kek": "new"}), (store_it, envelope("new"))):
            with refusal("permission_denied"):
                world.call(claims, function, args)
    assert world.call(GLOBEX.system(), claim_it, where | {"kek": "new"}) == {"claimed": False}
    assert world.call(SYSTEM, claim_it, where | {"kek": "new"})["envelope"] == channels.ENVELOPE
    [release] = [event for event in world.events() if event["type"] == "sealed_key.released"]
    assert release["what"] == {"channel_id": made, "generation": 1}
    with refusal("permission_denied"):  # another secret is a person's to give
        world.call(SYSTEM, store_it, envelope("new", "b3RoZXI="))
    assert world.call(SYSTEM, store_it, envelope("new")) == {"stored": True}
    assert world.call(SYSTEM, store_it, envelope("new")) == {"stored": False}
    refused_everywhere(
        world, "update app.channels set wrapping = wrapping + 1, secret_id = vault.create_secret('x', 'mine')",
        claims=SYSTEM, reasons=("permission_denied",),
    )  # fmt: skip


@pytest.mark.parametrize("column", ["secret_id", "previous_secret_id", "code_hash"])
def test_what_opens_a_channel_is_read_by_nobody(world: World, column: str) -> None:
    refused_everywhere(
        world, f"select {column} from app.channels", claims=ADMIN, vantages=("countersign_api", "authenticated")
    )
