"""What nobody may undo or hide an alarm with: ending channels, floods, names, incidents called little."""

from __future__ import annotations

from typing import Any

from tests.concurrency.together import acting, together
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.channels import alert, in_use, told
from tests.db.incidents import opened
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World

ADMIN, SYSTEM = ACME.user("admin"), ACME.system()


def raised(world: World, **changes: object) -> str:
    return str(world.call(SYSTEM, "raise_alert_v1", alert(ACME, **changes))["id"])  # type: ignore[arg-type]


def waiting(world: World, channel: str) -> str:
    return str(world.value("select id from app.notifications where channel_id = %s and status = 'pending'", channel))


def claimed(world: World, notification: str) -> Row:
    return world.call(SYSTEM, "claim_notification_v1", {"id": notification, "lease_seconds": 60})


def _entries(world: World, incident: str) -> list[Row]:
    statement = "select to_jsonb(e) from app.incident_entries e where incident_id = %s order by created_at, id"
    return [entry for (entry,) in world.rows(statement, incident)]


def test_whoever_ends_a_channel_holds_up_and_undoes_no_alert(world: World) -> None:
    """An alert that comes while its channel is being disabled is raised; what it left there is cancelled, not tried."""
    channel, other = in_use(world, ACME), in_use(world, ACME)
    with world.database.connect(autocommit=False) as ending:
        world.call(ADMIN, "disable_channel_v1", {"id": channel, "reason": "x"}, connection=ending)
        with world.database.connect() as raising:
            raising.execute("set lock_timeout = '5s'")
            world.call(SYSTEM, "raise_alert_v1", alert(ACME), connection=raising)
        ending.commit()
    assert told(world, other) == ["alert.raised"]
    left = waiting(world, channel)
    assert claimed(world, left) == {"claimed": False}
    assert world.value("select status from app.notifications where id = %s", left) == "cancelled"
    # A gone channel with much to tell: every delivery finds out at once.
    gone = in_use(world, ACME)
    for _ in range(6):
        raised(world)
    items = [str(row[0]) for row in world.rows("select id from app.notifications where channel_id = %s", gone)]
    settle = [{"id": item, "fence": claimed(world, item)["fence"], "outcome": "gone", "error": "It answered 410."}
              for item in items]  # fmt: skip
    answers = together(world, [acting(world, SYSTEM, "settle_notification_v1", args) for args in settle])
    assert sorted(str(answer.get("refused")) for answer in answers) == ["None"] + ["lease_lost"] * 5
    states = "select status, count(*) from app.notifications where channel_id = %s group by status order by status"
    assert world.rows(states, gone) == [("cancelled", 5), ("dead", 1)]


def test_nothing_that_is_told_keeps_an_alert_from_being_told(world: World) -> None:
    """Neither a member's name that looks like a credential, nor a flood of what is less bad."""
    channel = in_use(world, ACME)
    world.root.execute(
        "update app.members set name = 'Bearer abcdefghijklmnop' where user_id = %s", (ACME.person("admin"),)
    )
    raised(world, owner_id=ACME.person("admin"), title="An own title")
    shown: Any = world.value("select content from app.notifications where channel_id = %s", channel)
    assert (shown["title"], shown["owner_name"]) == ("An own title", None)
    for _ in range(62):
        raised(world)
    assert told(world, channel)[59:] == ["alert.more"]
    raised(world, severity="critical")
    assert told(world, channel)[60:] == ["alert.raised"]


def test_what_is_begun_again_and_again_and_never_ends_is_given_up(world: World) -> None:
    channel = in_use(world, ACME)
    raised(world)
    item = waiting(world, channel)
    for _ in range(10):
        assert claimed(world, item)["claimed"]
        world.root.execute("update private.notification_leases set lease_until = now()")
    assert claimed(world, item) == {"claimed": False}
    assert world.value("select status from app.notifications where id = %s", item) == "dead"
    assert (
        world.value("select count(*) from app.alerts where kind = 'channel.failing' and subject_id = %s", channel) == 1
    )


def test_what_gets_worse_than_it_was_called_is_critical(world: World) -> None:
    """Nobody hides what is critical by having called it little before, or in another environment."""
    run: Row = {"subject_type": "run", "subject_id": ACME.run()}
    early = opened(world, by=ACME.service(), severity="low", **run)
    state = "select severity from app.incidents where id = %s"
    assert world.value(state, early) == "low"
    alert = {"kind": "tests.bad", "severity": "critical", "environment": "production", "title": "Bad"} | run
    world.call(ACME.system(), "raise_alert_v1", alert)
    assert world.value(state, early) == "critical"
    [graded] = [e for e in _entries(world, early) if e["kind"] == "severity_changed"]
    assert (graded["before"], graded["after"], graded["written_by"]) == ("low", "critical", "system:alerts")
    less = {"id": early, "severity": "medium", "reason": "A test run"}
    world.call(ACME.user("operator"), "change_incident_v1", less)
    world.call(ACME.system(), "raise_alert_v1", alert)  # the same once more is known
    assert world.value(state, early) == "medium"
    # An incident about a warning, which turns critical.
    warning = alert | {"kind": "tests.turns", "severity": "warning", "subject_type": "tests", "subject_id": "t"}
    about = world.call(ACME.system(), "raise_alert_v1", warning)["id"]
    noticed = opened(world, severity="low", subject_type="alert", subject_id=about)
    world.call(ACME.system(), "raise_alert_v1", warning | {"severity": "critical"})
    assert world.value(state, noticed) == "critical"
    # Of the organisation as a whole: what a key of the sandbox opened about it is an incident of the sandbox only.
    whole = warning | {"environment": None, "subject_id": "w"}
    about = world.call(ACME.system(), "raise_alert_v1", whole)["id"]
    opened(
        world, by=ACME.service("sandbox"), environment="sandbox", severity="low", subject_type="alert", subject_id=about
    )
    world.call(ACME.system(), "raise_alert_v1", whole | {"severity": "critical"})
    states = "select environment, severity from app.incidents where subject_id = 'w' order by environment"
    assert world.rows(states) == [("sandbox", "low"), (None, "critical")]
    refused_everywhere(
        world,
        "insert into app.incidents (tenant_id, severity, title, owner_id, link_type, link_id) values"
        f" ('{ACME.id}', 'low', 'x', '{ACME.person('owner')}', 'run', '{GLOBEX.run()}')",
        claims=ACME.user(), vantages=OWNER, reasons=("unknown_link",),
    )  # fmt: skip


def test_what_was_told_long_ago_is_forgotten_and_nothing_else(world: World) -> None:
    channel = in_use(world, ACME)
    over, stands, fresh = (raised(world, title=name) for name in ("over", "stands", "fresh"))
    for item in [str(row[0]) for row in world.rows("select id from app.notifications where channel_id = %s", channel)]:
        settle = {"id": item, "fence": claimed(world, item)["fence"], "outcome": "delivered"}
        world.call(SYSTEM, "settle_notification_v1", settle)
    for each in (over, fresh):
        world.call(ACME.user(), "resolve_alert_v1", {"id": each, "reason": "over"})
    ended = "update app.notifications set finished_at = now() - interval '91 days' where alert_id = any(%s)"
    for guards in ("disable", "enable always"):
        for trigger in ("notifications_guard", "notifications_keep_columns"):
            world.root.execute(f"alter table app.notifications {guards} trigger {trigger}".encode())
        if guards == "disable":
            world.root.execute(ended + " and status = 'delivered'", ([over, stands],))
    due = [item["id"] for item in world.value("select app.claim_old_notifications_v1(100)")]
    assert world.rows("select alert_id::text from app.notifications where id::text = any(%s)", due) == [(over,)]
    everything = [str(row[0]) for row in world.rows("select id from app.notifications where tenant_id = %s", ACME.id)]
    for claims in (ADMIN, ACME.service()):
        with world.refuses("permission_denied"):
            world.call(claims, "forget_notifications_v1", {"ids": everything})
    assert world.call(GLOBEX.system(), "forget_notifications_v1", {"ids": everything}) == {"erased": 0}
    refused_everywhere(
        world, f"delete from app.notifications where id = '{due[0]}'", claims=ADMIN, vantages=OWNER,
        reasons=("permission_denied",),
    )  # fmt: skip
    assert world.call(SYSTEM, "forget_notifications_v1", {"ids": everything}) == {"erased": 1}
    assert world.value("select count(*) from app.notifications where tenant_id = %s", ACME.id) == len(everything) - 1
    assert world.events()[-1]["type"] == "notification.removed"


def test_an_outage_is_few_incidents(world: World) -> None:
    bad = {"severity": "critical", "kind": "tests.unknown"}
    alerts = [raised(world, **bad, subject_id=str(number)) for number in range(14)]
    other = raised(world, **bad, subject_id="s", environment="sandbox")
    for number in (12, 13):
        raised(world, **bad, subject_id=str(number))  # again, where it was told before
    found = world.rows("select id::text, environment, subject_id from app.incidents order by opened_at")
    assert [tuple(row[1:]) for row in found] == [("production", str(n)) for n in range(10)] + [("sandbox", "s")]
    joined = [(e["kind"], e["link_id"]) for e in _entries(world, found[9][0])]
    assert joined == [("opened", alerts[9])] + [("alert_joined", each) for each in alerts[10:]]
    assert [e["link_id"] for e in _entries(world, found[10][0])] == [other]
    switch = world.stop(ACME, "tenant", ACME.id)
    assert world.value("select count(*) from app.incidents where subject_id = %s", switch) == 1
