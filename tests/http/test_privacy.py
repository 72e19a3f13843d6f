"""What an agent is shown, what it may say of it, and what is kept of both: over the real API."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import PAY, Agent, access_spec, at_work, new_organisation, payment
from tests.http.world import World

IBAN = "DE94000123450532013000"
HIDING = "pay-with-tokens"
REFERENCE = "INV-1042"


@pytest.fixture(scope="module")
def organisation(world: World) -> Organisation:
    made = new_organisation(world)
    spec = access_spec(made, pseudonyms=True, data_classes=["financial", "personal", "internal"])
    spec["tools"]["sandbox_bank.bills.list"]["read_fields"].append("/bills/*/memo")
    made.go_live(HIDING, "Pay with tokens", spec)
    return made


@pytest.fixture
def agent(organisation: Organisation) -> Iterator[Agent]:
    with at_work(organisation, HIDING) as working:
        yield working


def bill(seen: dict[str, Any]) -> dict[str, Any]:
    """The bill to the payee that the tests pay."""
    found: dict[str, Any] = next(one for one in seen["result"]["bills"] if one["reference"] == REFERENCE)
    return found


def test_an_agent_sees_tokens_and_the_payload_holds_the_value(agent: Agent, organisation: Organisation) -> None:
    seen = agent.observe()
    due = bill(seen)
    assert due["iban"].startswith("<IBAN_1_")
    assert IBAN not in str(seen)
    evidence = [{"observation_id": seen["id"]}]
    args = payment(due["amount"], to_iban=due["iban"])
    action = agent.propose(PAY, args, evidence=evidence)
    told = ok(organisation.approver.api.get(f"/v1/actions/{action['id']}"))
    assert told["args"]["to_iban"] == IBAN
    with_value = agent.propose(PAY, args | {"to_iban": IBAN}, evidence=evidence)
    assert with_value["digest"] == action["digest"]
    [ground] = [g for g in told["decision"]["grounds"] if g["pointer"] == "/args/to_iban"]
    assert seen["id"] in ground["where"]


def test_what_becomes_of_it_is_told_in_tokens_to_a_key_and_in_values_to_people(
    agent: Agent, organisation: Organisation
) -> None:
    """The action with its decision and attempts, and the run that it is in: nothing of it says the value to a key."""
    seen = agent.observe()
    due = bill(seen)
    action = agent.propose(PAY, payment(due["amount"], to_iban=due["iban"]), evidence=[{"observation_id": seen["id"]}])
    person, key = (
        [ok(api.get(path)) for path in (f"/v1/actions/{action['id']}", f"/v1/runs/{agent.run_id}")]
        for api in (organisation.owner.api, agent.api)
    )
    assert IBAN not in str(action)
    assert due["iban"] in str(action["decision"]["findings"])
    assert person[0]["args"]["to_iban"] == IBAN
    assert IBAN in str(person[0]["decision"]["findings"])
    assert key[0]["args"]["to_iban"] == due["iban"]
    assert IBAN not in str(key)
    kept = ("id", "digest", "run_id", "status", "evidence", "expires_at", "created_at", "exception")
    assert {name: key[0][name] for name in kept} == {name: person[0][name] for name in kept}
    assert [g["pointer"] for g in key[0]["decision"]["grounds"]] == [
        g["pointer"] for g in person[0]["decision"]["grounds"]
    ]
    assert seen["id"] in str(key[0]["decision"]["grounds"])
    assert key[0]["args"]["amount"] == due["amount"]
    assert [o["id"] for o in key[1]["observations"]] == [o["id"] for o in person[1]["observations"]]
    waited = ok(agent.api.get(f"/v1/actions/{action['id']}", headers={"Prefer": "wait=1"}))
    assert IBAN not in str(waited)
    asked = agent.proposal(PAY, payment(to_iban=due["iban"]), evidence=[{"observation_id": seen["id"]}])
    evaluated = ok(agent.api.post("/v1/gate/evaluate", json=asked, headers=once()))
    assert due["iban"] in str(evaluated)
    assert IBAN not in str(evaluated)


def test_one_read_is_told_in_tokens_to_a_key_and_in_values_to_people(
    agent: Agent, organisation: Organisation, world: World
) -> None:
    """Of its own run only, and to nobody of another organisation."""
    seen = agent.observe()
    path = f"/v1/runs/{agent.run_id}/observations/{seen['id']}"
    key, person = ok(agent.api.get(path)), ok(organisation.owner.api.get(path))
    assert key["result"] == seen["result"]
    assert IBAN not in str(key)
    assert (bill(person)["iban"], bill(person)["amount"]) == (IBAN, bill(key)["amount"])
    kept = ("id", "run_id", "tool", "source", "status", "args", "labels", "digest", "created_at")
    assert {name: key[name] for name in kept} == {name: person[name] for name in kept}
    assert (key["id"], key["status"], key["source"]) == (seen["id"], "succeeded", "gateway")
    with at_work(organisation, HIDING) as other:
        for api in (other.api, organisation.owner.api):
            assert api.get(f"/v1/runs/{other.run_id}/observations/{seen['id']}").status_code == 404
    stranger = new_organisation(world, connected=False, name="Strangers Ltd")
    assert stranger.owner.api.get(path).status_code == 404


def test_a_token_that_nobody_gave_out_is_refused(agent: Agent) -> None:
    seen = agent.observe()
    for token in ("<IBAN_9_1>", "<IBAN_9>", "<IBAN_1_999>", "pay to <iban_1_1>"):
        body = agent.proposal(PAY, payment(to_iban=token), evidence=[{"observation_id": seen["id"]}])
        refused = agent.api.post("/v1/actions", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_token")
        assert refused.json()["errors"][0]["pointer"] == "/args/to_iban"


def test_what_the_agent_asserts_is_answered_in_tokens_and_kept_as_values(agent: Agent) -> None:
    body = {
        "bills": [{"id": "b", "iban": IBAN, "amount": 5, "currency": "EUR", "reference": "r", "memo": "<IBAN_1_1>"}]
    }
    seen = agent.observe(result=body)
    assert seen["result"]["bills"][0]["iban"] == "<IBAN_1_1>"
    assert seen["result"]["bills"][0]["memo"] != "<IBAN_1_1>"


def test_a_repeated_read_is_answered_in_the_same_tokens(agent: Agent) -> None:
    key, path = once(), f"/v1/runs/{agent.run_id}/observations"
    first = ok(agent.api.post(path, json={"tool": "sandbox_bank.bills.list", "args": {}}, headers=key))
    again = ok(agent.api.post(path, json={"tool": "sandbox_bank.bills.list", "args": {}}, headers=key))
    assert first == again
    assert IBAN not in str(again)


def test_what_is_not_declared_does_not_come_in_with_a_text(organisation: Organisation) -> None:
    spec = access_spec(organisation)
    spec["tools"] = {"sandbox_bank.bills.list": {"access": "read", "read_fields": ["/bills/*/id", "/bills/*/memo"]}}
    spec |= {"data_classes": ["internal"], "retention": {}}
    spec["connections"] = {"sandbox_bank": {"read": spec["connections"]["sandbox_bank"]["read"]}}
    organisation.go_live("read-memos", "Read memos", spec)
    with at_work(organisation, "read-memos") as agent:
        memo = "Card 4111 1111 1111 1111, key sk_live_a1B2a1B2a1B2a1B2, order 111222333"
        seen = agent.observe(result={"bills": [{"id": "b", "memo": memo}]})
    assert seen["result"]["bills"][0]["memo"] == "Card [CARD], key [CREDENTIAL], order 111222333"
    assert seen["labels"]["/bills/*/memo"]["masked"] == "CARD, CREDENTIAL"


def test_a_problem_that_quotes_its_input_quotes_no_personal_value(agent: Agent) -> None:
    body = agent.proposal(PAY, payment(currency="ada@x.example"))
    refused = agent.api.post("/v1/actions", json=body, headers=once())
    assert refused.status_code == 422
    assert "ada@x.example" not in refused.text


def test_the_audit_names_the_place_and_not_the_value(agent: Agent, organisation: Organisation) -> None:
    seen = agent.observe()
    action = agent.propose(PAY, payment(to_iban="NL91ABNA0417164300"), evidence=[{"observation_id": seen["id"]}])
    events = ok(organisation.owner.api.get("/v1/audit/events", params={"action_id": action["id"]}))
    assert "/args/to_iban" in str(events)
    assert "NL91ABNA0417164300" not in str(events)
