"""A refusal rests on current rules, a repeated request gets its answer, and nobody's word passes for the provider's."""

import json
from typing import Any

import httpx

from sandbox.organisation import Member, Organisation, ok, once
from tests.http.integrator import NOTE, PAY, WRITES_NOTES, Agent, access_spec, at_work, decide, note, payment
from tests.http.test_controls import engage, new_version, put_live, release
from tests.http.world import World

BOOKED, SEND = "sandbox_bank.transactions.list", "sandbox_crm.messages.send"
UPDATE = "sandbox_crm.contacts.update"
MAIL = {"to": "ada@northwind.example", "subject": "Paid", "body": "It is on its way."}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def tools(organisation: Organisation, **more: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = access_spec(organisation)["tools"]
    return named | more


def test_what_a_client_says_it_read_is_untrusted_whatever_the_contract_says(agent: Agent) -> None:
    bill = {"id": "bill_1042", "iban": "DE94000123450532013000", "amount": 1250}
    said = agent.observe(result={"bills": [bill]})
    assert (said["source"], said["result"]) == ("client_asserted", {"bills": [bill]})
    assert said["labels"]["/bills/*/amount"] == {"trust": "untrusted", "data_class": "financial"}
    assert {label["trust"] for label in said["labels"].values()} == {"untrusted"}
    read = agent.observe()
    assert read["labels"]["/bills/*/amount"] == {"trust": "trusted", "data_class": "financial"}


def reconcile(client: httpx.Client, action_id: str, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"reason": "the answer got lost"}
    return client.post(f"/v1/actions/{action_id}/reconcile", json=body, headers=headers or once())


def lost(agent: Agent, organisation: Organisation, world: World) -> str:
    """A message that was sent though no answer came: its outcome is unknown."""
    with world.provider("crm") as crm:
        crm.post("/_faults", json={"operation": "messages.send", "kind": "drop_after"}).raise_for_status()
    action = agent.propose(SEND, MAIL)
    if action["status"] == "awaiting_approval":
        ok(decide(organisation.approver, action))
    settled = agent.settled(action["id"])
    assert settled["status"] == "unknown", settled
    return str(action["id"])


def test_only_who_may_reconcile_makes_the_provider_be_asked(fresh: Organisation, world: World) -> None:
    found: dict[str, Any] = {"access": "read", "read_fields": ["/messages/*/id"]}
    more: dict[str, dict[str, Any]] = {SEND: WRITES_NOTES, "sandbox_crm.messages.find": found}
    put_live(fresh, new_version(fresh, tools=tools(fresh, **more)))
    with at_work(fresh) as agent:
        action = lost(agent, fresh, world)
        asked = "select count(*) from app.observations where run_id = %s"
        assert refusal(reconcile(agent.api, action)) == (403, "permission_denied")
        assert world.rows(asked, agent.run_id) == [(1,)]  # before it was sent
        headers = once()
        assert ok(reconcile(fresh.owner.api, action, headers))["status"] == "succeeded"
        assert world.rows(asked, agent.run_id) == [(2,)]
        again = reconcile(fresh.owner.api, action, headers)
        assert (ok(again)["status"], again.headers["Idempotent-Replayed"]) == ("succeeded", "true")
        assert refusal(reconcile(fresh.owner.api, action)) == (409, "not_unknown")
        assert world.rows(asked, agent.run_id) == [(2,)]


def test_what_is_not_unknown_is_not_read_back(agent: Agent, shared: Organisation, world: World) -> None:
    action = agent.settled(agent.propose(NOTE, note())["id"])
    assert refusal(reconcile(shared.owner.api, action["id"])) == (409, "not_unknown")
    nowhere = "018f0000-0000-7000-8000-000000000000"
    assert refusal(reconcile(shared.owner.api, nowhere)) == (404, "not_found")
    assert world.rows("select count(*) from app.observations where run_id = %s", agent.run_id) == [(0,)]


def edit(person: Member, action: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"verdict": "edit", "digest": action["digest"], "reason": "a decimal slipped", "args": payment(990)}
    path = f"/v1/exceptions/{action['exception']['id']}/decision"
    return person.api.post(path, json=body, headers=headers or once())


def test_an_edit_is_denied_on_current_rules_only_and_a_repeated_one_is_answered(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment(9900))
        switch = engage(fresh, "tenant")
        assert refusal(edit(fresh.approver, action)) == (422, "edit_denied")  # and now the switch is in memory
        ok(release(fresh.owner, switch))
        headers = once()
        edited = ok(edit(fresh.approver, action, headers))
        assert edited["status"] == "edited"
        engage(fresh, "tenant")
        again = edit(fresh.approver, action, headers)
        assert (ok(again), again.headers["Idempotent-Replayed"]) == (edited, "true")


def test_a_read_is_refused_on_current_rules_only(fresh: Organisation) -> None:
    def booked(*accounts: str) -> dict[str, Any]:
        grant = {"access": "read", "read_fields": ["/transactions/*/id"], "records": {"/account_id": list(accounts)}}
        return tools(fresh, **{BOOKED: grant})

    def read(agent: Agent, tool: str, **args: Any) -> httpx.Response:
        path, body = f"/v1/runs/{agent.run_id}/observations", {"tool": tool, "args": args}
        return agent.api.post(path, json=body, headers=once())

    with at_work(fresh) as agent:
        assert refusal(read(agent, BOOKED, account_id="acc_reserve")) == (403, "outside_access_spec")
        put_live(fresh, new_version(fresh, tools=booked("acc_operating")))
        agent.start()
        assert refusal(read(agent, BOOKED, account_id="acc_reserve")) == (403, "outside_access_spec")
        put_live(fresh, new_version(fresh, tools=booked("acc_operating", "acc_reserve")))
        agent.start()
        assert ok(read(agent, BOOKED, account_id="acc_reserve"))["status"] == "succeeded"


def test_of_what_answers_a_write_only_the_trusted_part_is_kept(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        action = agent.propose(PAY, payment())
        ok(decide(fresh.approver, action))
        paid = agent.settled(action["id"])["attempts"][-1]
        assert set(paid["response"]["body"]) <= {"id", "status", "created_at", "bill_id"}
        assert paid["response"]["body"]["id"] == world.transfers(action["id"])[0]["id"]
        kept = world.rows("select response::text from app.attempts where action_id = %s", action["id"])
        assert "Northwind" not in kept[0][0]
        poor = agent.propose(PAY, payment(to_iban="DE00000123450532013000"))
        ok(decide(fresh.approver, poor))
        refused = agent.settled(poor["id"])["attempts"][-1]
        assert refused["response"]["body"] == {"error": "invalid_iban"}


def publish(world: World, tool: str, schema: dict[str, Any]) -> None:
    """The next version of a tool's contract, with another schema of arguments, as a deployment publishes it."""
    statement = (
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, version + 1, provider, access, effect, contract || jsonb_build_object('input_schema', %s::jsonb)"
        " from private.tool_catalog where name = %s order by version desc limit 1 returning version"
    )
    assert world.rows(statement, json.dumps(schema), tool)


def test_a_repeated_proposal_is_answered_though_its_contract_has_moved(fresh: Organisation, world: World) -> None:
    put_live(fresh, new_version(fresh, tools=tools(fresh, **{UPDATE: WRITES_NOTES})))
    known = "select contract -> 'input_schema' from private.tool_catalog where name = %s order by version desc limit 1"
    schema = world.rows(known, UPDATE)[0][0]
    with at_work(fresh) as agent:
        body = agent.proposal(UPDATE, {"contact_id": "con_ada", "version": 1, "title": "Buyer"}, confidence=0.1)
        headers = once()
        action = ok(agent.api.post("/v1/actions", json=body, headers=headers))
        publish(world, UPDATE, {"type": "object", "required": ["a_new_argument"]})
        try:
            again = agent.api.post("/v1/actions", json=body, headers=headers)
            agent.api.post("/v1/gate/evaluate", json=body, headers=once())  # now the new contract is in memory
            third = agent.api.post("/v1/actions", json=body, headers=headers)
            new = agent.api.post("/v1/actions", json=body, headers=once())
        finally:
            publish(world, UPDATE, schema)
        assert ok(again) == ok(third) == action
        assert third.headers["Idempotent-Replayed"] == "true"
        assert refusal(new) == (422, "contract_violation")
        # the refusal is in memory, and the contract has moved on
        assert agent.api.post("/v1/actions", json=body, headers=once()).status_code == 201
