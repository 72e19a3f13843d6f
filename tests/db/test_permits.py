"""A permit is an attempt of the tenant's own client: of what is authorized, once, and settled by its own report."""

from __future__ import annotations

from typing import Any

import pytest

from api.ids import new_id
from tests.db import permits, tools
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, SCOPES, Row, soon
from tests.db.world import Action, World

ATTEMPT = (
    "insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals,"
    " idempotency_key, kind) select tenant_id, gen_random_uuid(), environment, id, run_id, 9, now() + interval '1 day',"
    " '{}', 'k', '%s' from app.actions where id = %%s"
)
OUTCOME = (
    "insert into app.permit_outcomes (tenant_id, id, environment, action_id, run_id, outcome, late, reported_by_kind,"
    " reported_by) select tenant_id, id, environment, action_id, run_id, 'failed', false, 'user', gen_random_uuid()"
    " from app.attempts where id = %s"
)


def another_agent(world: World) -> Row:
    """Claims of another service account of the tenant."""
    account, key = str(new_id()), str(new_id())
    secret = f"{'b' * 64}"
    world.call(ACME.user("developer"), "create_service_account_v1", {"id": account, "name": "other", "description": ""})
    issued = {
        "id": key, "service_account_id": account, "environment": "production", "prefix": "cs_test",
        "secret_hash": secret, "scopes": SCOPES, "expires_at": soon(days=1),
    }  # fmt: skip
    world.call(ACME.user(), "create_api_key_v1", issued)
    return {"kind": "service", "key_id": key, "key_hash": secret}


def test_a_permit_says_what_was_authorized_and_its_report_ends_it(world: World) -> None:
    action = permits.approved(world)
    permit = permits.claim(world, action)
    assert (permit["claimed"], permit["digest"], permit["tool"]) == (True, action.digest, "till.refunds.create")
    assert world.status(action) == "executing"
    kind, sent = world.rows("select kind, sent_at is not null from app.attempts where id = %s", permit["attempt_id"])[0]
    assert (kind, sent) == ("client", True)
    answer = permits.report(world, action, permit)
    assert (answer["status"], answer["late"], answer["settled"]) == ("succeeded", False, True)
    words = [event["type"] for event in world.events() if event.get("action_id") == action.id]
    assert words[-5:-2] == ["action.authorized", "action.executing", "attempt.started"] or "permit.reported" in words
    assert {"attempt.started", "permit.reported", "attempt.succeeded", "action.succeeded"} <= set(words)


def test_nobody_has_a_permit_for_what_is_not_approved(world: World) -> None:
    action = permits.waiting(world)
    with world.refuses("not_authorized"):
        permits.claim(world, action)
    executing = "update app.actions set status = 'executing' where id = %s"
    reasons = ("invalid_transition", "approvals_missing", "not_executing")
    refused_everywhere(world, executing, action.id, claims=ACME.user(), reasons=reasons)
    refused_everywhere(world, ATTEMPT % "client", action.id, claims=ACME.system(), reasons=reasons)
    # Nor for another payload than the one that was approved.
    world.approve(action)
    with world.refuses("immutable_column", "approvals_missing"), standing(world, "owner") as owner:
        owner.execute("update app.actions set digest = 'sha256:' || repeat('0', 64) where id = %s", (action.id,))


def test_a_client_executes_its_own_tools_and_an_executor_the_others(world: World) -> None:
    theirs, ours = permits.authorized(world), world.authorized()
    with world.refuses("not_external"):
        permits.claim(world, ours)
    for action, kind in ((theirs, "executor"), (ours, "client")):
        with world.refuses("external_tool"), standing(world, "owner") as owner:
            owner.execute("update app.actions set status = 'executing' where id = %s", (action.id,))
            owner.execute((ATTEMPT % kind).encode(), (action.id,))
    assert (world.status(theirs), world.status(ours)) == ("authorized", "authorized")


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (GLOBEX.service(), "not_found"), (GLOBEX.user(), "not_found"), (ACME.service("sandbox"), "wrong_environment"),
        (ACME.user("auditor"), "permission_denied"), (ACME.system(), "permission_denied"), (None, "not_the_proposer"),
    ],
)  # fmt: skip
def test_it_is_given_to_the_client_that_proposed_and_reported_by_it(world: World, by: Row | None, reason: str) -> None:
    action, open_one = permits.authorized(world), permits.authorized(world)
    permit = permits.claim(world, open_one)
    by = by or another_agent(world)
    with world.refuses(reason):
        permits.claim(world, action, by)
    with world.refuses(reason):
        world.call(by, "report_outcome_v1", permits.outcome(open_one, permit))


def test_a_person_may_execute_by_hand_what_an_agent_proposed(world: World) -> None:
    action = permits.authorized(world)
    permit = permits.claim(world, action, ACME.user("operator"))
    args = permits.outcome(action, permit)
    assert world.call(ACME.user("operator"), "report_outcome_v1", args)["status"] == "succeeded"


def test_it_is_issued_once_and_used_once(world: World) -> None:
    action = permits.authorized(world)
    first = permits.claim(world, action, key="one", request="a")
    assert permits.claim(world, action, key="one", request="a") == first
    with world.refuses("permit_issued"):
        permits.claim(world, action, key="two", request="a")
    permits.report(world, action, first, "unknown")
    for again in ("unknown", "failed", "succeeded"):
        with world.refuses("outcome_reported"):
            permits.report(world, action, first, again)
    with world.refuses("permit_issued"):
        permits.claim(world, action)
    assert world.status(action) == "unknown"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": f"sha256:{'0' * 64}"}, "digest_mismatch"), ({"attempt_id": str(new_id())}, "not_found"),
        ({"action_id": str(new_id())}, "not_found"), ({"outcome": "retry"}, "invalid_outcome"),
        ({"outcome": "dead_letter"}, "invalid_outcome"), ({"outcome": None}, "invalid_outcome"),
    ],
)  # fmt: skip
def test_a_report_of_something_else_changes_nothing(world: World, changes: Row, reason: str) -> None:
    action = permits.authorized(world)
    permit = permits.claim(world, action)
    with world.refuses(reason):
        permits.report(world, action, permit, **changes)


def test_a_report_cannot_be_slipped_in(world: World) -> None:
    action, payment = permits.authorized(world), world.authorized()
    permit, claimed = permits.claim(world, action), world.claim(payment)
    refused_everywhere(world, OUTCOME, permit["attempt_id"], claims=GLOBEX.user(), vantages=APPLICATION)
    for claims in (GLOBEX.user(), ACME.system(), ACME.user("auditor")):
        reasons = ("permission_denied",)
        refused_everywhere(world, OUTCOME, permit["attempt_id"], claims=claims, vantages=OWNER[:1], reasons=reasons)
    refused_everywhere(
        world, OUTCOME, claimed["attempt_id"], claims=ACME.user(), vantages=OWNER, reasons=("not_a_permit",)
    )
    for status in ("succeeded", "failed"):
        closed = f"update app.attempts set status = '{status}' where id = %s"
        reasons = ("not_reported",)
        refused_everywhere(world, closed, permit["attempt_id"], claims=ACME.user(), vantages=OWNER, reasons=reasons)


def test_no_permit_is_given_under_a_kill_switch_nor_after_the_contract_moved(world: World) -> None:
    action = permits.authorized(world)
    switch = world.stop()
    with world.refuses("kill_switch_engaged"):
        permits.claim(world, action)
    world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "over"})
    tools.register(world, ACME, title="Another")
    answer = permits.claim(world, action)
    assert (answer["claimed"], answer["status"]) == (False, "expired")


def test_it_lasts_for_minutes_whoever_asks_for_more(world: World) -> None:
    permit = permits.claim(world, permits.authorized(world), seconds=86400)
    lasts = "select extract(epoch from lease_expires_at - started_at) from app.attempts where id = %s"
    assert world.value(lasts, permit["attempt_id"]) == 900 + 120


def _late(world: World) -> tuple[Action, Row]:
    action = permits.authorized(world)
    return action, permits.claim(world, action)


def test_what_is_not_reported_is_unknown_and_somebody_is_told(world: World) -> None:
    action, permit = _late(world)
    assert permits.unreported(world, permit)["status"] == "unknown"
    alert = "select kind, severity, status, contact from app.alerts where subject_id = %s"
    found = world.rows(alert, action.id)
    assert found == [("permit.unreported", "critical", "open", found[0][3])]
    assert world.value("select count(*) from app.attempts where action_id = %s", action.id) == 1


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "succeeded"), ("failed", "failed"), ("unknown", "unknown")]
)
@pytest.mark.parametrize("settled", [True, False])
def test_a_late_report_settles_what_is_unknown(world: World, outcome: str, status: str, settled: bool) -> None:
    """Whether or not the schedule has come by in between."""
    action, permit = _late(world)
    if settled:
        permits.unreported(world, permit)
    else:
        permits.end_the_time_of(world, permit["attempt_id"])
    answer = permits.report(world, action, permit, outcome)
    assert (answer["late"], answer["settled"], world.status(action)) == (True, outcome != "unknown", status)
    assert world.value("select status from app.attempts where id = %s", permit["attempt_id"]) == "unknown"


def test_a_late_report_does_not_overrule_a_person(world: World) -> None:
    action, permit = _late(world)
    permits.unreported(world, permit)
    reconciled: dict[str, Any] = {"id": action.id, "outcome": "failed", "reason": "it is not in the till"}
    world.call(ACME.user(), "reconcile_action_v1", reconciled)
    answer = permits.report(world, action, permit, "succeeded")
    assert (answer["late"], answer["settled"], answer["status"]) == (True, False, "failed")


def test_no_permit_is_given_for_what_an_ended_account_proposed(world: World) -> None:
    """Also to a person, who may else do by hand what an agent proposed; as Countersign itself would not execute it."""
    action = permits.approved(world)
    world.call(ACME.user(), "disable_service_account_v1", {"id": ACME.agent})
    answer = permits.claim(world, action, by=ACME.user())
    assert (answer["claimed"], answer["status"]) == (False, "expired")
    assert "service account" in answer["reason"]
