"""Alerts: one per matter, acknowledged by people only, resolved once, and without a secret in them."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World


def _alert(**changes: object) -> Row:
    raised: Row = {
        "kind": "tests.raised", "severity": "info", "environment": "production", "subject_type": "run",
        "subject_id": ACME.run(), "title": "Look at this", "detail": {"count": 1},
    }  # fmt: skip
    return raised | changes


def _raise(world: World, **changes: object) -> str:
    return str(world.call(ACME.system(), "raise_alert_v1", _alert(**changes))["id"])


def _row(world: World, alert: str) -> Row:
    found: Row = world.value("select to_jsonb(a) from app.alerts a where id = %s", alert)
    return found


def test_a_matter_has_one_alert_until_it_is_resolved(world: World) -> None:
    first = _raise(world)
    seen = world.last_event()
    assert [_raise(world) for _ in range(3)] == [first] * 3
    assert world.events(after=seen) == []  # what merely counts up does not fill the log
    assert _row(world, first)["occurrences"] == 4
    others = {_raise(world, subject_id="other"), _raise(world, kind="tests.other"), _raise(world, subject_type="x")}
    assert len(others | {first}) == 4
    clear = {"kind": "tests.raised", "subject_type": "run", "subject_id": ACME.run(), "resolution": "well again"}
    assert world.call(ACME.system(), "clear_alert_v1", clear) == {"resolved": 1}
    assert world.call(ACME.system(), "clear_alert_v1", clear) == {"resolved": 0}
    assert _row(world, first)["resolved_by"] == "system:execute_actions"
    assert _raise(world) != first


def test_what_gets_worse_is_open_again(world: World) -> None:
    alert = _raise(world, severity="warning")
    world.call(ACME.user("operator", "aal1"), "acknowledge_alert_v1", {"id": alert, "note": "on it"})
    for severity, status in (("info", "acknowledged"), ("warning", "acknowledged"), ("critical", "open")):
        _raise(world, severity=severity)
        assert _row(world, alert)["status"] == status
    _raise(world, severity="info")
    assert _row(world, alert)["severity"] == "critical"


def test_a_person_acknowledges_and_nobody_for_him(world: World) -> None:
    alert = _raise(world)
    for claims in (ACME.service(), ACME.system(), ACME.user("auditor"), {}):
        for function in ("acknowledge_alert_v1", "resolve_alert_v1"):
            with world.refuses("permission_denied", "unauthenticated"):
                world.call(claims, function, {"id": alert, "reason": "x"})
    for claims in (GLOBEX.user(), GLOBEX.user("operator")):
        with world.refuses("not_found"):
            world.call(claims, "acknowledge_alert_v1", {"id": alert})
    for person in (ACME.person("owner"), GLOBEX.person("owner")):
        refused_everywhere(
            world,
            f"update app.alerts set status = 'acknowledged', acknowledged_by = '{person}' where id = '{alert}'",
            claims=ACME.service(),
            reasons=("permission_denied",),
        )
    world.call(ACME.user("approver"), "acknowledge_alert_v1", {"id": alert})
    assert _row(world, alert)["acknowledged_by"] == ACME.person("approver")
    refused_everywhere(
        world,
        f"update app.alerts set acknowledged_by = '{ACME.person('owner')}' where id = '{alert}'",
        claims=ACME.user(),
        reasons=("immutable_column",),
    )


def test_who_answers_for_an_alert_is_a_member_and_named_by_a_person(world: World) -> None:
    alert = _raise(world)
    mine = {"id": alert, "user_id": ACME.person("operator")}
    for claims in (ACME.service(), ACME.system(), ACME.user("auditor"), {}):
        with world.refuses("permission_denied", "unauthenticated"):
            world.call(claims, "assign_alert_v1", mine)
    with world.refuses("not_a_member"):
        world.call(ACME.user(), "assign_alert_v1", {"id": alert, "user_id": GLOBEX.person("owner")})
    for function in ("assign_alert_v1", "alert_history_v1"):
        with world.refuses("not_found"):
            world.call(GLOBEX.user(), function, {"id": alert, "user_id": GLOBEX.person("owner")})
    for owner in (ACME.person("operator"), ACME.person("operator"), None):
        world.call(ACME.user("operator", "aal1"), "assign_alert_v1", {"id": alert, "user_id": owner})
    history: Any = world.call(ACME.user("auditor"), "alert_history_v1", {"id": alert})
    assert [event["type"] for event in history] == ["alert.raised", "alert.updated", "alert.updated"]
    assert history[1]["owner_id"] == ACME.person("operator")
    assert history[1]["by"] == f"user:{ACME.person('operator')}"
    world.call(ACME.user(), "resolve_alert_v1", {"id": alert, "reason": "over"})
    with world.refuses("alert_resolved"):
        world.call(ACME.user(), "assign_alert_v1", mine)


def test_only_scheduled_functions_raise_from_outside(world: World) -> None:
    for claims in (ACME.user(), ACME.service(), {}):
        for function in ("raise_alert_v1", "clear_alert_v1"):
            with world.refuses("permission_denied", "unauthenticated"):
                world.call(claims, function, _alert())
    refused_everywhere(
        world,
        "select private.raise_alert(%s, null, 'a.b', 'info', 'x', 'x', 'x')",
        ACME.id,
        claims=ACME.user(),
        vantages=("countersign_api", "authenticated", "service_role"),
    )


def test_what_is_resolved_stays_so_for_everybody(world: World) -> None:
    alert = _raise(world)
    world.call(ACME.user(), "resolve_alert_v1", {"id": alert, "reason": "done"})
    for change in ("status = 'open'", "occurrences = 9", "title = 'x'", "resolved_by = 'x'"):
        refused_everywhere(
            world,
            f"update app.alerts set {change} where id = '{alert}'",
            claims=ACME.user(),
            vantages=OWNER,
            reasons=("invalid_transition",),
        )
    open_one = _raise(world)
    for statement in (
        f"delete from app.alerts where id = '{open_one}'",
        f"update app.alerts set kind = 'a.b' where id = '{open_one}'",
        f"update app.alerts set severity = 'info', occurrences = 0 where id = '{open_one}'",
        f"update app.alerts set tenant_id = '{GLOBEX.id}' where id = '{open_one}'",
        "truncate app.alerts",
    ):
        reasons = (
            "append_only", "immutable_column", "invalid_transition", psycopg.errors.ForeignKeyViolation,
            psycopg.errors.FeatureNotSupported,  # a TRUNCATE of what is referred to
        )  # fmt: skip
        refused_everywhere(world, statement, claims=ACME.user(), vantages=OWNER, reasons=reasons)


@pytest.mark.parametrize(
    "detail",
    [
        {"key": f"cs_live_{'a' * 32}_{'b' * 43}"},
        {"said": "Authorization: Bearer abcdefghijk"},
        {"answer": {"refresh_token": "x"}},
        {"long": "x" * 9000},
        ["no object"],
    ],
)
def test_what_may_not_be_shown_is_withheld_and_the_alert_is_raised(world: World, detail: object) -> None:
    """An alert must not undo the change that it is about, whatever a provider has put into it."""
    assert _row(world, _raise(world, detail=detail))["detail"] == {"withheld": True}
    with pytest.raises(psycopg.errors.CheckViolation):
        world.owner.execute(
            "insert into app.alerts (tenant_id, kind, severity, subject_type, subject_id, title, detail)"
            " values (%s, 'a.b', 'info', 'x', 'x', 'x', %s)",
            (ACME.id, json.dumps(detail)),
        )


def test_an_alert_commits_with_what_it_is_about(world: World) -> None:
    """And is attributed to who acted, not to who says so."""
    connection = ACME.connection("bank/write")
    failed: Row = {"connection_id": connection, "generation": 1, "reason": "gone", "final": True}
    with world.api.transaction(force_rollback=True):
        world.call(ACME.system("refresh_tokens"), "fail_refresh_v1", failed)
    found = "select raised_by, owner_id::text from app.alerts where subject_id = %s"
    assert world.rows(found, connection) == []
    world.call(ACME.system("refresh_tokens"), "fail_refresh_v1", failed)
    assert world.rows(found, connection) == [("system:refresh_tokens", ACME.person("admin"))]
