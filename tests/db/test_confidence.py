"""Thresholds of confidence: they tighten by themselves, and only a person loosens them, whoever writes the rows."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, NOTE, PAY, Row, Tenant
from tests.db.world import Action, World

CALIBRATE = ACME.system("calibrate")
SLUG = ACME.slug()


def setting(threshold: float | None, tool: str = PAY, **more: Any) -> Row:
    """The arguments of set_confidence_threshold_v1."""
    return {"workflow": SLUG, "tool": tool, "threshold": threshold, "reason": "we looked"} | more


def tightening(threshold: float, seen: int = 0, tool: str = PAY, tenant: Tenant = ACME) -> Row:
    """The arguments of tighten_confidence_v1."""
    return {
        "workflow_id": tenant.workflow(), "tool": tool, "threshold": threshold, "reason": "too sure",
        "evidence": {"judged": 20}, "seen_version": seen,
    }  # fmt: skip


def in_facts(world: World) -> Row:
    """What the gate is told."""
    thresholds: Row = world.call(ACME.service(), "gate_facts_v1", {"workflow": SLUG})["facts"]["thresholds"]
    return thresholds


def yesterday(world: World) -> None:
    """Everything that was set was set a day earlier, which only the superuser can make so."""
    world.rows("alter table app.confidence_thresholds disable trigger refuse_change")
    world.rows("update app.confidence_thresholds set created_at = created_at - interval '1 day'")
    world.rows("alter table app.confidence_thresholds enable always trigger refuse_change")


def row(threshold: str, *, tenant: Tenant = ACME, tool: str = PAY) -> str:
    """A threshold as the owner of the table would write it, in somebody's name."""
    return (
        "insert into app.confidence_thresholds (tenant_id, environment, workflow_id, tool, version, threshold, reason,"
        f" set_by_kind, set_by, created_at) values ('{tenant.id}', 'sandbox', '{tenant.workflow()}', '{tool}', 77,"
        f" {threshold}, 'mine', 'user', '{tenant.person('owner')}', '2020-01-01')"
    )


def test_what_a_person_sets_is_in_the_facts_and_audited(world: World) -> None:
    assert in_facts(world) == {}
    epoch, seen = world.epoch(ACME), world.last_event()
    made = world.call(ACME.user("admin"), "set_confidence_threshold_v1", setting(0.95))
    assert (made["version"], made["threshold"], made["set_by"]) == (
        1,
        0.95,
        {"kind": "user", "id": ACME.person("admin")},
    )
    assert world.epoch(ACME) > epoch
    assert in_facts(world) == {PAY: 0.95}
    [event] = [e for e in world.events(after=seen) if e["type"] == "confidence_threshold.set"]
    assert (event["what"]["tool"], event["what"]["threshold"], event["why"]["reason"]) == (PAY, 0.95, "we looked")
    assert event["principal"]["id"] == ACME.person("admin")
    world.call(ACME.user("owner"), "set_confidence_threshold_v1", setting(None))
    assert in_facts(world) == {}
    assert world.verified()["ok"]


def test_facts_that_are_older_than_a_threshold_are_not_decided_on(world: World) -> None:
    proposal = world.proposal(ACME)
    world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.95))
    answer = world.call(ACME.service(), "record_action_v1", proposal)
    assert (answer["recorded"], answer["facts"]["thresholds"]) == (False, {PAY: 0.95})


def test_only_who_may_sets_and_only_with_a_second_factor(world: World) -> None:
    nobody = [ACME.user(who) for who in ("approver", "operator", "developer", "auditor")]
    for claims in (*nobody, ACME.service(), ACME.system("calibrate"), ACME.user("owner", "aal1"), {}):
        with world.refuses("permission_denied", "aal2_required", "unauthenticated"):
            world.call(claims, "set_confidence_threshold_v1", setting(0.5))
    for claims in (ACME.user(), ACME.service(), GLOBEX.user(), {}):
        with world.refuses("permission_denied", "unauthenticated"):
            world.call(claims, "tighten_confidence_v1", tightening(0.9))
    with world.refuses("not_found"):
        world.call(GLOBEX.system("calibrate"), "tighten_confidence_v1", tightening(0.9))
    with world.refuses("unknown_tool"):
        world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.9, "sandbox_bank.refunds.create"))
    with world.refuses("version_moved"):
        world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.9, expected_version=3))


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1.01}, {"threshold": -0.01}, {"threshold": "NaN"}, {"reason": " "}, {"reason": None},
        {"reason": "x" * 2001},
    ],
)  # fmt: skip
def test_a_threshold_is_a_share_and_has_a_reason(world: World, change: Row) -> None:
    with world.refuses(psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation):
        world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.9) | change)


def test_the_scheduled_function_tightens_a_step_a_day(world: World) -> None:
    first = world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.99))
    assert (first["recorded"], first["threshold"]) == (True, 0.9)  # a step beyond the spec's 0.8
    assert first["set_by"] == {"kind": "system", "id": None}
    assert not world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.99, seen=1))["recorded"]
    assert in_facts(world) == {PAY: 0.9}
    yesterday(world)
    assert not world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.99, seen=0))[
        "recorded"
    ]  # another's evidence
    assert world.call(CALIBRATE, "tighten_confidence_v1", tightening(1.0, seen=1))["threshold"] == 0.99
    assert in_facts(world) == {PAY: 0.99}
    # The other tool is none of this.
    assert world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.85, tool=NOTE))["threshold"] == 0.85


def test_the_owner_of_the_workflow_is_told_until_a_person_sets_the_threshold(world: World) -> None:
    alerts = "select kind, severity, status, owner_id::text, title, detail from app.alerts where subject_id = %s"
    subject = f"{ACME.workflow()}/{PAY}"
    world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.95))
    [(kind, severity, status, owner, title, detail)] = world.rows(alerts, subject)
    assert (kind, severity, status) == ("confidence.tightened", "warning", "open")
    assert owner in {ACME.person(who) for who in ("owner", "owner2")}
    assert "a confidence of 0.9 is asked for now, not of 0.8" in title
    assert (detail["before"], detail["after"], detail["evidence"]) == (0.8, 0.9, {"judged": 20})
    world.call(ACME.user(), "set_confidence_threshold_v1", setting(None))
    assert [status for _, _, status, *_ in world.rows(alerts, subject)] == ["resolved"]


def test_where_no_threshold_helps_somebody_is_told_all_the_same(world: World) -> None:
    world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.99))
    assert not world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.99, seen=1))["recorded"]
    assert world.rows("select kind, severity from app.alerts where subject_type = 'workflow_tool'") == [
        ("confidence.exhausted", "critical")
    ]
    assert in_facts(world) == {PAY: 0.99}


def test_a_scheduled_function_cannot_loosen_whatever_it_writes(world: World) -> None:
    """The owner of the table with the claims of the function: what is in force, the step and the ceiling bind him."""
    world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.85))
    for threshold in ("null", "0.1", "0.8", "0.85", "'NaN'::numeric", "0.951", "1"):
        refused_everywhere(
            world, row(threshold), claims=CALIBRATE,
            reasons=("people_only", "too_steep", psycopg.errors.CheckViolation),
        )  # fmt: skip
    world.call(CALIBRATE, "tighten_confidence_v1", tightening(0.9, seen=1))
    refused_everywhere(world, row("0.95"), claims=CALIBRATE, reasons=("tightened_today",))


def test_nobody_else_writes_thresholds_even_as_the_owner_of_the_table(world: World) -> None:
    everybody: list[Row] = [ACME.service(), ACME.user("approver"), ACME.user("owner", "aal1"), {}]
    for claims in (*everybody, GLOBEX.user(), GLOBEX.system("calibrate")):
        refused_everywhere(
            world, row("0.95"), claims=claims,
            reasons=("permission_denied", "aal2_required", "unauthenticated", "other_tenant"),
        )  # fmt: skip
    refused_everywhere(world, row("0.95", tool="no.such.tool"), claims=ACME.user(), reasons=("unknown_tool",))


def test_who_set_it_and_when_is_what_the_database_saw(world: World) -> None:
    with standing(world, "owner", CALIBRATE) as connection:
        connection.execute(row("0.9").encode())
    [found] = world.rows(
        "select environment, version, set_by_kind, set_by, now() - created_at < interval '1 hour'"
        " from app.confidence_thresholds"
    )
    assert found == ("production", 1, "system", None, True)


def test_what_was_set_stays(world: World) -> None:
    world.call(ACME.user(), "set_confidence_threshold_v1", setting(0.95))
    for statement in (
        "update app.confidence_thresholds set threshold = 0.1",
        "update app.confidence_thresholds set reason = 'x'",
        "delete from app.confidence_thresholds",
        "truncate app.confidence_thresholds",
    ):
        refused_everywhere(world, statement, claims=ACME.user(), vantages=OWNER, reasons=("append_only",))
    with world.refuses(psycopg.errors.CheckViolation):
        world.owner.execute("update private.permissions set service = true where permission = 'confidence.manage'")


def judged(world: World) -> list[tuple[str, bool | None]]:
    """Every exception's status, and whether the agent was right."""
    return world.rows(
        "select e.status, private.agent_was_right(e.status, e.decided_by, a.edited_by, a.status_reason)"
        " from app.exceptions e"
        " join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id order by e.created_at"
    )


def test_only_what_people_judged_counts(world: World) -> None:
    def decide(action: Action, verdict: str) -> None:
        world.call(ACME.user("approver"), "decide_exception_v1", world.verdict(action, verdict))

    for verdict in ("approve", "reject", "answer"):
        decide(world.payment(), verdict)
    cancelled, edited = world.payment(), world.payment()
    world.call(ACME.user("approver"), "cancel_action_v1", {"id": cancelled.id, "reason": "not needed"})
    action = world.proposal(ACME, by=ACME.system())
    edit = {"exception_id": edited.exception, "digest": edited.digest, "reason": "corrected", "action": action}
    replaced = world.call(ACME.user("approver"), "edit_exception_v1", edit)["superseded_by"]
    by_another = world.recorded(action, replaced)
    world.call(ACME.user("approver2"), "decide_exception_v1", world.verdict(by_another))
    world.payment()  # nobody has decided it yet
    assert judged(world) == [
        ("approved", True), ("rejected", False), ("answered", False), ("answered", None), ("edited", False),
        ("approved", None), ("open", None),
    ]  # fmt: skip


def test_the_worker_is_told_of_what_was_judged_often_enough_and_of_ids_only(world: World) -> None:
    def due(after: str = "") -> list[Row]:
        with world.api.transaction():
            world.api.execute("set local role countersign_worker")
            [found] = world.api.execute("select app.claim_calibrations_v1(%s, 100)", (after,)).fetchone() or [[]]
        return list(found)

    for _ in range(19):
        action = world.payment()
        world.call(ACME.user("approver"), "decide_exception_v1", world.verdict(action, "reject"))
    for _ in range(3):  # claims nothing
        action = world.payment(confidence=None)
        world.call(ACME.user("approver"), "decide_exception_v1", world.verdict(action, "reject"))
    assert due() == []
    world.call(ACME.user("approver"), "decide_exception_v1", world.verdict(world.payment(), "reject"))
    [item] = due()
    key = item.pop("key")
    assert item == {"tenant_id": ACME.id, "workflow_id": ACME.workflow(), "tool": PAY}
    assert due(after=key) == []
