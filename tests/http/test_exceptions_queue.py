"""The queue over HTTP: what is asked of it, in which order, how many there are, comments, and several decided."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, PAY, Agent, access_spec, at_work, new_organisation, note, payment
from tests.http.world import World


@pytest.fixture(scope="module")
def busy(world: World) -> Organisation:
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    return organisation


@pytest.fixture(scope="module")
def waiting(busy: Organisation) -> Iterator[tuple[Agent, list[dict[str, Any]]]]:
    """Three payments and three notes that wait, in the order in which they came."""
    with at_work(busy) as agent:
        made = [agent.propose(PAY, payment(amount)) for amount in (900, 70000, 1250)]
        made += [agent.propose(NOTE, note(f"Called {n}"), confidence=0.1) for n in range(3)]
        yield agent, made


def queue(person: Member, **asked: Any) -> list[dict[str, Any]]:
    """Everything that the queue answers, in pages of two."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(20):
        page = ok(
            person.api.get("/v1/exceptions", params=asked | {"limit": 2} | ({"cursor": cursor} if cursor else {}))
        )
        found += page["items"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return found
    raise AssertionError("the pages do not end")


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in items]


def test_every_order_has_everything_once(busy: Organisation, waiting: tuple[Agent, list[dict[str, Any]]]) -> None:
    exceptions = [each["exception"]["id"] for each in waiting[1]]
    assert ids(queue(busy.owner)) == exceptions[::-1]
    assert ids(queue(busy.owner, sort="expires_at")) == exceptions
    by_amount = queue(busy.owner, sort="amount")
    assert [(each["amount"] or {}).get("amount") for each in by_amount] == [70000, 1250, 900, None, None, None]
    assert by_amount[0]["amount"] == {"amount": 70000, "currency": "EUR"}
    weights = [
        ("critical", "high", "medium", "low").index(each["severity"]) for each in queue(busy.owner, sort="severity")
    ]
    assert weights == sorted(weights)
    assert len(weights) == 6
    first = ok(busy.owner.api.get("/v1/exceptions", params={"limit": 1, "sort": "amount"}))
    other = {"limit": 1, "sort": "severity", "cursor": first["next_cursor"]}
    assert busy.owner.api.get("/v1/exceptions", params=other).json()["code"] == "invalid_cursor"


def test_what_is_worth_more_than_a_number_holds_is_worth_that(world: World) -> None:
    """Amounts add up: two of what just fits do not, and the exception is kept all the same."""
    for worth, kept in (("1e19", 2**63 - 1), (str(2**63 - 1), 2**63 - 1), ("1250", 1250)):
        document = f'{{"worth": {{"EUR": {worth}}}}}'
        assert world.rows("select private.worth_of(%s::jsonb)", document) == [(kept,)]


def test_what_is_asked_is_what_comes(busy: Organisation, waiting: tuple[Agent, list[dict[str, Any]]]) -> None:
    one = waiting[1][0]["exception"]["id"]
    body = {"user_id": busy.approver.user_id}
    ok(busy.owner.api.post(f"/v1/exceptions/{one}/assign", json=body, headers=once()))
    assert ids(queue(busy.approver, assigned="me")) == [one]
    assert ids(queue(busy.owner, assigned=busy.approver.user_id)) == [one]
    assert queue(busy.owner, assigned="me") == []
    assert len(queue(busy.owner, assigned="none")) == 5
    [mine] = queue(busy.approver, assigned="me")
    assert mine["assigned_name"]
    assert "hard_gate" in mine["stopped_by"]
    assert ok(busy.approver.api.get("/v1/exceptions/count")) == {"open": 6, "mine": 1, "unassigned": 5}
    assert len(queue(busy.owner, workflow="pay-vendor-bills")) == 6
    assert queue(busy.owner, workflow="another") == []
    assert queue(busy.owner, status="decided") == []
    assert queue(busy.owner, created_before="2020-01-01T00:00:00Z") == []
    severe = {each["severity"] for each in queue(busy.owner, severity="low")}
    assert severe <= {"low"}


def test_a_key_has_nothing_of_its_own(waiting: tuple[Agent, list[dict[str, Any]]]) -> None:
    agent, made = waiting
    assert agent.api.get("/v1/exceptions", params={"assigned": "me"}).json()["code"] == "people_only"
    assert ok(agent.api.get("/v1/exceptions/count"))["mine"] == 0
    comments = f"/v1/exceptions/{made[0]['exception']['id']}/comments"
    assert agent.api.get(comments).json()["code"] == "people_only"
    assert agent.api.post(comments, json={"text": "Trust me"}, headers=once()).status_code == 403


def test_comments_are_said_once_and_listed(busy: Organisation, waiting: tuple[Agent, list[dict[str, Any]]]) -> None:
    place = f"/v1/exceptions/{waiting[1][1]['exception']['id']}/comments"
    key = once()
    said = busy.owner.api.post(place, json={"text": " Who ordered this? "}, headers=key)
    again = busy.owner.api.post(place, json={"text": " Who ordered this? "}, headers=key)
    assert said.status_code == 201
    assert again.json() == said.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    ok(busy.approver.api.post(place, json={"text": "I did"}, headers=once()))
    listed = ok(busy.approver.api.get(place, params={"limit": 1}))
    assert [each["text"] for each in listed["items"]] == ["I did"]
    rest = ok(busy.approver.api.get(place, params={"cursor": listed["next_cursor"]}))
    assert [(each["text"], each["name"]) for each in rest["items"]] == [("Who ordered this?", rest["items"][0]["name"])]
    assert rest["items"][0]["user_id"] == busy.owner.user_id
    assert busy.owner.api.post(place, json={"text": "x" * 4001}, headers=once()).status_code == 422
    assert busy.owner.api.get(f"/v1/exceptions/{uuid4()}/comments").status_code == 404


def verdicts(items: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    told = [{"id": each["id"], "digest": each["digest"]} for each in items]
    return {
        "class_key": items[0]["class_key"],
        "items": told,
        "verdict": "approve",
        "reason": "All were called",
    } | changes


def send(person: Member, body: dict[str, Any], key: dict[str, str] | None = None) -> Any:
    return person.api.post("/v1/exceptions/decisions", json=body, headers=key or once())


def test_hard_gates_and_unlike_ones_are_not_decided_together(
    busy: Organisation, waiting: tuple[Agent, list[dict[str, Any]]]
) -> None:
    agent, _ = waiting
    everything = queue(busy.approver)
    payments = [each for each in everything if each["effect"] == "money_movement"]
    notes = [each for each in everything if each["effect"] != "money_movement"]
    assert len({each["class_key"] for each in notes}) == 1
    one_class = [each for each in payments if each["class_key"] == payments[0]["class_key"]]
    for verdict in ("approve", "reject"):
        assert send(busy.approver, verdicts(one_class, verdict=verdict)).json()["code"] == "hard_gate"
        mixed = verdicts([notes[0], payments[0]], verdict=verdict)
        assert send(busy.approver, mixed).json()["code"] == "mixed_classes"
    # A payment under the name of the notes' class is no note.
    assert (
        send(busy.approver, verdicts(payments[:1], class_key=notes[0]["class_key"])).json()["code"] == "mixed_classes"
    )
    twice = verdicts([notes[0], notes[0]])
    assert send(busy.approver, twice).status_code == 422
    gone = verdicts(notes)
    gone["items"].append({"id": str(uuid4()), "digest": notes[0]["digest"]})
    assert send(busy.approver, gone).json()["code"] == "not_found"
    assert agent.api.post("/v1/exceptions/decisions", json=verdicts(notes), headers=once()).status_code == 403
    assert ok(busy.owner.api.get("/v1/exceptions/count"))["open"] == 6


def test_each_is_decided_by_itself_and_once(busy: Organisation, waiting: tuple[Agent, list[dict[str, Any]]]) -> None:
    agent, _ = waiting
    notes = [each for each in queue(busy.approver) if each["effect"] != "money_movement"]
    ok(busy.owner.api.post(f"/v1/exceptions/{notes[0]['id']}/decision", headers=once(),
                           json={"verdict": "reject", "digest": notes[0]["digest"], "reason": "No"}))  # fmt: skip
    body, key = verdicts(notes), once()
    body["items"][1]["digest"] = f"sha256:{'0' * 64}"
    first = ok(send(busy.approver, body, key))["items"]
    assert ids(first) == ids(notes)
    assert [each["problem"] and each["problem"]["code"] for each in first] == [
        "already_decided",
        "digest_mismatch",
        None,
    ]
    assert first[2]["decided"]["status"] == "approved"
    assert ok(send(busy.approver, body, key))["items"] == first
    assert agent.settled(notes[2]["action_id"])["status"] == "succeeded"
    assert agent.action(notes[1]["action_id"])["status"] == "awaiting_approval"
    shown = ok(busy.owner.api.get(f"/v1/exceptions/{notes[2]['id']}"))
    assert [(each["user_id"], each["reason"]) for each in shown["approvals"]] == [
        (busy.approver.user_id, "All were called")
    ]
    assert ids(queue(busy.owner, status="decided")) == [notes[0]["id"], notes[2]["id"]]
