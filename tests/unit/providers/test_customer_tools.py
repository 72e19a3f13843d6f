"""CRM, helpdesk and outbound providers: what an agent cannot say through them, and what each tool counts as."""

from typing import Any

import jsonschema_rs
import pytest

from api.config import ConfigurationError
from api.gate.models import Contract
from api.providers.manifest import Manifest, manifests

NAMES = ("gmail", "hubspot", "pipedrive", "salesforce", "slack", "zendesk")
CONTRACTS = {contract.name: contract for name in NAMES for contract in manifests()[name].contracts()}
STAMP = "2026-11-20T08:00:00Z"
#: Members of answers that outsiders, or an agent by itself, can write.
WRITTEN = {"name", "firstname", "lastname", "email", "emails", "phone", "phones", "subject", "description", "content"}
WRITTEN |= {"body", "text", "title", "note", "snippet", "payload", "requester_id", "author_id", "dealstage", "status"}
WRITTEN |= {"Name", "FirstName", "LastName", "Email", "Phone", "Subject", "StageName", "Status"}


def _manifest(name: str) -> Manifest:
    return manifests()[name]


def _accepts(contract: Contract, args: dict[str, Any]) -> bool:
    return jsonschema_rs.validator_for(contract.input_schema).is_valid(args)


#: What an agent would say; each test changes one part of it.
GIVEN: dict[str, dict[str, Any]] = {
    "gmail.messages.label": {"message_id": "19a", "add": "Label_7"},
    "gmail.messages.send": {"to": "ada@buyer.example", "subject": "Invoice", "text": "Here it is."},
    "hubspot.notes.create": {"contact_id": "1", "noted_at": STAMP, "body": "Asked again."},
    "pipedrive.deals.create": {"title": "Renewal", "reference": "SO-2210"},
    "pipedrive.notes.create": {"deal_id": 1, "content": "Asked again."},
    "salesforce.contacts.get": {"contact_id": "003x00000012345AAA"},
    "salesforce.contacts.search": {"query": "Okafor", "limit": 5},
    "slack.messages.post": {"channel_id": "C012AB3CD", "text": "Paid."},
    "zendesk.tickets.create_public": {"requester_id": 1, "subject": "Invoice", "body": "Here it is."},
    "zendesk.tickets.reply": {"ticket_id": 1, "updated_at": STAMP, "body": "Here it is."},
}


@pytest.mark.parametrize(
    ("tool", "named", "harmless", "harmful"),
    [
        # Slack's mentions and hidden links are written in angle brackets.
        ("slack.messages.post", "text", "R&D paid #4711 @ noon", "paid <!channel>"),
        ("slack.messages.post", "text", "See the bill.", "<https://evil.example|the bill>"),
        ("slack.messages.post", "channel_id", "C99ZZ", "D012AB3CD"),
        ("slack.messages.post", "channel_id", "C99ZZ", "#general"),
        # Zendesk fills placeholders in what agents write.
        ("zendesk.tickets.reply", "body", "Dear Ada (12 %)", "{{ticket.requester.phone}}"),
        ("zendesk.tickets.create_public", "subject", "Hello", "{{current_user.email}}"),
        # HubSpot and Pipedrive show notes as HTML.
        ("hubspot.notes.create", "body", 'She\'s "off"\nuntil Monday', "<img src=//evil.example>"),
        ("pipedrive.notes.create", "content", "It's late", "<a href=//evil.example>here</a>"),
        # A title is put together with its reference.
        ("pipedrive.deals.create", "title", "Renewal 2027", 'Renewal" 2027'),
        ("pipedrive.deals.create", "reference", "SO-2211-B", "SO 2210) ("),
        # A search is words, and no language.
        ("salesforce.contacts.search", "query", "Ødegård ada@buyer.example", "x} RETURNING User(Id)"),
        ("salesforce.contacts.search", "query", "Buyer Ltd", "Id FROM User WHERE Name LIKE '%'"),
        ("salesforce.contacts.get", "contact_id", "003x00000012345", "005x00000012345AAA"),
        ("salesforce.contacts.get", "contact_id", "003x00000012345", "003x00000012345/../query"),
        # A message goes to the addresses that were approved, with the headers that were approved.
        ("gmail.messages.send", "to", "o'brien+x@buyer.example", "a@b.example, c@d.example"),
        ("gmail.messages.send", "to", "ada@buyer.example", '"a@b.example"@evil.example'),
        ("gmail.messages.send", "subject", "Prüfung: 5 €", "Hi\r\nBcc: c@d.example"),
        ("gmail.messages.send", "in_reply_to", "<1@b.example>", "<1@b.example>\r\nBcc: c@d.example"),
        # Nothing is put away where it is lost.
        ("gmail.messages.label", "add", "STARRED", "TRASH"),
        ("gmail.messages.label", "add", "STARRED", "SPAM"),
    ],
)
def test_what_would_mean_something_else_is_refused(tool: str, named: str, harmless: str, harmful: str) -> None:
    assert _accepts(CONTRACTS[tool], GIVEN[tool] | {named: harmless})
    assert not _accepts(CONTRACTS[tool], GIVEN[tool] | {named: harmful})


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_tool_takes_what_it_does_not_name(name: str) -> None:
    schema = CONTRACTS[name].input_schema
    assert schema["additionalProperties"] is False
    for argument, part in schema["properties"].items():
        texts = part["items"] if part.get("type") == "array" else part
        assert "enum" in texts or "pattern" in texts or texts["type"] != "string" or "maxLength" in texts, argument
        assert texts.get("type") != "integer" or {"minimum", "maximum"} <= texts.keys(), argument
        assert part.get("type") != "array" or "maxItems" in part, argument


def test_what_people_must_see_is_told_apart() -> None:
    told = {name: contract.effect for name, contract in CONTRACTS.items() if contract.effect not in ("read", "write")}
    assert told == {
        "gmail.drafts.delete": "destructive",
        "gmail.messages.send": "outbound_message",
        "gmail.messages.send_many": "mass_outbound",
        "hubspot.contacts.archive": "destructive",
        "hubspot.deals.archive": "destructive",
        "hubspot.deals.reprice": "pricing",
        "hubspot.notes.archive": "destructive",
        "hubspot.tickets.archive": "destructive",
        "pipedrive.activities.delete": "destructive",
        "pipedrive.deals.delete": "destructive",
        "pipedrive.deals.reprice": "pricing",
        "pipedrive.notes.delete": "destructive",
        "pipedrive.persons.delete": "destructive",
        "salesforce.cases.delete": "destructive",
        "salesforce.contacts.delete": "destructive",
        "salesforce.opportunities.delete": "destructive",
        "salesforce.opportunities.reprice": "pricing",
        "slack.messages.broadcast": "mass_outbound",
        "slack.messages.delete": "destructive",
        "slack.messages.post": "outbound_message",
        "slack.messages.reply": "outbound_message",
        "zendesk.tickets.create_public": "outbound_message",
        "zendesk.tickets.delete": "destructive",
        "zendesk.tickets.reply": "outbound_message",
    }


def test_amounts_change_by_pricing_alone() -> None:
    """An amount is trusted when it is read: so an agent must not be able to put one there by itself."""
    taking = {name for name, c in CONTRACTS.items() if any(a.role == "amount" for a in c.arguments.values())}
    assert taking == {name for name, contract in CONTRACTS.items() if contract.effect == "pricing"}


@pytest.mark.parametrize("name", CONTRACTS)
def test_nothing_that_an_outsider_writes_is_trusted(name: str) -> None:
    contract = CONTRACTS[name]
    for pointer, trust in contract.output.trust.items():
        assert trust == "untrusted" or not WRITTEN & set(pointer.split("/")), pointer
        assert pointer or trust == "untrusted" or contract.effect in ("destructive", "write", "pricing"), "all of it"


@pytest.mark.parametrize(
    ("name", "environment", "kept"),
    [
        ("salesforce", "production", {"instance_url": "https://acme.my.salesforce.com.evil.example"}),
        ("salesforce", "production", {"instance_url": "https://evil.example/.my.salesforce.com"}),
        ("salesforce", "production", {"instance_url": "http://acme.my.salesforce.com"}),
        ("salesforce", "production", {"instance_url": "https://acme--uat.sandbox.my.salesforce.com"}),
        ("salesforce", "sandbox", {"instance_url": "https://acme.my.salesforce.com"}),
        ("salesforce", "production", {"my_domain": "acme.my.salesforce.com@evil"}),
        ("pipedrive", "production", {"api_domain": "https://acme.pipedrive.com.evil.example"}),
        ("pipedrive", "production", {"api_domain": "https://evil.example#.pipedrive.com"}),
        ("zendesk", "production", {"subdomain": "evil.example/"}),
        ("hubspot", "production", {"account_type": "SANDBOX"}),
        ("hubspot", "sandbox", {"account_type": "STANDARD"}),
        ("zendesk", "production", {"agent_role": "end-user"}),
        ("gmail", "production", {"mailbox": "ops@acme.example OR from:boss"}),
    ],
)
def test_an_id_of_somewhere_else_is_none(name: str, environment: Any, kept: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        _manifest(name).site(environment, kept)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"ok": True, "ts": "1.0"}, "done"),
        ({"ok": False, "error": "channel_not_found"}, "refused"),
        ({"ok": False, "error": "fatal_error"}, "unsure"),
        ({"ok": False, "error": "internal_error"}, "unsure"),
    ],
)
def test_slack_says_no_with_200_and_sometimes_does_not_know(answer: dict[str, Any], verdict: str) -> None:
    assert _manifest("slack").answers.verdict(answer) == verdict


def test_what_cannot_be_repeated_can_be_found_again() -> None:
    """A person is asked about the rest: an address in a CRM, or a deal's move, is no proof of who made it."""
    unfindable = {
        n for n, c in CONTRACTS.items() if c.access == "write" and c.idempotency != "natural" and not c.read_back
    }
    assert unfindable == {"pipedrive.persons.create"}


@pytest.mark.parametrize("name", NAMES)
def test_a_write_and_its_looks_fit_into_what_may_come_at_once(name: str) -> None:
    """Else a write whose looks come too soon after its claim would be put off for ever."""
    writes = [contract for contract in _manifest(name).contracts() if contract.access == "write"]
    most = max(1 + len(c.rests_on) + 2 * bool(c.state) for c in writes)
    for limit in _manifest(name).limits:
        if limit.seconds > 3600:
            continue  # counted, and no rate
        at_once = max(1, limit.requests // 5)  # as private.meter_call
        pause = limit.seconds / (limit.requests - at_once + 1)
        assert at_once >= most or pause < 0.2, f"{limit.name}: {most} calls"
