"""That a channel is dead: mailed to owners where no channel tells it, seldom, and no more than mails say."""

from __future__ import annotations

from api.ids import new_id
from tests.concurrency.together import acting, together
from tests.db.channels import alert, in_use
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World, refusal

SYSTEM = ACME.system()
DUE = "select app.claim_unheard_alerts_v1(10)"


def _stopped(world: World, outcome: str = "dead") -> str:
    """A channel of its own that did not take what it was told; it."""
    channel = in_use(world, ACME)
    world.call(SYSTEM, "raise_alert_v1", alert(ACME))
    item = world.value("select id::text from app.notifications where channel_id = %s and status = 'pending'", channel)
    claimed = world.call(SYSTEM, "claim_notification_v1", {"id": item, "lease_seconds": 60})
    ended = {"id": item, "fence": claimed["fence"], "outcome": outcome, "error": "It answered 500."}
    world.call(SYSTEM, "settle_notification_v1", ended)
    return channel


def _take(world: World, alert_id: str, claims: Row = SYSTEM) -> Row:
    return world.call(claims, "tell_owners_v1", {"id": alert_id, "again_seconds": 3600})


def test_owners_hear_what_no_channel_tells(world: World) -> None:
    _stopped(world)
    [item] = world.value(DUE)
    assert item["tenant_id"] == ACME.id
    for claims in (ACME.user(), ACME.service()):
        with refusal("permission_denied"):
            _take(world, item["id"], claims)
        with refusal("permission_denied"):
            world.call(claims, "owners_told_v1", {"id": item["id"]})
    assert _take(world, item["id"], GLOBEX.system()) == {"claimed": False}
    ask = acting(world, SYSTEM, "tell_owners_v1", {"id": item["id"], "again_seconds": 3600})
    answers = together(world, [ask, ask])
    assert sorted(answer["claimed"] for answer in answers) == [False, True]
    [found] = [answer for answer in answers if answer["claimed"]]
    owners = "select email from app.members where tenant_id = %s and role = 'owner'"
    assert {(email,) for email in found["owners"]} == set(world.rows(owners, ACME.id))
    assert set(found["content"]) == {
        "alert_id", "kind", "severity", "title", "environment", "status", "occurrences", "raised_at", "owner_id",
        "owner_name",
    }  # fmt: skip
    assert "It answered" not in str(found)
    assert (world.value(DUE), _take(world, item["id"])) == ([], {"claimed": False})
    for tries in range(2, 11):
        world.root.execute("update private.owner_mails set again_at = now()")
        assert [one["id"] for one in world.value(DUE)] == [item["id"]], tries
        assert _take(world, item["id"])["claimed"]
    world.root.execute("update private.owner_mails set again_at = now()")
    assert (world.value(DUE), _take(world, item["id"])) == ([], {"claimed": False})
    world.root.execute("update private.owner_mails set tries = 1")
    assert world.call(GLOBEX.system(), "owners_told_v1", {"id": item["id"]}) == {"recorded": False}
    assert world.call(SYSTEM, "owners_told_v1", {"id": item["id"]}) == {"recorded": True}
    assert world.call(SYSTEM, "owners_told_v1", {"id": item["id"]}) == {"recorded": False}
    assert world.value(DUE) == []


def test_owners_are_not_mailed_what_somebody_hears_or_is_on_nor_without_end(world: World) -> None:
    raised = [
        world.call(SYSTEM, "raise_alert_v1", alert(ACME, kind=kind, subject_type="channel", subject_id=str(new_id())))
        for kind in ("channel.gone", "channel.member_left", "channel.failing", "channel.gone", "connection.expired")
    ]
    ids = [one["id"] for one in raised]
    assert [one["id"] for one in world.value(DUE)] == ids[:4]
    world.call(ACME.user("operator"), "acknowledge_alert_v1", {"id": ids[0], "note": "mine"})
    assert [one["id"] for one in world.value(DUE)] == ids[1:4]
    assert [_take(world, one)["claimed"] for one in ids] == [False, True, True, True, False]
    _stopped(world)
    assert world.value(DUE) == []  # three in a day
    world.root.execute("update private.owner_mails set first_at = first_at - interval '25 hours'")
    assert len(world.value(DUE)) == 1
    other = in_use(world, ACME)
    _stopped(world, "gone")
    mine = world.value("select id::text from app.alerts where kind = 'channel.gone' order by raised_at desc limit 1")
    assert mine not in {one["id"] for one in world.value(DUE)}  # the other channel is to be told
    told = "select count(*) from app.notifications where channel_id = %s and alert_id = %s"
    assert world.value(told, other, mine) == 1
    world.root.execute("alter table app.notifications disable trigger user")
    world.root.execute("update app.notifications set attempts = 3 where alert_id = %s", (mine,))
    world.root.execute("select private.guard_table('app.notifications')")
    assert mine in {one["id"] for one in world.value(DUE)}  # none of them takes anything either
