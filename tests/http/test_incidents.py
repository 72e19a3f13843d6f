"""Incidents over the API: from whoever sees it first to what was learned, each step once and somebody's."""

from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.alerts import an_alert
from tests.http.incidents import a_day, did, opened
from tests.http.integrator import issue_key, join, new_organisation
from tests.http.problems import problem, unchanged
from tests.http.test_kill_switch import engage
from tests.http.world import World

INCIDENTS = "/v1/incidents"


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    return new_organisation(world)


def shown(company: Organisation, incident: str) -> dict[str, Any]:
    detail: dict[str, Any] = ok(company.owner.api.get(f"{INCIDENTS}/{incident}"))
    return detail


def review(**more: Any) -> dict[str, Any]:
    return {
        "what_happened": "Two invoices had one number.", "root_cause": "Nothing looked for the number.",
        "impact": {"money": [{"amount": 129900, "currency": "EUR"}], "records": 2, "people": 1, "note": "paid back"},
        "went_well": "The operator saw it within the hour.",
    } | more  # fmt: skip


def test_from_the_first_alert_to_what_was_learned(world: World, company: Organisation) -> None:
    operator = join(company, "operator")
    alert = an_alert(world, company, severity="critical", kind="action.unknown", title="Nobody knows")
    [found] = ok(operator.api.get(INCIDENTS, params={"about_type": "alert", "about_id": alert}))["items"]
    incident = found["id"]
    assert (found["status"], found["severity"], found["opened_by"]) == ("open", "critical", "system:alerts")
    assert found["owner"]["user_id"] == company.owner.user_id
    another = {"title": "x", "severity": "low", "about": {"type": "alert", "id": alert}}
    refused = problem(operator.api.post(INCIDENTS, json=another, headers=once()), 409, "incident_open")
    assert incident in refused["detail"]
    did(operator, incident, "acknowledge", note="I call the bank")
    switch = engage(company, "connection", company.connections["sandbox_crm/read"])["id"]
    did(operator, incident, "contain", how="Stopped", link={"type": "kill_switch", "id": switch})
    did(operator, incident, "owner", user_id=operator.user_id, reason="on call")
    did(operator, incident, "severity", severity="high", reason="it was one payment")
    did(operator, incident, "resolve", reason="Paid back")
    with unchanged(world):
        step = operator.api.post(f"{INCIDENTS}/{incident}/contain", json={"how": "x"}, headers=once())
        problem(step, 409, "incident_moved")
        mine = operator.api.post(f"{INCIDENTS}/{incident}/review", json=review(), headers=once())
        problem(mine, 403, "permission_denied")
    follow_up = {"what": "Look for the number", "owner_id": operator.user_id, "due_on": a_day(3)}
    body, key = review(follow_ups=[follow_up]), once()
    path = f"{INCIDENTS}/{incident}/review"
    first = company.approver.api.post(path, json=body, headers=key)
    again = company.approver.api.post(path, json=body, headers=key)
    assert ok(first) == ok(again)
    assert again.headers["idempotent-replayed"] == "true"
    detail = shown(company, incident)
    assert [entry["kind"] for entry in detail["entries"]] == [
        "opened", "acknowledged", "contained", "owner_changed", "severity_changed", "resolved", "reviewed",
        "follow_up_added",
    ]  # fmt: skip
    assert detail["entries"][2]["link"] == {"type": "kill_switch", "id": switch}
    assert detail["entries"][3]["after_name"] == "Mo Adler"
    assert detail["review"]["impact"] == body["impact"]
    assert detail["review"]["reviewed_by"] == f"user:{company.approver.user_id}"
    [left] = detail["follow_ups"]
    assert (left["status"], left["overdue"], left["owner"]["name"]) == ("open", False, "Mo Adler")
    listed = ok(operator.api.get(f"{INCIDENTS}/follow-ups", params={"owner_id": operator.user_id}))["items"]
    assert [each["id"] for each in listed] == [left["id"]]
    did(operator, incident, f"follow-ups/{left['id']}/close", note="It looks now")
    assert shown(company, incident)["follow_ups_open"] == 0
    events = ok(company.owner.api.get("/v1/audit/events", params={"type": "incident.reviewed"}))["items"]
    assert incident in str(events)


def test_a_key_tells_and_ends_nothing(world: World, company: Organisation) -> None:
    """An integrator's monitoring opens an incident and goes on noting; what it may not is refused."""
    key = issue_key(company, scopes=["incidents.open", "incidents.read"])
    monitoring = world.client(key["secret"])
    made = monitoring.post(INCIDENTS, json={"title": "Queue stands still", "severity": "medium"}, headers=once())
    incident = ok(made)["id"]
    assert (made.status_code, made.json()["environment"]) == (201, "sandbox")
    note = {"text": "Still", "link": {"type": "connection", "id": company.connections["sandbox_bank/read"]}}
    ok(monitoring.post(f"{INCIDENTS}/{incident}/notes", json=note, headers=once()))
    page = ok(monitoring.get(f"{INCIDENTS}/{incident}/entries", params={"limit": 1}))
    assert (page["items"][0]["text"], page["has_more"]) == ("Still", True)
    rest = ok(monitoring.get(f"{INCIDENTS}/{incident}/entries", params={"cursor": page["next_cursor"]}))["items"]
    assert [entry["kind"] for entry in rest] == ["opened"]
    with unchanged(world):
        for what, body in (
            ("acknowledge", {}), ("contain", {"how": "x"}), ("resolve", {"reason": "x"}), ("review", review()),
            ("owner", {"user_id": company.owner.user_id}), ("severity", {"severity": "low", "reason": "x"}),
        ):  # fmt: skip
            refused = monitoring.post(f"{INCIDENTS}/{incident}/{what}", json=body, headers=once())
            problem(refused, 403, "permission_denied")
        refused = monitoring.post(f"{INCIDENTS}/{incident}/notes", json={"text": " "}, headers=once())
        problem(refused, 422, "invalid_request")
        problem(company.agent().get(f"{INCIDENTS}/{incident}"), 403, "permission_denied")
        problem(company.owner.api.get(INCIDENTS, params={"about_type": "run"}), 422, "invalid_request")
    with world.client() as nobody:
        problem(nobody.get(INCIDENTS), 401)


def test_lists_and_counts(company: Organisation) -> None:
    before = ok(company.owner.api.get(f"{INCIDENTS}/count"))
    made = [opened(company.owner, title=f"Number {n}", severity="low")["id"] for n in range(3)]
    did(company.owner, made[0], "resolve", reason="A drill, nothing had to be contained")
    counts = ok(company.owner.api.get(f"{INCIDENTS}/count"))
    assert {name: counts[name] - before[name] for name in ("open", "resolved", "mine")} == {
        "open": 2, "resolved": 1, "mine": 2,
    }  # fmt: skip
    asked: dict[str, Any] = {"severity": "low", "environment": "sandbox", "owner_id": company.owner.user_id, "limit": 1}
    page = ok(company.owner.api.get(INCIDENTS, params=asked | {"status": "unresolved"}))
    assert ([each["id"] for each in page["items"]], page["has_more"]) == ([made[2]], True)
    rest = ok(company.owner.api.get(INCIDENTS, params=asked | {"status": "unresolved", "cursor": page["next_cursor"]}))
    assert [each["id"] for each in rest["items"]] == [made[1]]
    over = ok(company.owner.api.get(INCIDENTS, params=asked | {"status": "resolved"}))["items"]
    assert [(each["id"], each["contained_at"]) for each in over] == [(made[0], None)]


def test_what_is_overdue_is_told_by_an_alert(world: World, company: Organisation) -> None:
    incident = opened(company.owner)["id"]
    left = did(
        company.owner, incident, "follow-ups", what="Ask", owner_id=company.approver.user_id, due_on=a_day(0)
    )  # fmt: skip
    guards = ("incident_follow_ups_guard", "incident_follow_ups_keep_columns")
    with world.database.connect("superuser") as connection:  # the day passes
        for trigger in guards:
            connection.execute(f"alter table app.incident_follow_ups disable trigger {trigger}".encode())
        yesterday = "update app.incident_follow_ups set due_on = (now() at time zone 'utc')::date - 1 where id = %s"
        connection.execute(yesterday, (left["id"],))
        for trigger in guards:
            connection.execute(f"alter table app.incident_follow_ups enable always trigger {trigger}".encode())
    assert [world.stack.tick("expire_exceptions")["told"] for _ in range(2)] == [1, 0]
    asked = {"kind": "incident.follow_up_overdue", "status": "open"}
    [alert] = ok(company.owner.api.get("/v1/alerts", params=asked))["items"]
    assert alert["subject"] == {"type": "incident", "id": incident}
    assert alert["owner"]["user_id"] == company.approver.user_id
    assert ok(company.owner.api.get(f"{INCIDENTS}/count"))["follow_ups_overdue"] == 1
    did(company.approver, incident, f"follow-ups/{left['id']}/close", note="asked")
    assert ok(company.owner.api.get("/v1/alerts", params=asked))["items"] == []
