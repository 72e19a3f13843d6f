"""An access spec on its way to being live: drafted, read, sent back, compared, approved by its digest."""

from typing import Any

import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, PAY, WRITES_NOTES, access_spec, at_work, join
from tests.http.world import World

PATH = "/v1/workflows/pay-vendor-bills"


def draft(organisation: Organisation, **changes: Any) -> int:
    body = {"spec": access_spec(organisation, **changes)}
    version: int = ok(organisation.owner.api.post(f"{PATH}/versions", json=body, headers=once()))["version"]
    return version


def move(person: Member, version: int, how: str, **body: Any) -> dict[str, Any]:
    path = f"{PATH}/versions/{version}/{how}"
    moved: dict[str, Any] = ok(person.api.post(path, json=body or None, headers=once()))
    return moved


def refused(person: Member, version: int, how: str, **body: Any) -> tuple[int, str]:
    answer = person.api.post(f"{PATH}/versions/{version}/{how}", json=body or None, headers=once())
    return answer.status_code, answer.json().get("code", "")


def test_a_version_goes_back_and_forth_until_it_is_right(fresh: Organisation) -> None:
    first = draft(fresh, purpose="Pay whatever comes")
    assert move(fresh.owner, first, "submit")["status"] == "in_review"
    assert move(fresh.owner, first, "withdraw")["status"] == "draft"
    assert refused(fresh.owner, first, "withdraw") == (409, "invalid_transition")
    move(fresh.owner, first, "submit")
    assert refused(fresh.owner, first, "reject", reason="mine") == (403, "author_cannot_reject")
    sent_back = move(fresh.approver, first, "reject", reason="Say which bills.")
    assert (sent_back["status"], sent_back["reason"]) == ("draft", "Say which bills.")
    shown = next(v for v in ok(fresh.owner.api.get(f"{PATH}/versions")) if v["version"] == first)
    assert (shown["status"], shown["reason"]) == ("draft", "Say which bills.")
    second = draft(fresh, purpose="Pay vendor bills that are due, and no others")
    move(fresh.owner, second, "submit")
    assert move(fresh.approver, second, "approve", reason="better")["status"] == "live"
    events = ok(fresh.owner.api.get("/v1/audit/events", params={"limit": 200}))["items"]
    told = [e["record"] for e in events if e["type"].startswith("workflow_version")]
    assert "Say which bills." in str(told)


def test_what_is_approved_is_what_was_read(fresh: Organisation) -> None:
    version = draft(fresh, purpose="Pay more")
    move(fresh.owner, version, "submit")
    other = ok(fresh.approver.api.get(f"{PATH}/access-spec?version=1"))["digest"]
    assert refused(fresh.approver, version, "approve", reason="ok", spec_digest=other) == (409, "digest_mismatch")
    read = ok(fresh.approver.api.get(f"{PATH}/access-spec?version={version}"))
    approved = move(fresh.approver, version, "approve", reason="read", spec_digest=read["digest"])
    assert (approved["status"], approved["digest"]) == ("live", read["digest"])
    events = ok(fresh.owner.api.get("/v1/audit/events", params={"type": "workflow_version.live"}))["items"]
    assert read["digest"] in str(events)


@pytest.mark.parametrize("who", ["owner", "escalation_contact"])
def test_the_owner_and_the_contact_are_people_of_the_tenant(fresh: Organisation, who: str) -> None:
    nobody = draft(fresh, **{who: "nobody@elsewhere.example"})
    assert refused(fresh.owner, nobody, "submit") == (422, f"{who}_not_a_member")
    leaving = join(fresh, "operator")
    version = draft(fresh, **{who: leaving.email.upper()})
    move(fresh.owner, version, "submit")
    ok(fresh.owner.api.delete(f"/v1/members/{leaving.user_id}"))
    assert refused(fresh.approver, version, "approve", reason="ok") == (422, f"{who}_not_a_member")


def test_a_new_version_is_compared_with_the_live_one(fresh: Organisation) -> None:
    tools = access_spec(fresh)["tools"] | {PAY: {"access": "write", "data_classes": ["financial"]}}
    version = draft(fresh, tools=tools, value_max={"EUR": 100}, owner=fresh.approver.email)
    compared = ok(fresh.approver.api.get(f"{PATH}/versions/{version}/diff"))
    assert (compared["from_version"], compared["to_version"], compared["widens"]) == (1, version, True)
    told = {(change["kind"], change["text"]) for change in compared["changes"]}
    anywhere = f"may now use {PAY} with any /from_account; it was confined to acc_operating"
    assert ("widened", anywhere) in told
    assert ("narrowed", "limit for EUR lowered from 5,000.00 EUR to 1.00 EUR") in told
    assert ("changed", f"The owner is now: {fresh.approver.email}") in told
    assert ok(fresh.owner.api.get(f"{PATH}/versions/{version}/diff?from={version}"))["changes"] == []
    assert fresh.owner.api.get(f"{PATH}/versions/99/diff").status_code == 404
    assert fresh.owner.api.get(f"{PATH}/versions/{version}/diff?from=99").status_code == 404


def test_everything_about_a_first_version_is_new(shared: Organisation) -> None:
    body = {"slug": "first-steps", "environment": "sandbox", "title": "First steps", "spec": access_spec(shared)}
    ok(shared.owner.api.post("/v1/workflows", json=body, headers=once()))
    compared = ok(shared.owner.api.get("/v1/workflows/first-steps/versions/1/diff"))
    assert (compared["from_version"], compared["widens"]) == (None, True)
    assert f"may now also use {PAY}, which writes" in {change["text"] for change in compared["changes"]}
    page = shared.approver.api.get("/v1/workflows/first-steps/access-spec?format=html").text
    assert "All of this is new" in page


def test_the_document_names_fields_accounts_and_reasons(shared: Organisation) -> None:
    document = ok(shared.approver.api.get(f"{PATH}/access-spec"))
    [bills] = [read for read in document["reads"] if read["tool"] == "sandbox_bank.bills.list"]
    assert {"pointer": "/bills/*/iban", "data_classes": ["financial"], "trust": "trusted"} in bills["fields"]
    writes = {write["tool"]: write for write in document["writes"]}
    assert writes[NOTE]["waits_because"] == []
    assert writes[PAY]["waits_because"] == ["It moves money. No rule and no setting lifts this."]
    assert writes[PAY]["values"] == [{"currency": "EUR", "amount": 500000, "text": "5,000.00 EUR"}]
    accounts = {(c["provider"], c["access"]): (c["account"], c["status"]) for c in document["connections"]}
    assert set(accounts) == {(p, a) for p in ("sandbox_bank", "sandbox_crm") for a in ("read", "write")}
    assert {status for _, status in accounts.values()} == {"active"}
    assert all(account for account, _ in accounts.values())
    assert document["retention"] == {"days": 365, "by_class": {"personal": 90}}
    assert (document["author_name"], document["approver_name"]) == (shared.owner.name, shared.approver.name)


def test_a_browser_gets_a_page_that_runs_nothing(shared: Organisation, world: World) -> None:
    page = shared.approver.api.get(f"{PATH}/access-spec", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in page.text
    assert "Pay vendor bills that are due" in page.text
    with world.client() as anybody:
        style = anybody.get("/assets/access-spec.css")
        assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert anybody.get(f"{PATH}/access-spec?format=html").status_code == 401
    assert (
        ok(shared.approver.api.get(f"{PATH}/access-spec?format=json", headers={"Accept": "text/html"}))["version"] == 1
    )


def test_a_spec_may_keep_neither_everything_nor_what_it_does_not_declare(shared: Organisation) -> None:
    spec = access_spec(shared, data_classes=["internal", "personal"], retention={})
    spec["tools"] = {
        "sandbox_bank.bills.list": {"access": "read", "read_fields": ["", "/bills/*/iban", "/bills/*/not-there"]},
        NOTE: WRITES_NOTES | {"data_classes": ["health"]},
    }
    answer = shared.owner.api.post(f"{PATH}/versions", json={"spec": spec}, headers=once())
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_access_spec")
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/spec/tools/sandbox_bank.bills.list/read_fields/0",
        "/spec/tools/sandbox_bank.bills.list/read_fields/1",
        f"/spec/tools/{NOTE}/data_classes/0",
    }
    longer = access_spec(shared, retention={"personal": 999})
    answer = shared.owner.api.post(f"{PATH}/versions", json={"spec": longer}, headers=once())
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_version_goes_live_only_when_nine_controls_are_verified(fresh: Organisation) -> None:
    tools = access_spec(fresh)["tools"] | {NOTE: {"access": "write", "data_classes": ["personal", "internal"]}}
    version = draft(fresh, tools=tools)
    move(fresh.owner, version, "submit")
    found = ok(fresh.approver.api.get(f"{PATH}/readiness?version={version}"))
    assert (found["ready"], found["version"], found["status"]) == (False, version, "in_review")
    assert [control["control"] for control in found["controls"]] == list(range(1, 10))
    [broken] = [control for control in found["controls"] if not control["verified"]]
    assert (broken["control"], broken["name"]) == (7, "Undo and stop")
    assert NOTE in broken["missing"][0]
    answer = fresh.approver.api.post(f"{PATH}/versions/{version}/approve", json={"reason": "hm"}, headers=once())
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert "Control 7: It would do alone what cannot be undone" in answer.json()["detail"]
    page = fresh.approver.api.get(f"{PATH}/access-spec?format=html&version={version}").text
    assert "Not ready to go live" in page
    right = draft(fresh)
    move(fresh.owner, right, "submit")
    found = ok(fresh.approver.api.get(f"{PATH}/readiness?version={right}"))
    assert found["ready"], found
    assert all(control["evidence"] and not control["missing"] for control in found["controls"])
    assert move(fresh.approver, right, "approve", reason="ready")["status"] == "live"
    assert ok(fresh.owner.api.get(f"{PATH}/readiness"))["version"] == right


def test_a_lost_connection_a_kill_switch_and_a_silent_scheduler_are_found(fresh: Organisation, world: World) -> None:
    version = draft(fresh)
    move(fresh.owner, version, "submit")
    body = {"scope": "workflow", "target": "pay-vendor-bills", "reason": "looking into it"}
    ok(fresh.owner.api.post("/v1/kill-switches", json=body, headers=once()))
    ok(fresh.owner.api.delete(f"/v1/connections/{fresh.connections['sandbox_crm/read']}"))
    with world.database.connect("superuser") as connection:
        connection.execute("delete from private.function_runs")
    found = ok(fresh.approver.api.get(f"{PATH}/readiness?version={version}"))["controls"]
    missing = {control["control"]: " ".join(control["missing"]) for control in found if control["missing"]}
    assert set(missing) == {4, 5, 6, 8}
    assert "sandbox_crm (read) is revoked" in missing[4]
    assert "execute_actions has not run" in missing[5]
    assert "purge_expired has not run" in missing[6]
    assert "looking into it" in missing[8]
    world.stack.tick_all()
    found = ok(fresh.approver.api.get(f"{PATH}/readiness?version={version}"))["controls"]
    assert {control["control"] for control in found if control["missing"]} == {4, 8}


def test_what_was_read_is_erased_by_the_schedule(fresh: Organisation, world: World) -> None:
    triggers = ("observations_keep_columns", "observations_transition")
    old = "now() - interval '366 days'"
    with at_work(fresh) as agent:
        seen = agent.observe(args={"status": "open"})
        assert "iban" in str(seen["result"])
        assert world.stack.tick("purge_expired") == {"erased": 0, "failed": 0}
        with world.database.connect("superuser") as connection:
            for trigger in triggers:
                connection.execute(f"alter table app.observations disable trigger {trigger}".encode())
            change = f"update app.observations set created_at = {old}, finished_at = {old} where id = '{seen['id']}'"
            connection.execute(change.encode())
            for trigger in triggers:
                connection.execute(f"alter table app.observations enable always trigger {trigger}".encode())
        assert world.stack.tick("purge_expired")["erased"] == 1
        [shown] = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))["observations"]
        assert shown["erased_at"]
        assert (shown["args"], shown["digest"]) == ({}, seen["digest"])
    assert ok(fresh.owner.api.get("/v1/audit/verify"))["ok"]


def test_no_number_of_drafts_hides_what_a_version_widens(fresh: Organisation) -> None:
    """The live version is what a reviewer compares with, however many drafts lie between."""
    for _ in range(200):
        last = draft(fresh, purpose="Nothing to see")
    last = draft(fresh, purpose="Pay more", value_max={"EUR": 99_000_000})
    compared = ok(fresh.approver.api.get(f"{PATH}/versions/{last}/diff"))
    assert (compared["from_version"], compared["widens"]) == (1, True)
    read = ok(fresh.approver.api.get(f"{PATH}/access-spec?version={last}"))
    assert (read["compared_with"], {c["kind"] for c in read["changes"]} >= {"widened"}) == (1, True)
    assert ok(fresh.approver.api.get(f"{PATH}/access-spec"))["version"] == 1
    assert ok(fresh.approver.api.get(f"{PATH}/versions/2/diff?from=1"))["to_version"] == 2
    move(fresh.owner, last, "submit")
    assert refused(fresh.approver, last, "approve", reason="x", compared_with=2) == (409, "base_moved")
    assert refused(fresh.approver, last, "approve", reason="x", compared_with=None) == (409, "base_moved")
    assert move(fresh.approver, last, "approve", reason="x", compared_with=1)["status"] == "live"


def test_a_workflow_is_stopped_by_its_name_however_many_there_are(fresh: Organisation) -> None:
    spec = access_spec(fresh)
    for number in range(201):
        body = {"slug": f"w-{number}", "environment": "sandbox", "title": "One of many", "spec": spec}
        ok(fresh.owner.api.post("/v1/workflows", json=body, headers=once()))
    stop = {"scope": "workflow", "target": "pay-vendor-bills", "reason": "stop"}
    assert ok(fresh.owner.api.post("/v1/kill-switches", json=stop, headers=once()))["status"] == "engaged"
    unknown = fresh.owner.api.post("/v1/kill-switches", json=stop | {"target": "no-such"}, headers=once())
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
