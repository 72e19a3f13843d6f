"""Searching the audit log, and proving that nobody has rewritten it."""

import json
from hashlib import sha256
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok
from tests.http.integrator import NOTE, Agent, at_work, issue_key, join, note
from tests.http.problems import problem
from tests.http.world import World


def events(organisation: Organisation, **filters: Any) -> list[dict[str, Any]]:
    """Every event, oldest first, page by page."""
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(organisation.owner.api.get("/v1/audit/events", params={"limit": 7} | filters | cursor))
        seen += page["items"]
        if not page["has_more"]:
            return seen[::-1]
        assert len(page["items"]) == 7
        cursor = {"cursor": page["next_cursor"]}


def test_the_pages_hold_every_event_once(fresh: Organisation) -> None:
    everything = events(fresh)
    verified = ok(fresh.owner.api.get("/v1/audit/verify"))
    assert [event["seq"] for event in everything] == list(range(1, verified["events"] + 1))
    assert verified["head"] == everything[-1]["hash"]


def test_anybody_can_check_the_chain_from_what_is_exported(fresh: Organisation) -> None:
    """`hash = sha256(prev_hash || record)`, from the tenant's own first hash on: no code of ours is needed."""
    previous = sha256(fresh.tenant_id.encode()).hexdigest()
    for event in events(fresh):
        assert event["prev_hash"] == previous
        previous = sha256(bytes.fromhex(previous) + event["record"].encode()).hexdigest()
        assert event["hash"] == previous
        assert json.loads(event["record"]) == event["event"]
        assert event["event"]["tenant_id"] == fresh.tenant_id


def test_every_event_names_who_did_it_in_which_request(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        answer = agent.api.get("/v1/me")
        action = agent.propose(NOTE, note())
        agent.settled(action["id"])
    assert answer.headers["x-request-id"]
    proposed = events(fresh, action_id=action["id"])
    assert [event["event"]["principal"]["kind"] for event in proposed[:2]] == ["service", "service"]
    assert {event["event"]["principal"]["kind"] for event in proposed[2:]} == {"system"}
    assert all(event["event"]["environment"] == "sandbox" for event in proposed)
    assert proposed[0]["event"]["request_id"] == proposed[1]["event"]["request_id"]
    assert all(event["event"]["principal"]["login"] == "countersign_api" for event in proposed)


def test_filters_narrow_the_search(agent: Agent, shared: Organisation) -> None:
    one, other = agent.propose(NOTE, note(), confidence=0.1), agent.propose(NOTE, note(), confidence=0.1)
    assert {e["event"]["action_id"] for e in events(shared, action_id=one["id"])} == {one["id"]}
    of_run = events(shared, run_id=agent.run_id)
    assert {e["event"]["run_id"] for e in of_run} == {agent.run_id}
    proposals = events(shared, run_id=agent.run_id, type="action.proposed")
    assert [e["event"]["subject"]["id"] for e in proposals] == [one["id"], other["id"]]
    assert [e["type"] for e in events(shared, subject_id=other["exception"]["id"])] == ["exception.opened"]
    assert events(shared, type="no.such") == []
    proposed = proposals[0]
    assert {e["event"]["principal"]["id"] for e in events(shared, principal_id=shared.service_account_id)} == {
        shared.service_account_id
    }
    since = events(shared, run_id=agent.run_id, since=proposed["at"])
    before = events(shared, run_id=agent.run_id, until=proposed["at"])
    assert [e["seq"] for e in before + since] == [e["seq"] for e in of_run]
    assert since[0] == proposed
    assert events(shared, since="2999-01-01T00:00:00Z") == events(shared, until="1999-01-01T00:00:00Z") == []
    assert "action.proposed" in ok(shared.owner.api.get("/v1/audit/types"))


def test_arguments_and_rationale_of_an_action_are_read_elsewhere(agent: Agent, shared: Organisation) -> None:
    """The chain holds a digest of the payload and not the payload, which may have to be erased one day."""
    because = "They told me a private matter."
    action = agent.propose(NOTE, note("a customer's private matter"), confidence=0.1, rationale=because)
    text = json.dumps(events(shared, action_id=action["id"]))
    assert action["digest"] in text
    assert "sha256:" + sha256(because.encode()).hexdigest() in text
    assert "private matter" not in text


def test_an_event_stands_in_its_place(agent: Agent, shared: Organisation) -> None:
    agent.propose(NOTE, note(), confidence=0.1)
    *_, before, last = events(shared, run_id=agent.run_id)[:2]
    shown = ok(shared.owner.api.get(f"/v1/audit/events/{last['seq']}"))
    assert {name: shown[name] for name in last} == last
    assert shown["holds"]
    assert shown["hash_before"] == last["prev_hash"]
    assert shown["recomputed"] == last["hash"]
    assert shown["head_seq"] >= last["seq"] > before["seq"]
    problem(shared.owner.api.get("/v1/audit/events/99999999"), 404, "not_found")


def test_what_is_exported_is_what_is_there(agent: Agent, shared: Organisation) -> None:
    """Every line can be checked by whoever has the file; a part begins after the last number of the one before."""
    agent.propose(NOTE, note(), confidence=0.1)
    answer = shared.owner.api.get("/v1/audit/export", params={"run_id": agent.run_id})
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    lines = [json.loads(line) for line in answer.text.splitlines()]
    seen = events(shared, run_id=agent.run_id)
    assert [line["seq"] for line in lines] == [event["seq"] for event in seen]
    for line in lines:
        assert sha256(bytes.fromhex(line["prev_hash"]) + line["record"].encode()).hexdigest() == line["hash"]
    rest = {"run_id": agent.run_id, "after": str(lines[0]["seq"]), "format": "csv"}
    table = shared.owner.api.get("/v1/audit/export", params=rest).text.splitlines()
    assert [row.split(",")[0] for row in table[1:]] == [str(line["seq"]) for line in lines[1:]]


@pytest.mark.parametrize("role", ["approver", "operator", "developer"])
def test_who_may_not_read_the_log(fresh: Organisation, role: str) -> None:
    person = join(fresh, role)
    whole, more = ("events", "verify"), ("events/1", "types", "verify/part", "export")
    for path in (f"/v1/audit/{name}" for name in whole + more):
        problem(person.api.get(path), 403, "permission_denied")


def test_a_key_of_another_environment_sees_no_event_of_this_one(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(NOTE, note(), confidence=0.1)
    live = issue_key(fresh, "production")
    with world.client(live["secret"]) as client:
        seen = ok(client.get("/v1/audit/events", params={"limit": 200}))["items"]
        assert {event["event"].get("environment") for event in seen} <= {None, "production"}
        assert ok(client.get("/v1/audit/events", params={"action_id": action["id"]}))["items"] == []
