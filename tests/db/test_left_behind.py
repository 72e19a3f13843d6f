"""What who has left answered for, what channels were tried with, and what is forgotten: stops, and keys that end."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import psycopg

from api.ids import new_id
from tests.concurrency.together import acting, or_refused, together
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.channels import alert, checked, created, in_use
from tests.db.incidents import follow_up, opened, resolved
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World

ADMIN, OPERATOR = ACME.person("admin"), ACME.person("operator")


def _answering(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Who answers for what is not over."""
    still = {"incidents": "<> 'reviewed'", "incident_follow_ups": "= 'open'", "alerts": "<> 'resolved'"}
    counted = "select owner_id::text, count(*) from app.{} where tenant_id = %s and status {} group by 1"
    return {table: world.rows(counted.format(table, status), ACME.id) for table, status in still.items()}


def test_who_leaves_leaves_nothing_ownerless(world: World) -> None:
    """It goes to the owner of the workflow that it is about, else to the organisation's, with an entry and a notice."""
    approver = ACME.person("approver")
    world.root.execute("alter table app.workflow_versions disable trigger user")
    world.root.execute(  # whose spec says who answers for its runs
        "update app.workflow_versions v set spec = spec || jsonb_build_object('owner', m.email) from app.members m"
        " where m.user_id = %s and m.tenant_id = v.tenant_id", (approver,),
    )  # fmt: skip
    world.root.execute("select private.guard_table('app.workflow_versions')")
    about_run = opened(world, owner_id=OPERATOR, subject_type="run", subject_id=ACME.run())
    of_nothing = opened(world, owner_id=OPERATOR)
    over = resolved(world, owner_id=OPERATOR)
    for incident in (about_run, of_nothing):
        world.call(ACME.user(), "add_follow_up_v1", follow_up(incident_id=incident))
    mine = alert(ACME, owner_id=OPERATOR, subject_id=ACME.run(), severity="info")
    told = world.call(ACME.system(), "raise_alert_v1", mine)["id"]
    refused_everywhere(
        world, f"update app.incident_follow_ups set owner_id = '{ADMIN}' where incident_id = '{of_nothing}'",
        claims=ACME.user(), vantages=OWNER, reasons=("immutable_column",),
    )  # fmt: skip
    seen = world.last_event()
    world.call(ACME.user(), "remove_member_v1", {"user_id": OPERATOR})
    assert all(OPERATOR not in dict(rows) for rows in _answering(world).values())
    owners = (
        "select id::text, owner_id::text from app.incidents union all select id::text, owner_id::text from app.alerts"
    )
    now = dict(world.rows(owners))
    assert (now[about_run], now[told], now[of_nothing], now[over]) == (
        approver, approver, ACME.person("owner"), ACME.person("owner"),
    )  # fmt: skip
    written = "select before, after, text, written_by from app.incident_entries where incident_id = %s"
    entries = world.rows(f"{written} and kind = 'owner_changed' order by text", about_run)
    assert [entry[:2] for entry in entries] == [(OPERATOR, approver)] * 2
    assert [entry[2][:20] for entry in entries] == ["Of what is to be don", "Whoever answered for"]
    assert {entry[3] for entry in entries} == {f"user:{ACME.person('owner')}"}
    [(title, owner, severity)] = world.rows(
        "select title, owner_id::text, severity from app.alerts where kind = 'incident.owner_left' and subject_id = %s",
        OPERATOR,
    )
    assert (owner, severity) == (ACME.person("owner"), "warning")
    assert "incidents (3), follow-ups (2) and alerts (1)" in title
    logged = [event["type"] for event in world.events(after=seen)]
    assert (logged.count("incident.updated"), logged.count("incident_follow_up.updated")) == (3, 2)
    # Whom a live workflow names is no reason to rewrite what was approved: it is told.
    world.call(ACME.user(), "remove_member_v1", {"user_id": approver})
    left = "select detail -> 'workflows' from app.alerts where kind = 'incident.owner_left' and subject_id = %s"
    assert world.value(left, approver) == 2
    assert dict(world.rows(owners))[about_run] == ACME.person("owner")
    # What is done about it afterwards is as ever.
    world.call(ACME.user("admin"), "change_incident_v1", {"id": about_run, "owner_id": ADMIN})


def test_who_is_named_while_being_removed_is_handed_over_or_refused(world: World) -> None:
    for who in ("operator", "developer", "approver2"):
        incident, gone = opened(world, by=ACME.user("admin"), owner_id=ADMIN), ACME.person(who)
        named = acting(world, ACME.user(), "change_incident_v1", {"id": incident, "owner_id": gone})
        together(world, [named, acting(world, ACME.user(), "remove_member_v1", {"user_id": gone})])
        assert gone not in dict(_answering(world)["incidents"])
        assert world.value("select count(*) from app.members where user_id = %s and tenant_id = %s", gone, ACME.id) == 0


def test_what_is_raised_for_who_is_just_leaving_is_handed_over(world: World) -> None:
    """Whichever comes first, the alert or the removal, while the transaction of that is still open."""
    for first, gone in (("alert", OPERATOR), ("removal", ADMIN)):
        raised, left = alert(ACME, owner_id=gone, subject_id=first), {"user_id": gone}
        calls = {"alert": (ACME.system(), "raise_alert_v1", raised), "removal": (ACME.user(), "remove_member_v1", left)}
        [second] = set(calls) - {first}
        claims, function, args = calls[first]
        with ThreadPoolExecutor(1) as pool, world.owner.transaction():
            world.owner.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            world.owner.execute(f"select app.{function}(%s)".encode(), (json.dumps(args),))
            other = pool.submit(_patiently, world, acting(world, *calls[second]))
            wait([other], timeout=0.5)
            world.owner.execute("set constraints all immediate")
        assert "refused" not in other.result()
        assert gone not in dict(_answering(world)["alerts"])


def _patiently(world: World, call: Callable[[psycopg.Connection[Any]], Row]) -> Row:
    with world.waiter() as connection:
        return or_refused(lambda: call(connection))


def test_somebody_answers_for_every_alert(world: World) -> None:
    """Nobody named, one who is no member, a contact who is one; and who was put in charge stays so."""
    owner, email = ACME.person("owner"), world.value("select email from app.members where user_id = %s", ADMIN)
    for given, expected in (
        ({}, owner),
        ({"owner_id": GLOBEX.person("owner")}, owner),
        ({"contact": email.upper()}, ADMIN),
        ({"contact": "who-left@example.com"}, owner),
        ({"owner_id": OPERATOR}, OPERATOR),
    ):
        raised = alert(ACME, **given)
        made = world.call(ACME.system(), "raise_alert_v1", raised)["id"]
        assert world.value("select owner_id::text from app.alerts where id = %s", made) == expected
    world.call(ACME.user(), "assign_alert_v1", {"id": made, "user_id": ADMIN})
    world.call(ACME.system(), "raise_alert_v1", raised)
    assert world.value("select owner_id::text from app.alerts where id = %s", made) == ADMIN


def test_what_channels_were_tried_with_is_forgotten_and_nothing_else(world: World) -> None:
    old, fresh = in_use(world, ACME), created(world, ACME)
    checked(world, ACME, fresh)
    assert "example.com" not in str([e for e in world.events() if e["type"] == "channel_check.sent"])
    world.root.execute("alter table app.channel_checks disable trigger channel_checks_guard")
    world.root.execute("update app.channel_checks set at = now() - interval '91 days' where channel_id = %s", (old,))
    world.root.execute("select private.guard_table('app.channel_checks')")
    due = world.value("select app.claim_old_channel_checks_v1(100)")
    assert [item["tenant_id"] for item in due] == [ACME.id]
    everything = {"ids": [str(row[0]) for row in world.rows("select id from app.channel_checks")]}
    for claims in (ACME.user("admin"), ACME.service()):
        with world.refuses("permission_denied"):
            world.call(claims, "forget_channel_checks_v1", everything)
    for statement in (
        f"delete from app.channel_checks where channel_id = '{fresh}'",
        "update app.channel_checks set address = 'x'",
    ):
        refused_everywhere(world, statement, claims=ACME.system(), vantages=OWNER, reasons=("append_only",))
    refused_everywhere(
        world, f"delete from app.channel_checks where channel_id = '{old}'", claims=ACME.user("admin"), vantages=OWNER,
        reasons=("permission_denied",),
    )  # fmt: skip
    assert world.call(GLOBEX.system(), "forget_channel_checks_v1", everything) == {"erased": 0}
    assert world.call(ACME.system(), "forget_channel_checks_v1", everything) == {"erased": 1}
    assert world.rows("select channel_id::text from app.channel_checks") == [(fresh,)]
    assert world.events()[-1]["type"] == "channel_check.removed"


def test_a_kill_switch_that_is_left_engaged_is_told_of_daily(world: World) -> None:
    switch = {
        "id": "019aa0c0-0000-7000-8000-000000000001",
        "scope": "workflow",
        "target": ACME.workflow(),
        "reason": "x",
    }
    world.call(ACME.user("operator"), "engage_kill_switch_v1", switch)
    due = "select app.claim_left_kill_switches_v1(10)"
    tell = (ACME.system(), "tell_left_kill_switch_v1", {"id": switch["id"]})
    assert (world.value(due), world.call(*tell)) == ([], {"recorded": False})
    _aged(world, "kill_switches", "engaged_at")
    assert [item["id"] for item in world.value(due)] == [switch["id"]]
    assert (world.call(*tell), world.value(due)) == ({"recorded": True}, [])
    shown = "select status, occurrences, owner_id::text from app.alerts where kind = 'kill_switch.left_engaged'"
    assert world.rows(shown) == [("open", 1, OPERATOR)]
    _aged(world, "alerts", "last_raised_at")
    assert [item["id"] for item in world.value(due)] == [switch["id"]]
    assert (world.call(*tell), world.rows(shown)) == ({"recorded": True}, [("open", 2, OPERATOR)])
    for stage in ("drafts", "released"):
        world.call(ACME.user(), "release_kill_switch_v1", {"id": switch["id"], "reason": "over", "stage": stage})
        assert world.rows(shown)[0][0] == ("open" if stage == "drafts" else "resolved")
    _aged(world, "alerts", "last_raised_at")
    assert (world.value(due), world.call(*tell)) == ([], {"recorded": False})


def test_a_key_in_use_that_ends_is_told_of_before_it_does(world: World) -> None:
    """Two weeks before, worse two days before, and not when it is unused, has a successor, or is over."""
    key, due = ACME.key(), "select app.claim_ending_keys_v1(10)"
    tell = (ACME.system(), "tell_ending_key_v1", {"id": key})
    shown = "select severity, status, owner_id::text from app.alerts where kind = 'key.ending'"

    def ends_in(days: str, used: str = "1 day") -> bool:
        for table in ("api_keys", "key_uses"):
            world.root.execute(f"alter table app.{table} disable trigger user".encode())
        world.root.execute("update app.api_keys set expires_at = now() + %s::interval where id = %s", (days, key))
        use = "insert into app.key_uses values (%s, %s, 'production', now() - %s::interval) on conflict"
        world.root.execute(
            f"{use} (tenant_id, key_id) do update set used_at = excluded.used_at".encode(), (ACME.id, key, used)
        )
        for table in ("api_keys", "key_uses"):
            world.root.execute(f"select private.guard_table('app.{table}')".encode())
        return key in {item["id"] for item in world.value(due)}

    assert [ends_in("13 days", "31 days"), ends_in("15 days"), ends_in("-1 minute")] == [False] * 3
    assert world.call(*tell) == {"recorded": False}
    assert ends_in("13 days")
    assert world.call(*tell) == {"recorded": True}
    issuer = world.value("select created_by::text from app.api_keys where id = %s", key)
    assert (world.rows(shown), ends_in("13 days")) == ([("warning", "open", issuer)], False)
    assert ends_in("47 hours")
    world.call(*tell)
    assert (world.rows(shown), ends_in("1 hour")) == ([("critical", "open", issuer)], False)
    successor = {
        "id": str(new_id()),
        "old_id": key,
        "prefix": "cs_live_x",
        "secret_hash": "22" * 32,
        "grace_seconds": 60,
    }
    world.call(ACME.user(), "rotate_api_key_v1", successor)
    assert world.rows(shown) == [("critical", "resolved", issuer)]
    assert not ends_in("1 hour")
    assert world.call(*tell) == {"recorded": False}
    world.call(ACME.user(), "revoke_api_key_v1", {"id": successor["id"]})
    assert ends_in("1 hour")  # the last one once more
    assert world.call(*tell) == {"recorded": True}
    assert not ends_in("1 hour")
    world.call(ACME.user(), "disable_service_account_v1", {"id": ACME.agent})
    assert {status for _, status, _ in world.rows(shown)} == {"resolved"}


def _aged(world: World, table: str, column: str) -> None:
    world.root.execute(f"alter table app.{table} disable trigger user".encode())
    world.root.execute(f"update app.{table} set {column} = {column} - interval '25 hours'".encode())
    world.root.execute(f"select private.guard_table('app.{table}')".encode())
