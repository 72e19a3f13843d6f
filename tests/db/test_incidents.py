"""Incidents: forward only, each step somebody's, a timeline that nobody edits, and a review by somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from api.ids import new_id
from tests.concurrency.together import acting, together
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.incidents import (
    MOVE,
    NOTE,
    OPEN,
    REVIEW,
    follow_up,
    moved,
    new,
    opened,
    resolved,
    review,
    today,
    yesterday,
)
from tests.db.names import ACME, GLOBEX, PAY, Row
from tests.db.world import World

CLOSE, TELL = "close_follow_up_v1", "tell_overdue_follow_up_v1"


def _row(world: World, incident: str) -> Row:
    found: Row = world.value("select to_jsonb(i) from app.incidents i where id = %s", incident)
    return found


def _entries(world: World, incident: str) -> list[Row]:
    statement = "select to_jsonb(e) from app.incident_entries e where incident_id = %s order by created_at, id"
    return [entry for (entry,) in world.rows(statement, incident)]


def _set(incident: str, change: str) -> str:
    return f"update app.incidents set {change} where id = '{incident}'"


def _reviewed(world: World, by: str = "approver") -> str:
    incident = resolved(world)
    world.call(ACME.user(by), REVIEW, review() | {"id": incident})
    return incident


def test_from_open_to_reviewed(world: World) -> None:
    incident, seen = opened(world), world.last_event()
    moved(world, incident, "acknowledged", reason="I call the bank")
    moved(world, incident, "contained", reason="stopped", link_type="run", link_id=ACME.run())
    moved(world, incident, "resolved", by="approver", reason="paid back")
    stands = world.call(ACME.user("admin"), REVIEW, review() | {"id": incident})
    assert (stands["status"], stands["reviewed_by"]) == ("reviewed", f"user:{ACME.person('admin')}")
    row, entries = _row(world, incident), _entries(world, incident)
    assert (row["acknowledged_by"], row["contained_by"]) == (f"user:{ACME.person('operator')}",) * 2
    assert (row["owner_id"], row["resolved_by"]) == (ACME.person("operator"), f"user:{ACME.person('approver')}")
    assert [e["kind"] for e in entries] == [
        "opened", "acknowledged", "contained", "resolved", "reviewed", "follow_up_added",
    ]  # fmt: skip
    assert [e["text"] for e in entries[:4]] == ["", "I call the bank", "stopped", "paid back"]
    assert (entries[2]["link_type"], entries[2]["link_id"]) == ("run", ACME.run())
    logged = world.events(after=seen)
    assert [e["type"] for e in logged if e["subject"] == {"type": "incident", "id": incident}] == [
        f"incident.{step}" for step in ("acknowledged", "contained", "resolved", "reviewed")
    ]
    assert {"incident_review.recorded", "incident_follow_up.added"} <= {e["type"] for e in logged}
    assert "I call the bank" not in str(logged)  # the log has digests of what people said
    assert entries[1]["digest"] in str(logged)
    for function, args in (
        (MOVE, {"id": incident, "status": "resolved", "reason": "x"}),
        (REVIEW, review(id=incident)),
    ):
        with world.refuses("incident_moved"):
            world.call(ACME.user(), function, args)
    assert world.verified()["ok"]


def test_forward_only_for_the_owner_of_the_table_too(world: World) -> None:
    here, gone, over = opened(world), resolved(world), _reviewed(world)
    acknowledged = opened(world)
    moved(world, acknowledged, "acknowledged")
    attacks = [
        _set(here, "status = 'reviewed'"),
        _set(here, "status = 'resolved', said = ' '"),
        _set(acknowledged, "status = 'contained', said = ''"),
        _set(acknowledged, "status = 'open'"),
        _set(gone, "status = 'contained', said = 'x'"),
        _set(gone, "status = 'reviewed'"),
        _set(gone, "severity = 'low', said = 'x'"),
        _set(over, "status = 'resolved', said = 'x'"),
        _set(over, f"owner_id = '{ACME.person('owner')}'"),
        _set(here, "title = 'nothing happened'"),
        _set(here, "opened_at = now(), said = 'x'"),
        _set(here, f"resolved_by = 'user:{ACME.person('owner')}'"),
        _set(here, "severity = 'low', said = ''"),
        _set(here, f"owner_id = '{GLOBEX.person('owner')}'"),
        _set(here, f"tenant_id = '{GLOBEX.id}'"),
        f"delete from app.incidents where id = '{here}'",
        "truncate app.incidents cascade",
    ]
    reasons = (
        "invalid_transition", "reason_needed", "immutable_column", "not_a_member", "append_only", "people_only",
    )  # fmt: skip
    for attack in attacks:
        refused_everywhere(world, attack, claims=ACME.user(), vantages=OWNER, reasons=reasons)
    for claims in ({}, ACME.service(), ACME.system(), ACME.user("auditor"), ACME.user("developer"), GLOBEX.user()):
        refused_everywhere(
            world, _set(here, "status = 'resolved', said = 'x'"), claims=claims, vantages=OWNER,
            reasons=("unauthenticated", "permission_denied", "people_only"),
        )  # fmt: skip


def test_a_timeline_that_nobody_edits(world: World) -> None:
    incident = _reviewed(world)
    for attack in (
        "update app.incident_entries set text = 'x'", "delete from app.incident_entries",
        "truncate app.incident_entries", "update app.incident_reviews set root_cause = 'x'",
        "delete from app.incident_reviews", "delete from app.incident_follow_ups",
    ):  # fmt: skip
        refused_everywhere(world, attack, claims=ACME.user(), vantages=OWNER, reasons=("append_only",))
    entry = (
        "insert into app.incident_entries (tenant_id, incident_id, kind, text, digest, written_by, created_at)"
        " values ('{tenant}', '{incident}', '{kind}', 'x', '', 'user:{who}', '2020-01-01')"
    )
    named = {"incident": incident, "who": ACME.person("owner"), "tenant": ACME.id}
    for kind, claims, reasons in (
        ("resolved", ACME.user(), ("invalid_entry",)),
        ("note", ACME.user("auditor"), ("permission_denied",)),
        ("note", GLOBEX.user(), ("other_tenant",)),
        ("note", {}, ("unauthenticated",)),
    ):
        statement = entry.format(kind=kind, **named)
        refused_everywhere(world, statement, claims=claims, vantages=OWNER, reasons=reasons)
    # What a note says of its writer and its time is the database's to say.
    world.call(ACME.user("developer"), NOTE, {"id": str(new_id()), "incident_id": incident, "text": "later"})
    last = _entries(world, incident)[-1]
    assert (last["kind"], last["written_by"]) == ("note", f"user:{ACME.person('developer')}")


def test_whoever_resolved_it_does_not_review_it_while_another_may(world: World) -> None:
    incident = resolved(world, by="approver")
    with world.refuses("own_resolution"):
        world.call(ACME.user("approver"), REVIEW, review(id=incident))
    for claims in (ACME.user("operator"), ACME.user("developer"), ACME.service(), ACME.system()):
        with world.refuses("permission_denied"):
            world.call(claims, REVIEW, review(id=incident))
    mine = (
        "insert into app.incident_reviews (tenant_id, id, incident_id, what_happened, root_cause, impact, digest,"
        f" reviewed_by, created_at) values ('{ACME.id}', gen_random_uuid(), '{incident}', 'x', 'x', '{{}}', '',"
        f" 'user:{ACME.person('owner')}', now())"
    )
    refused_everywhere(world, mine, claims=ACME.user("approver"), vantages=OWNER, reasons=("own_resolution",))
    unresolved = mine.replace(incident, opened(world))
    refused_everywhere(world, unresolved, claims=ACME.user(), vantages=OWNER, reasons=("incident_moved",))
    # Where nobody else may, they do: better by the same person than by nobody.
    for who in ("owner2", "approver2", "admin", "owner"):
        role = {"user_id": ACME.person(who), "role": "auditor"}
        if who == "owner":
            role = {"user_id": ACME.person("approver"), "role": "owner"}
        world.call(ACME.user(), "change_role_v1", role)
    world.call(ACME.user("approver"), "change_role_v1", {"user_id": ACME.person("owner"), "role": "auditor"})
    assert world.call(ACME.user("approver"), REVIEW, review(id=incident))["status"] == "reviewed"


def test_a_key_opens_and_notes_and_ends_nothing(world: World) -> None:
    key, other = ACME.service(), ACME.service("sandbox")
    about: Row = {"subject_type": "run", "subject_id": ACME.run()}
    incident = opened(world, by=key, environment=None, **about)
    row = _row(world, incident)
    assert (row["environment"], row["owner_id"]) == ("production", ACME.person("owner"))
    assert row["opened_by"] == f"service:{ACME.agent}"
    note: Row = {"id": str(new_id()), "incident_id": incident, "text": "again"}
    world.call(key, NOTE, note)
    with world.refuses("not_found"):
        world.call(other, NOTE, note | {"id": str(new_id())})
    for status in ("acknowledged", "contained", "resolved"):
        with world.refuses("permission_denied"):
            world.call(key, MOVE, {"id": incident, "status": status, "reason": "x"})
    for args in (
        about,
        about | {"subject_id": GLOBEX.run()},
        {"subject_type": "run", "subject_id": ACME.run("sandbox")},
    ):
        with world.refuses("incident_open", "not_found"):
            world.call(key, OPEN, new(environment=None) | args)
    with world.refuses("wrong_environment"):
        world.call(key, OPEN, new(environment="sandbox"))
    with world.refuses("unknown_link"):
        link = {"link_type": "run", "link_id": ACME.run("sandbox")}
        world.call(key, NOTE, note | link | {"id": str(new_id())})
    for _ in range(19):
        opened(world, by=key)
    with world.refuses("too_many_incidents"):
        opened(world, by=key)
    for n in range(99):
        world.call(key, NOTE, note | {"id": str(new_id()), "text": str(n)})
    with world.refuses("too_many_notes"):
        world.call(key, NOTE, note | {"id": str(new_id())})


def test_what_is_critical_opens_one_by_itself(world: World) -> None:
    """Once for all alerts about the same; again only once a person has ended it, and it happens again."""
    subject = {"subject_type": "run", "subject_id": ACME.run()}
    alert: Row = subject | {
        "kind": "tests.raised",
        "severity": "warning",
        "title": "Paid?",
        "environment": "production",
    }

    def raised(**more: object) -> str:
        return str(world.call(ACME.system(), "raise_alert_v1", alert | more)["id"])

    def found() -> list[tuple[Any, ...]]:
        statement = "select id::text, status, severity, owner_id::text, opened_by from app.incidents"
        return world.rows(f"{statement} where subject_id = %s order by opened_at", ACME.run())

    first = raised()
    assert found() == []
    assert raised(severity="critical", owner_id=ACME.person("admin")) == first
    [(incident, *told)] = found()
    assert told == ["open", "critical", ACME.person("admin"), "system:alerts"]
    seen = world.last_event()
    second = raised(kind="tests.other", severity="critical")
    for _ in range(3):
        raised(severity="critical")
        raised(kind="tests.other", severity="critical")
    assert len(found()) == 1
    assert [(e["kind"], e["link_id"]) for e in _entries(world, incident)] == [
        ("opened", first),
        ("alert_joined", second),
    ]
    assert [e["type"] for e in world.events(after=seen)] == ["alert.raised", "incident_entry.added"]
    with world.refuses("incident_open"):
        world.call(ACME.user(), OPEN, new() | {"subject_type": "alert", "subject_id": first})
    moved(world, incident, "resolved")
    raised(severity="critical")
    assert [status for _, status, *_ in found()] == ["resolved", "open"]


def test_to_stop_everything_is_an_incident(world: World) -> None:
    switch = world.stop(ACME, "tenant", ACME.id)
    [(title, environment)] = world.rows("select title, environment from app.incidents where subject_id = %s", switch)
    assert (title, environment) == ("The whole organisation was stopped", None)
    assert world.rows("select from app.incidents where subject_id = %s", world.stop(ACME, "tool", PAY)) == []


def test_a_follow_up_is_closed_once_and_told_of_once(world: World) -> None:
    incident = _reviewed(world)
    late = follow_up(owner_id=ACME.person("developer"), due_on=today())
    world.call(ACME.user("operator"), "add_follow_up_v1", late | {"incident_id": incident})
    for due in (today(-1), today(400)):
        with world.refuses("invalid_day"):
            world.call(ACME.user(), "add_follow_up_v1", follow_up(due_on=due) | {"incident_id": incident})
    closing = {"id": late["id"], "incident_id": incident, "note": "asked"}
    for claims in (ACME.user("auditor"), ACME.service(), ACME.system(), GLOBEX.user()):
        with world.refuses("permission_denied", "people_only", "not_found"):
            world.call(claims, CLOSE, closing)
    this = f"where id = '{late['id']}'"
    for attack in (
        "status = 'closed', closing_note = ''", "due_on = current_date + 9", "what = 'x'", "overdue_at = now()",
        f"owner_id = '{ACME.person('owner')}'",
    ):  # fmt: skip
        refused_everywhere(
            world, f"update app.incident_follow_ups set {attack} {this}", claims=ACME.user(), vantages=OWNER,
            reasons=("reason_needed", "permission_denied", "immutable_column"),
        )  # fmt: skip
    assert world.call(ACME.system("expire_exceptions"), TELL, {"id": late["id"]}) == {"recorded": False}
    yesterday(world, late["id"])
    told = [world.call(ACME.system("expire_exceptions"), TELL, {"id": late["id"]})["recorded"] for _ in range(2)]
    assert told == [True, False]
    alert = "select status, severity, owner_id::text from app.alerts where kind = 'incident.follow_up_overdue'"
    assert world.rows(alert) == [("open", "warning", ACME.person("developer"))]
    world.call(ACME.user("developer", "aal1"), CLOSE, closing)
    assert world.rows(alert)[0][0] == "resolved"
    with world.refuses("follow_up_closed"):
        world.call(ACME.user(), CLOSE, closing)


@pytest.mark.parametrize("owner", ["operator", "auditor"])
def test_who_answers_for_it_is_handed_over_with_a_word(world: World, owner: str) -> None:
    incident = opened(world)
    change = {"id": incident, "owner_id": ACME.person(owner), "reason": "on call"}
    for _ in range(2):
        world.call(ACME.user("approver"), "change_incident_v1", change)
    entries = [e for e in _entries(world, incident) if e["kind"] == "owner_changed"]
    assert [(e["before"], e["after"], e["text"]) for e in entries] == (
        [] if owner == "operator" else [(ACME.person("operator"), ACME.person("auditor"), "on call")]
    )


def test_of_two_people_at_once_one_is_told(world: World) -> None:
    """The same step twice, and a review by two: each is taken once, by one of them."""
    for status in ("acknowledged", "resolved"):
        incident = opened(world)
        step = {"id": incident, "status": status, "reason": "x"}
        answers = together(world, [acting(world, ACME.user(who), MOVE, step) for who in ("operator", "approver") * 3])
        assert sorted(str(answer.get("refused")) for answer in answers) == ["None"] + ["incident_moved"] * 5
        assert [e["kind"] for e in _entries(world, incident)].count(status) == 1
    learned = [review(id=incident, follow_ups=[]) for _ in range(4)]
    answers = together(world, [acting(world, ACME.user("owner"), REVIEW, args) for args in learned])
    assert sorted(str(answer.get("refused")) for answer in answers) == ["None"] + ["incident_moved"] * 3
    about = {"subject_type": "run", "subject_id": ACME.run()}
    answers = together(world, [acting(world, ACME.user(), OPEN, new() | about) for _ in range(6)])
    assert sorted(str(answer.get("refused")) for answer in answers) == ["None"] + ["incident_open"] * 5
