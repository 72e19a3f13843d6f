"""From a decision on an exception to a rule: proposed, tried, adopted by somebody else, and what comes of it."""

from typing import Any

import httpx
import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.amendments import ask, proposed, unsure
from tests.http.integrator import NOTE, PAY, Agent, at_work, decide, issue_key, join, note, payment
from tests.http.problems import problem, unchanged
from tests.http.world import World


@pytest.fixture
def working(fresh: Organisation) -> Any:
    with at_work(fresh) as agent:
        yield agent


def act(person: Member, amendment: dict[str, Any], word: str, **body: Any) -> httpx.Response:
    return person.api.post(f"/v1/amendments/{amendment['id']}/{word}", json=body or None, headers=once())


def adopt(person: Member, amendment: dict[str, Any], **body: Any) -> httpx.Response:
    return act(person, amendment, "adopt", **{"digest": amendment["digest"]} | body)


def exception(person: Member, action: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = ok(person.api.get(f"/v1/exceptions/{action['exception']['id']}"))
    return shown


def classes(person: Member) -> dict[str, dict[str, Any]]:
    return {one["class"]["key"]: one for one in ok(person.api.get("/v1/exceptions/classes"))["items"]}


def test_an_approval_becomes_a_rule_and_the_class_waits_no_more(fresh: Organisation, working: Agent) -> None:
    first, second = unsure(working, 0.52), unsure(working, 0.58, "Called twice")
    for action in (first, second):
        ok(decide(fresh.approver, action))
    seen = exception(fresh.owner, first)
    assert seen["class"]["findings"] == ["confidence"]
    assert (seen["recurrence"]["count"], seen["recurrence"]["approved"]) == (2, 2)

    amendment = proposed(fresh.approver, second)
    rule = amendment["rule"]
    assert (amendment["kind"], amendment["status"]) == ("loosen", "proposed")
    assert (rule["effect"], rule["lifts"], rule["applies_to"]) == ("allow", ["confidence"], [NOTE])
    assert "action.confidence >= 0.55" in rule["when"]
    assert rule["bounds"]["workflows"] == ["pay-vendor-bills"]
    assert rule["origin"] == {"kind": "amendment", "ref": amendment["id"]}
    tried = amendment["backtest"]
    assert (tried["examined"], tried["complete"], tried["contradictions"]) == (2, True, 0)
    assert [(f["action_id"], f["before"], f["after"], f["human"]) for f in tried["flips"]] == [
        (second["id"], "escalate", "allow", "approved")
    ]

    adopted = ok(adopt(fresh.owner, amendment, expected_version=1))
    assert (adopted["status"], adopted["constitution_version"]) == ("adopted", 2)
    in_force = ok(fresh.owner.api.get("/v1/constitution"))
    assert in_force["rules"][-1] == rule

    again = working.propose(NOTE, note("Called once more"), confidence=0.57)
    assert again["status"] == "authorized"
    assert rule["id"] in again["decision"]["rules_matched"]
    shown = classes(fresh.owner)[seen["class"]["key"]]
    assert shown["amendment"]["id"] == amendment["id"]
    assert shown["amendment"]["in_force"] is True
    assert (shown["amendment"]["before"]["count"], shown["amendment"]["after"]["count"]) == (2, 0)


def test_who_proposes_does_not_adopt_what_lets_more_happen(fresh: Organisation, working: Agent, world: World) -> None:
    action = unsure(working)
    ok(decide(fresh.approver, action))
    amendment = proposed(fresh.owner, action)
    with unchanged(world):
        problem(adopt(fresh.owner, amendment), 409, "second_person_needed")
        problem(act(fresh.owner, amendment, "reject", reason="no"), 403, "own_amendment")
    assert ok(act(fresh.owner, amendment, "withdraw", reason="a mistake"))["status"] == "withdrawn"
    problem(adopt(fresh.approver, amendment), (403, 409))


def test_a_rejection_becomes_a_rule_that_its_proposer_may_adopt(fresh: Organisation, working: Agent) -> None:
    action = unsure(working, 0.31)
    ok(decide(fresh.approver, action, "reject"))
    amendment = proposed(fresh.owner, action)
    assert (amendment["kind"], amendment["rule"]["effect"]) == ("tighten", "deny")
    assert "action.confidence <= 0.35" in amendment["rule"]["when"]
    assert amendment["rule"]["expires_at"] is None
    ok(adopt(fresh.owner, amendment))
    assert working.propose(NOTE, note(), confidence=0.3)["status"] == "denied"
    assert working.propose(NOTE, note(), confidence=0.4)["status"] == "awaiting_approval"


def test_what_people_decided_against_has_to_be_acknowledged(fresh: Organisation, working: Agent, world: World) -> None:
    approved, rejected = unsure(working, 0.4), unsure(working, 0.6, "Called nobody")
    ok(decide(fresh.approver, approved))
    ok(decide(fresh.approver, rejected, "reject"))
    amendment = proposed(fresh.approver, approved)
    assert amendment["contradictions"] == 1
    with unchanged(world):
        refused = problem(adopt(fresh.owner, amendment), 409, "contradicts_people")
    assert [error["action_id"] for error in refused["errors"]] == [rejected["id"]]
    adopted = ok(adopt(fresh.owner, amendment, acknowledge_contradictions=True))
    assert adopted["acknowledged"] is True


def test_what_no_rule_lifts_is_named_with_what_helps(fresh: Organisation, working: Agent) -> None:
    action = working.propose(PAY, payment(2_000_000), confidence=0.1)
    ok(decide(fresh.approver, action))
    ok(decide(join(fresh, "approver"), action)) if exception(fresh.owner, action)["status"] == "open" else None
    refused = problem(ask(fresh.owner, action), 422, "nothing_to_lift")
    named = {error["finding"]: error["helps"] for error in refused["errors"]}
    assert "every time" in named["hard_gate"]
    assert "two-for-large-payments" in named["constitution:two-for-large-payments"]
    assert not {"confidence", "value"} & set(named)


def test_an_edit_is_for_the_next_time(fresh: Organisation, working: Agent) -> None:
    action = unsure(working)
    replaced = ok(decide(fresh.approver, action, "edit", args=note("Corrected")))["superseded_by"]
    problem(ask(fresh.owner, action), 409, "not_decided")
    ok(decide(fresh.owner, replaced))
    refused = problem(ask(fresh.owner, action), 422, "nothing_to_lift")
    assert [error["finding"] for error in refused["errors"]] == ["edit"]


def test_the_rules_have_moved_since_it_was_tried(fresh: Organisation, working: Agent) -> None:
    first, other = unsure(working), working.propose(NOTE, note(), confidence=0.5, citations=[])
    ok(decide(fresh.approver, first))
    ok(decide(fresh.approver, other, "reject"))
    amendment = proposed(fresh.approver, first)
    problem(ask(fresh.owner, first), 409, "amendment_open")
    ok(adopt(fresh.owner, proposed(fresh.owner, other)))
    problem(adopt(fresh.owner, amendment, expected_version=1), 412, "version_moved")
    problem(adopt(fresh.owner, amendment), 409, "backtest_outdated")
    again = ok(act(fresh.owner, amendment, "backtest"))
    assert again["backtest"]["version"] == 2
    problem(adopt(fresh.owner, amendment | {"digest": f"sha256:{'0' * 64}"}), 409, "digest_mismatch")
    assert ok(adopt(fresh.owner, amendment))["constitution_version"] == 3
    problem(adopt(fresh.owner, amendment), 409, "already_decided")


def test_a_class_that_returns_is_told_to_who_adopted(fresh: Organisation, working: Agent) -> None:
    action = unsure(working, 0.6)
    ok(decide(fresh.approver, action))
    amendment = proposed(fresh.approver, action)
    ok(adopt(fresh.owner, amendment))
    assert working.propose(NOTE, note(), confidence=0.6)["status"] == "authorized"
    back = unsure(working, 0.2)
    [alert] = ok(fresh.owner.api.get("/v1/alerts", params={"kind": "amendment.class_returned"}))["items"]
    assert (alert["subject"]["id"], alert["owner"]["user_id"]) == (amendment["id"], fresh.owner.user_id)
    assert alert["detail"]["exception_id"] == back["exception"]["id"]
    shown = classes(fresh.owner)[amendment["class_key"]]["amendment"]
    assert (shown["before"]["count"], shown["after"]["count"]) == (1, 1)


def test_bounds_are_asked_for_as_far_as_the_decision_carries(fresh: Organisation, working: Agent) -> None:
    action = unsure(working)
    problem(ask(fresh.owner, action), 409, "not_decided")
    ok(decide(fresh.approver, action))
    wide: list[dict[str, Any]] = [
        {"workflows": []}, {"workflows": ["another"]}, {"tiers": ["gold"]}, {"amounts": {"EUR": [0, 1]}},
    ]  # fmt: skip
    for wider in wide:
        problem(ask(fresh.owner, action, bounds=wider), 422, "bounds_too_wide")
    problem(ask(fresh.owner, action, expires_at="2020-01-01T00:00:00Z"), 422, "expiry_out_of_range")
    seen = ok(fresh.owner.api.get(f"/v1/exceptions/{action['exception']['id']}/amendment"))
    assert (seen["kind"], seen["most"], seen["rule"]["lifts"]) == ("loosen", {}, ["confidence"])
    paid = working.propose(PAY, payment(1250), confidence=0.9)
    ok(decide(fresh.approver, paid))
    address = f"/v1/exceptions/{paid['exception']['id']}/amendment"
    assert problem(fresh.owner.api.get(address), 422, "nothing_to_lift")["errors"][0]["helps"]
    amendment = proposed(fresh.owner, action, bounds={"workflows": ["pay-vendor-bills"]})
    assert ok(fresh.owner.api.get("/v1/amendments", params={"status": "proposed"}))["items"][0]["id"] == amendment["id"]
    by_class = {"class": amendment["class_key"]}
    assert ok(fresh.owner.api.get("/v1/amendments", params=by_class))["items"][0]["id"] == amendment["id"]
    queue = ok(fresh.owner.api.get("/v1/exceptions", params=by_class))["items"]
    assert [one["id"] for one in queue] == [action["exception"]["id"]]


def test_who_may(fresh: Organisation, working: Agent, shared: Organisation, world: World) -> None:
    action = unsure(working)
    ok(decide(fresh.approver, action))
    path = f"/v1/exceptions/{action['exception']['id']}/amendment"
    body = {"reason": "so"}
    with unchanged(world):
        problem(shared.owner.api.post(path, json=body, headers=once()), 404)
    operator = join(fresh, "operator")
    key = issue_key(fresh, scopes=["constitution.read", "exceptions.read"])["secret"]
    with unchanged(world):
        problem(operator.api.post(path, json=body, headers=once()), 403)
    with fresh.agent() as api:
        api.headers["Authorization"] = f"Bearer {key}"
        problem(api.post(path, json=body, headers=once()), 403)
    amendment = proposed(fresh.approver, action)
    problem(adopt(operator, amendment), 403)
    problem(act(operator, amendment, "withdraw"), (403, 422))
    headers = once()
    body = {"digest": amendment["digest"]}
    adopted = fresh.owner.api.post(f"/v1/amendments/{amendment['id']}/adopt", json=body, headers=headers)
    again = fresh.owner.api.post(f"/v1/amendments/{amendment['id']}/adopt", json=body, headers=headers)
    assert ok(again) == ok(adopted)
    assert len(ok(fresh.owner.api.get("/v1/constitution/versions"))) == 2
