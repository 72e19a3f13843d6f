"""Three providers with quirks, through the real API: connect, observe, act, disconnect, and what must not connect."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.providers.manifest import manifests
from sandbox.organisation import Organisation, ok
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.integrator import Agent, decide, issue_key, new_organisation, objections
from tests.http.test_compensation import compensate, read_again
from tests.http.test_connections import changed, is_a_page, status
from tests.http.world import World, running
from tests.providers import shapes
from tests.providers.exercise import CLIENT
from tests.providers.moves import changed as moved_to
from tests.providers.serving import NOWHERE, Served, serving
from tests.providers.shapes import Call
from tests.providers.stub import Stub

#: A tool that reads and one that writes, of each; what is special about it: QuickBooks says in the callback whose books
#: they are, Salesforce asks for a name first and answers from an address of its own, Slack refuses with status 200.
TOOLS = {
    "quickbooks": ("invoices.get", "invoices.create"),
    "salesforce": ("contacts.get", "contacts.update"),
    "slack": ("channels.history", "messages.post"),
}


@dataclass(frozen=True)
class Outside:
    """The stack, and the providers that stand in the real ones' place."""

    world: World
    served: dict[str, Served]

    def stub(self, name: str) -> Stub:
        """The provider, with nothing against us so far."""
        stub = self.served[name].stub
        stub.complaints.clear()
        return stub

    def begin(self, organisation: Organisation, name: str, access: str = "read") -> dict[str, Any]:
        body = {
            "provider": name,
            "environment": "production",
            "access": access,
            "parameters": self.served[name].stub.shape.parameters,
        }
        started: dict[str, Any] = ok(organisation.owner.api.post("/v1/connections", json=body))
        return started

    def consent(self, started: dict[str, Any]) -> str:
        """Where the provider sends the person's browser back to."""
        answer = httpx.get(started["authorize_url"], trust_env=False, timeout=30)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def connect(self, organisation: Organisation, name: str, access: str) -> str:
        started = self.begin(organisation, name, access)
        page = organisation.owner.api.get(self.consent(started))
        assert is_a_page(page, 200), page.text
        organisation.connections[f"{name}/{access}"] = started["id"]
        return str(started["id"])


@pytest.fixture(scope="module")
def outside(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with ExitStack() as stack:
        served = {
            name: stack.enter_context(serving(Stub(shapes.load(shapes.FOLDER / f"{name}.toml"), CLIENT, NOWHERE)))
            for name in TOOLS
        }
        origins: dict[str, str] = {}
        settings = {"HTTPS_PROXY": NOWHERE}
        for name, one in served.items():
            origins |= json.loads(one.settings["COUNTERSIGN_PROVIDER_ORIGINS"])
            settings |= {f"{name.upper()}_CLIENT_ID": CLIENT[0], f"{name.upper()}_CLIENT_SECRET": CLIENT[1]}
        settings["COUNTERSIGN_PROVIDER_ORIGINS"] = json.dumps(origins)
        database = stack.enter_context(cloned(cluster))
        world = stack.enter_context(running(tmp_path_factory.mktemp("state"), database, settings=settings))
        # A stub takes any number of calls, and none of these tests is about how many.
        assert world.rows("delete from private.provider_limits where provider = any(%s) returning name", list(served))
        for name, one in served.items():
            one.stub.redirect_uri = f"{world.api}/oauth/{name}/callback"
        yield Outside(world, served)


@pytest.fixture
def newcomer(outside: Outside) -> Organisation:
    return new_organisation(outside.world, connected=False)


def calls(outside: Outside, name: str) -> tuple[Call, Call]:
    """The documented examples of the tool that reads and of the one that writes."""
    shape = outside.served[name].stub.shape
    reads, writes = TOOLS[name]
    return shape.calls_of(reads)[0], shape.calls_of(writes)[0]


def at_work(
    outside: Outside, organisation: Organisation, name: str, reads: Sequence[str] = (), writes: Sequence[str] = ()
) -> Agent:
    """Connected for reading and writing, with a live workflow and an agent in a run of it."""
    for access in ("read", "write"):
        outside.connect(organisation, name, access)
    shape = outside.served[name].stub.shape
    read, write = reads or TOOLS[name][:1], writes or TOOLS[name][1:]
    everything = {tool: [f"/{member}" for member in shape.calls_of(tool)[0].answer] for tool in read}
    classes = {c for contract in manifests()[name].contracts() for c in contract.output.data_classes.values()}
    writing = {"access": "write", "data_classes": sorted(classes | {"internal"})}
    spec = {
        "purpose": "Keep two systems in step",
        "owner": organisation.owner.email,
        "escalation_contact": organisation.approver.email,
        "stage": "supervised",
        "connections": organisation.bindings(),
        "tools": {f"{name}.{tool}": {"access": "read", "read_fields": everything[tool]} for tool in read}
        | {f"{name}.{tool}": writing for tool in write},
        "value_max": {"USD": 500000},
        "counterparty_approvals": 1,
        "data_classes": sorted(classes | {"internal", "public"}),
    }
    organisation.go_live("in-step", "In step", spec, "production")
    key = issue_key(organisation, "production")
    agent = Agent(outside.world.client(key["secret"]), "in-step")
    agent.start()
    return agent


def act(outside: Outside, organisation: Organisation, agent: Agent, name: str) -> dict[str, Any]:
    """Proposes the documented write on what was seen, has it approved, and waits for what becomes of it."""
    read, write = calls(outside, name)
    seen = agent.observe(f"{name}.{read.tool}", args=read.args)
    action = agent.propose(f"{name}.{write.tool}", write.args, evidence=[{"observation_id": seen["id"]}])
    return approved(outside, organisation, agent, name, action)


def approved(
    outside: Outside, organisation: Organisation, agent: Agent, name: str, action: dict[str, Any]
) -> dict[str, Any]:
    """What becomes of an action that waits for a person, and is approved."""
    outside.served[name].stub.filled = {"@idempotency_key": f"cs_{action['id']}", "@idempotency_uuid": action["id"]}
    assert action["status"] == "awaiting_approval", action["decision"]
    ok(decide(organisation.approver, action))
    return agent.settled(action["id"])


@pytest.mark.parametrize("name", TOOLS)
def test_connect_observe_act_and_disconnect(outside: Outside, newcomer: Organisation, name: str) -> None:
    stub = outside.stub(name)
    agent = at_work(outside, newcomer, name)
    read, _ = calls(outside, name)
    seen = agent.observe(f"{name}.{read.tool}", args=read.args)
    assert (seen["status"], seen["result"]) == ("succeeded", read.answer)
    assert act(outside, newcomer, agent, name)["status"] == "succeeded"
    how, ended = manifests()[name].oauth.revoke, []
    assert (how is not None) == (stub.shape.oauth.revoke is not None)
    for connection_id in newcomer.connections.values():
        gone = ok(newcomer.owner.api.delete(f"/v1/connections/{connection_id}"))
        ended.append(gone["disconnect"]["at_provider"])
    first = "unsupported" if how is None else "shared" if how.ends == "grant" else "confirmed"
    assert ended == [first, "unsupported" if how is None else "confirmed"]  # the last of them ends what they share
    assert [grant.revoked for grant in stub.grants[-2:]] == [state == "confirmed" for state in ended]
    assert stub.complaints == []


def test_a_bill_that_moves_before_its_payment_is_decided_again_and_the_payment_is_undone(
    outside: Outside, newcomer: Organisation
) -> None:
    stub, before = outside.stub("quickbooks"), len(outside.stub("quickbooks").urls)
    reads, writes = ("bills.get", "bill_payments.get"), ("bill_payments.create", "bill_payments.void")
    agent = at_work(outside, newcomer, "quickbooks", reads, writes)
    bill, payment = (stub.shape.calls_of(tool)[0] for tool in ("bills.get", "bill_payments.create"))

    def sent() -> list[str]:
        return [
            url.partition("?")[2].split("&requestid")[0]
            for url in stub.urls[before:]
            if "POST " in url and "/billp" in url
        ]

    seen = agent.observe("quickbooks.bills.get", args=bill.args)
    action = agent.propose("quickbooks.bill_payments.create", payment.args, evidence=[{"observation_id": seen["id"]}])
    # Somebody pays a part of the bill while this waits for its approval.
    stub.answers["bills.get"] = moved_to(bill.answer, "/Bill/Balance")
    try:
        assert approved(outside, newcomer, agent, "quickbooks", action)["status"] == "superseded"
        assert sent() == []
        trace = [agent.action(one["id"]) for one in ok(agent.api.get(f"/v1/runs/{agent.run_id}"))["actions"]]
        again = next(one for one in trace if one["supersedes"] == action["id"])
        assert objections(again)["stale_world"] == "escalate"
        assert [(part["tool"], part["pointer"]) for part in again["moved"]] == [
            ("quickbooks.bills.get", "/Bill/Balance")
        ]
        # Whoever approves it now, approves it with that.
        assert approved(outside, newcomer, agent, "quickbooks", again)["status"] == "succeeded"
    finally:
        stub.answers.clear()
    read_again(agent, again["id"])
    undo = ok(compensate(newcomer.owner.api, again["id"]))
    assert undo["compensates"] == again["id"]
    shown = agent.action(undo["id"])
    assert (shown["tool"], shown["args"]) == ("quickbooks.bill_payments.void", {"payment_id": "118", "sync_token": "0"})
    assert objections(shown)["hard_gate"] == "escalate"
    assert approved(outside, newcomer, agent, "quickbooks", undo)["status"] == "succeeded"
    assert len(sent()) == 2
    assert "include=void" in sent()[1]
    assert stub.complaints == []


@dataclass(frozen=True)
class Moving:
    """What a write of a provider looks at, which part of it moves first and which later, and what its undo is."""

    looks: tuple[str, ...]
    writes: tuple[str, ...]
    first: str
    later: str
    undo: dict[str, str]


#: A contact that somebody else changes, and a channel that is shared with another company; what they wrote is undone.
MOVING = {
    "salesforce": Moving(
        ("contacts.get",), ("contacts.update",), "/Phone", "/Title",
        {"contact_id": "003x00000012345AAA", "title": "Buyer"},
    ),
    "slack": Moving(
        ("channels.get", "messages.thread"), ("messages.post", "messages.delete"), "/channel/is_ext_shared",
        "/messages/0/text", {"channel_id": "C012AB3CD", "ts": "1503435956.000247"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVING)
def test_what_moved_is_decided_again_and_an_undo_overwrites_no_later_change(
    outside: Outside, newcomer: Organisation, name: str
) -> None:
    stub, moving = outside.stub(name), MOVING[name]
    agent = at_work(outside, newcomer, name, moving.looks, moving.writes)
    look, write = stub.shape.calls_of(moving.looks[0])[0], stub.shape.calls_of(moving.writes[0])[0]
    seen = agent.observe(f"{name}.{look.tool}", args=look.args)
    action = agent.propose(f"{name}.{write.tool}", write.args, evidence=[{"observation_id": seen["id"]}])
    state = moving.looks[-1]
    try:
        stub.answers[moving.looks[0]] = moved_to(look.answer, moving.first)
        before = len(stub.urls)
        assert approved(outside, newcomer, agent, name, action)["status"] == "superseded"
        assert not [url for url in stub.urls[before:] if url.startswith(f"{write.method} {write.url}")]
        trace = [agent.action(one["id"]) for one in ok(agent.api.get(f"/v1/runs/{agent.run_id}"))["actions"]]
        again = next(one for one in trace if one["supersedes"] == action["id"])
        assert objections(again)["stale_world"] == "escalate"
        assert [part["pointer"] for part in again["moved"]] == [moving.first]
        assert approved(outside, newcomer, agent, name, again)["status"] == "succeeded"
        assert read_again(agent, again["id"])["not_read"] == []

        left = stub.answers.get(state, stub.shape.calls_of(state)[-1].answer)
        stub.answers[state] = moved_to(left, moving.later)
        refused = compensate(newcomer.owner.api, again["id"])
        assert (refused.status_code, refused.json()["code"]) == (409, "changed_since")
        stub.answers[state] = left
        undo = ok(compensate(newcomer.owner.api, again["id"]))
        shown = agent.action(undo["id"])
        assert (shown["compensates"], shown["tool"]) == (again["id"], f"{name}.{moving.writes[-1]}")
        assert shown["args"] == moving.undo
        assert approved(outside, newcomer, agent, name, undo)["status"] == "succeeded"
    finally:
        stub.answers.clear()
    assert stub.complaints == []


def test_quickbooks_says_in_the_callback_whose_books_they_are(outside: Outside, newcomer: Organisation) -> None:
    connection_id = outside.connect(newcomer, "quickbooks", "read")
    shown = ok(newcomer.owner.api.get(f"/v1/connections/{connection_id}"))
    assert shown["account"]["id"] == "4620816365002345678"
    assert shown["account"]["label"]


@pytest.mark.parametrize("realm", [None, "../company", "1/2", ""])
def test_a_callback_without_a_company_connects_nothing(
    outside: Outside, newcomer: Organisation, realm: str | None
) -> None:
    stub = outside.stub("quickbooks")
    started = outside.begin(newcomer, "quickbooks")
    page = newcomer.owner.api.get(changed(outside.consent(started), realmId=realm))
    assert not page.is_success
    assert status(newcomer, started["id"]) == "revoked"
    assert stub.grants[-1].revoked, "the consent is given back"
    assert stub.complaints == []


@pytest.mark.parametrize("parameters", [{}, {"my_domain": "acme.evil.example/x?"}, {"my_domain": "acme", "more": "x"}])
def test_salesforce_is_told_first_where_to_go(newcomer: Organisation, parameters: dict[str, str]) -> None:
    body = {"provider": "salesforce", "environment": "production", "access": "read", "parameters": parameters}
    refused = newcomer.owner.api.post("/v1/connections", json=body)
    assert refused.status_code == 422
    assert "my_domain" in refused.text or "more" in refused.text


def test_an_address_that_is_not_salesforces_is_never_called(
    outside: Outside, newcomer: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = outside.stub("salesforce")
    token = stub.shape.oauth.token
    elsewhere = token.answer | {"instance_url": "https://acme.my.salesforce.com.evil.example"}
    oauth = stub.shape.oauth.model_copy(update={"token": token.model_copy(update={"answer": elsewhere})})
    monkeypatch.setattr(stub, "shape", stub.shape.model_copy(update={"oauth": oauth}))
    started = outside.begin(newcomer, "salesforce")
    count = len(stub.urls)
    page = newcomer.owner.api.get(outside.consent(started))
    assert not page.is_success
    assert status(newcomer, started["id"]) == "revoked"
    assert {urlsplit(url.split(" ")[1]).path for url in stub.urls[count:]} <= {
        "/services/oauth2/authorize",
        "/services/oauth2/token",
        "/services/oauth2/revoke",
    }


def test_a_session_that_ends_early_is_refreshed_once(outside: Outside, newcomer: Organisation) -> None:
    """Salesforce ends access tokens when its session setting says so, and tells nobody when."""
    agent = at_work(outside, newcomer, "salesforce")
    stub = outside.stub("salesforce")
    read, _ = calls(outside, "salesforce")
    for grant in stub.grants:
        grant.access_token = "ended"
    count = len(stub.urls)
    seen = agent.observe(f"salesforce.{read.tool}", args=read.args)
    assert (seen["status"], seen["result"]) == ("succeeded", read.answer)
    called = [urlsplit(url.split(" ")[1]).path.rsplit("/", 1)[-1] for url in stub.urls[count:]]
    assert called == [read.url.rsplit("/", 1)[-1], "token", read.url.rsplit("/", 1)[-1]]
    assert len(stub.complaints) == 1


def test_a_refusal_with_status_200_is_a_refusal(outside: Outside, newcomer: Organisation) -> None:
    agent = at_work(outside, newcomer, "slack")
    stub = outside.stub("slack")
    read, write = calls(outside, "slack")
    assert write.refused is not None
    assert write.refused.status == 200
    seen = agent.observe(f"slack.{read.tool}", args=read.args)
    action = agent.propose(f"slack.{write.tool}", write.args, evidence=[{"observation_id": seen["id"]}])
    stub.filled = {"@idempotency_key": f"cs_{action['id']}", "@idempotency_uuid": action["id"]}
    stub.refusing = True
    try:
        ok(decide(newcomer.approver, action))
        refused = agent.settled(action["id"])
    finally:
        stub.refusing = False
    assert refused["status"] == "failed"
    assert write.refused.answer["error"] in json.dumps(refused["attempts"])
    assert stub.complaints == []
