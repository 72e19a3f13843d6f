"""Confidence: what was claimed and what people decided; a threshold tightens on drift, and a person loosens it."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.emissions import crash_reports
from tests.http.functions import function
from tests.http.integrator import (
    PAY,
    Agent,
    access_spec,
    at_work,
    decide,
    join,
    new_organisation,
    objections,
    payment,
)
from tests.http.problems import problem, unchanged
from tests.http.test_scheduled_trouble import broken, heartbeat
from tests.http.world import World

WORKFLOW = "pay-vendor-bills"


def calibration(organisation: Organisation, tool: str = PAY, **more: Any) -> dict[str, Any]:
    """What the API says of one tool."""
    answer = ok(organisation.owner.api.get("/v1/confidence", params={"workflow": WORKFLOW, "tool": tool} | more))
    [found] = answer["tools"]
    assert (answer["workflow"], found["tool"]) == (WORKFLOW, tool)
    return dict(found)


def judged(organisation: Organisation, agent: Agent, verdicts: list[str], confidence: float | None = 0.85) -> None:
    """Payments that the agent claimed this much for, and that the approver decided so."""
    for number, verdict in enumerate(verdicts):
        action = agent.propose(PAY, payment(1000 + number), confidence=confidence)
        changes = {"args": payment(2000 + number)} if verdict == "edit" else {}
        ok(decide(organisation.approver, action, verdict, **changes))


def threshold(value: float | None, **more: Any) -> dict[str, Any]:
    return {"workflow": WORKFLOW, "tool": PAY, "threshold": value, "reason": "the cause is mended"} | more


def test_a_calibration_tells_what_claims_were_worth(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        judged(fresh, agent, ["approve", "reject"], 0.9)
        judged(fresh, agent, ["approve"], 0.3)
        judged(fresh, agent, ["edit", "answer"], 0.0)
        judged(fresh, agent, ["approve", "reject"], None)
        agent.propose(PAY, payment(), confidence=0.95)  # nobody has judged it
        cancelled = agent.propose(PAY, payment(), confidence=0.95)
        ok(agent.api.post(f"/v1/actions/{cancelled['id']}/cancel", json={"reason": "a mistake"}, headers=once()))
    found = calibration(fresh)
    scores = found["scores"]
    assert (scores["judged"], scores["mean_claimed"], scores["share_approved"]) == (5, pytest.approx(0.42), 0.4)
    assert scores["brier"] == pytest.approx((0.1**2 + 0.9**2 + 0.7**2 + 0 + 0) / 5)
    assert scores["brier"] == pytest.approx(
        scores["reliability"] - scores["resolution"] + scores["uncertainty"] + scores["within_bins"]
    )
    table = {one["low"]: (one["judged"], one["share_approved"]) for one in found["bins"] if one["judged"]}
    assert table == {0.0: (2, 0.0), 0.3: (1, 1.0), 0.9: (2, 0.5)}
    assert len(found["bins"]) == 10
    assert found["unclaimed"] == {"judged": 2, "approved": 1}
    assert (found["in_spec"], found["in_force"], found["asked_for"], found["suggested"]) == (0.8, None, 0.8, None)
    everything = ok(fresh.owner.api.get("/v1/confidence", params={"workflow": WORKFLOW}))["tools"]
    assert [tool["tool"] for tool in everything] == [PAY, "sandbox_crm.notes.create"]
    assert everything[1]["scores"] is None


def test_a_threshold_tightens_on_drift_and_a_person_loosens_it(world: World, fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        judged(fresh, agent, ["reject"] * 15 + ["approve"] * 4)
        world.stack.tick("calibrate")
        assert calibration(fresh)["in_force"] is None  # 19 are too few
        judged(fresh, agent, ["reject"])
        assert "confidence" not in objections(agent.propose(PAY, payment(), confidence=0.85))

        assert world.stack.tick("calibrate")["tightened"] == 1
        found = calibration(fresh)
        assert (found["in_spec"], found["asked_for"], found["in_force"]["threshold"]) == (0.8, 0.9, 0.9)
        assert found["in_force"]["set_by"] == {"kind": "system", "id": None}
        assert found["in_force"]["reason"] == (
            "Of 20 judged actions at 0.8 or above, 20% were approved (42% at the most),"
            " while 85% was claimed on average."
        )
        assert found["in_force"]["evidence"]["at_or_above"]["judged"] == 20
        stopped = agent.propose(PAY, payment(), confidence=0.85)
        assert objections(stopped)["confidence"] == "escalate"
        [finding] = [f for f in stopped["decision"]["findings"] if f["check"] == "confidence"]
        assert (finding["setting"], "Calibration asks for more" in finding["message"]) == (f"thresholds.{PAY}", True)
        assert "confidence" not in objections(agent.propose(PAY, payment(), confidence=0.9))
        [alert] = ok(fresh.owner.api.get("/v1/alerts", params={"kind": "confidence.tightened"}))["items"]
        assert (alert["owner"]["user_id"], alert["status"]) == (fresh.owner.user_id, "open")
        assert world.stack.tick("calibrate")["tightened"] == 0  # once a day

        set_back = ok(fresh.owner.api.post("/v1/confidence/thresholds", json=threshold(None), headers=once()))
        assert (set_back["version"], set_back["threshold"]) == (2, None)
        assert set_back["set_by"] == {"kind": "user", "id": fresh.owner.user_id}
        assert "confidence" not in objections(agent.propose(PAY, payment(), confidence=0.85))
    _tomorrow(world)
    assert world.stack.tick("calibrate")["tightened"] == 0  # what the person has seen does not tighten it again
    history = ok(fresh.owner.api.get("/v1/confidence/thresholds", params={"workflow": WORKFLOW}))["items"]
    assert [(one["version"], one["threshold"], one["set_by"]["kind"]) for one in history] == [
        (2, None, "user"), (1, 0.9, "system"),
    ]  # fmt: skip
    [alert] = ok(fresh.owner.api.get("/v1/alerts", params={"kind": "confidence.tightened"}))["items"]
    assert alert["status"] == "resolved"


def test_only_people_set_thresholds(world: World, fresh: Organisation) -> None:
    path = "/v1/confidence/thresholds"
    auditor = join(fresh, "auditor")
    with unchanged(world), fresh.agent() as key:
        problem(key.post(path, json=threshold(0.5), headers=once()), 403, "permission_denied")
        for person in (fresh.approver, auditor):
            problem(person.api.post(path, json=threshold(0.5), headers=once()), 403, "permission_denied")
        for wrong in ({"threshold": 1.5}, {"threshold": True}, {"reason": ""}, {"tool": "x"}, {"workflow": "A"}):
            refused = fresh.owner.api.post(path, json=threshold(0.5) | wrong, headers=once())
            problem(refused, 422, "invalid_request")
        moved = fresh.owner.api.post(path, json=threshold(0.5, expected_version=1), headers=once())
        problem(moved, 412, "version_moved")
        unknown = fresh.owner.api.post(path, json=threshold(0.5, tool="sandbox_crm.contacts.delete"), headers=once())
        problem(unknown, 422, "unknown_tool")
    assert ok(auditor.api.get("/v1/confidence", params={"workflow": WORKFLOW}))["days"] == 90


def test_another_tenant_reads_and_sets_nothing_of_it(world: World, fresh: Organisation) -> None:
    other = new_organisation(world, connected=False, name="Another BV")
    ok(fresh.owner.api.post("/v1/confidence/thresholds", json=threshold(0.9), headers=once()))
    with unchanged(world):
        problem(other.owner.api.get("/v1/confidence", params={"workflow": WORKFLOW}), 404, "not_found")
        assert ok(other.owner.api.get("/v1/confidence/thresholds"))["items"] == []
        refused = other.owner.api.post("/v1/confidence/thresholds", json=threshold(0.1), headers=once())
        problem(refused, 404, "not_found")


def test_a_tool_that_breaks_stops_no_other(world: World, fresh: Organisation) -> None:
    """The run goes on with the other tenants, reports what broke, and does it as soon as it can be done."""
    world.stack.tick("calibrate")
    other = new_organisation(world)
    other.go_live(WORKFLOW, "Pay vendor bills", access_spec(other))
    for organisation in (fresh, other):
        with at_work(organisation) as agent:
            judged(organisation, agent, ["reject"] * 20)
    condition = f"new.tenant_id = '{fresh.tenant_id}'"
    with (
        crash_reports() as reports,
        broken(world, "app.confidence_thresholds", condition, event="insert"),
        function("functions.calibrate", world, SENTRY_DSN=reports.dsn) as scheduled,
    ):
        counts = scheduled.invoke({})
        assert (counts["tightened"], counts["failed"]) == (1, 1)
        assert heartbeat(world, "calibrate") == (True, True)
    assert any(b"division" in report.lower() for report in reports.received)
    assert (calibration(fresh)["in_force"], calibration(other)["asked_for"]) == (None, 0.9)
    counts = world.stack.tick("calibrate")
    assert (counts["tightened"], counts["failed"]) == (1, 0)
    assert calibration(fresh)["asked_for"] == 0.9


def _tomorrow(world: World) -> None:
    """Everything that was set was set a day earlier, which only the superuser can make so."""
    with world.database.connect("superuser") as connection:
        earlier = "update app.confidence_thresholds set created_at = created_at - interval '1 day'"
        for statement in (
            "alter table app.confidence_thresholds disable trigger refuse_change",
            f"{earlier} where set_by_kind = 'system'",
            "alter table app.confidence_thresholds enable always trigger refuse_change",
        ):
            connection.execute(statement.encode())
