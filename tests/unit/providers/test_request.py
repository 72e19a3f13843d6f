"""The request of a tool call, byte for byte, and what no argument can do to it."""

import email.policy
import json
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.config import ConfigurationError
from api.gate.models import Contract
from api.providers.client import UnsendableError, build
from api.providers.manifest import Manifest
from api.providers.read_back import read_back_args, read_back_found
from api.providers.site import Site
from tests.unit.providers.acme import KEY, UUID, VALUES

BILL = {"bill_id": "b-1", "amount": 129_900, "currency": "EUR"}
MAIL = {"to": "ada@juniper.example", "subject": "Your refund", "text": "It is on its way."}
TEXT = st.text(max_size=30)


def contract(site: Site, name: str) -> Contract:
    return next(c for c in site.manifest.contracts() if c.name == f"acme.{name}")


def made(site: Site, name: str, args: dict[str, Any], key: str | None = KEY) -> dict[str, Any]:
    return build(site, contract(site, name), args, key)


def test_a_json_body(site: Site) -> None:
    request = made(site, "bills.pay", BILL | {"memo": 'For "May"', "tags": ["a"], "urgent": False})
    assert request["method"] == "POST"
    assert request["url"] == f"https://bright.acme.test/v2/bills/b-1/payments?requestid={UUID}"
    assert request["headers"] == {"Content-Type": "application/json"}
    assert json.loads(request["content"]) == {
        "amount": 1299,
        "text": "1299.00 EUR",
        "cur": "eur",
        "urgent": False,
        "note": {"memo": f'For "May" [{KEY}]', "plain": 'For "May"'},
        "tags": ["a"],
        "fixed": [1, True, None, "x"],
        "of": "4620",
    }


def test_what_was_not_given_is_not_there(site: Site) -> None:
    body = json.loads(made(site, "bills.pay", BILL)["content"])
    assert body.keys() == {"amount", "text", "cur", "fixed", "of"}


def test_a_query(site: Site) -> None:
    request = made(site, "bills.find", {"number": "INV-1", "states": ["paid", "due"], "limit": 5}, None)
    assert request["url"].startswith("https://bright.acme.test/v2/companies/4620/bills?")
    assert parse_qsl(urlsplit(request["url"]).query) == [
        ("q", "number = 'INV-1'"), ("fields", "id,total"), ("states[]", "paid"), ("states[]", "due"), ("limit", "5"),
    ]  # fmt: skip
    assert request["headers"] == {"X-Company": "4620"}
    assert "content" not in request


def test_a_form(site: Site) -> None:
    request = made(site, "cards.charge", {"amount": 500, "currency": "EUR", "memo": "a&b=c", "expand": ["x", "y"]})
    assert request["url"] == "https://eu1.files.acme.test/charges"
    assert request["headers"] == {"Idempotency-Key": KEY, "Content-Type": "application/x-www-form-urlencoded"}
    assert parse_qsl(request["content"].decode()) == [
        ("amount", "500"), ("metadata[memo]", "a&b=c"), ("expand[]", "x"), ("expand[]", "y"),
        ("capture", "true"), ("version", "2"),
    ]  # fmt: skip


def test_an_argument_that_must_be_what_the_account_has(site: Site) -> None:
    for currency in ("JPY", "eur", ""):
        with pytest.raises(UnsendableError, match="currency"):
            made(site, "cards.charge", {"amount": 500, "currency": currency})


def _message(request: dict[str, Any]) -> Any:
    assert request["headers"]["Content-Type"] == "message/rfc822"
    return BytesParser(policy=email.policy.default).parsebytes(request["content"])


def test_a_message(site: Site) -> None:
    message = _message(made(site, "mails.send", MAIL | {"cc": ["b@c.example", "d@e.example"], "subject": "Grüße"}))
    assert (message["To"], message["Cc"]) == ("ada@juniper.example", "b@c.example, d@e.example")
    assert (message["Subject"], message["Message-ID"]) == ("Grüße", f"<{KEY}@countersign>")
    assert message.get_content().splitlines() == ["It is on its way.", "-- ", "Sent by Countersign"]
    assert "Cc" not in _message(made(site, "mails.send", MAIL))


@pytest.mark.parametrize(
    "to",
    [
        "a@b.example, evil@c.example", "a@b.example;evil@c.example", "a@b.example\r\nBcc: evil@c.example",
        "a@b.example\n", "Ada <a@b.example>, x@y.example", "friends: a@b.example, x@y.example;", "", "ada", "a@",
        "@b.example", "a@b@c.example", "a b@c.example", '"a@b.example', "a@b.example (x", "ä@b.example", "a@b.exämple",
        "a@b.example\0", "<a@b.example", ",",
    ],
)  # fmt: skip
def test_nobody_else_is_written_to(site: Site, to: str) -> None:
    with pytest.raises(UnsendableError):
        made(site, "mails.send", MAIL | {"to": to})
    with pytest.raises(UnsendableError):
        made(site, "mails.send", MAIL | {"cc": ["a@b.example", to]})


@pytest.mark.parametrize(
    "subject", ["a\r\nBcc: evil@c.example", "a\nb", "a\rb", "a\0b", "\ud800", "a\x85b", "a\u2028b"]
)
def test_a_subject_is_one_line(site: Site, subject: str) -> None:
    with pytest.raises(UnsendableError):
        made(site, "mails.send", MAIL | {"subject": subject})


@given(TEXT, TEXT, TEXT)
def test_a_message_has_the_headers_that_were_written(site: Site, to: str, subject: str, text: str) -> None:
    try:
        request = made(site, "mails.send", {"to": to, "subject": subject, "text": text})
    except UnsendableError:
        return
    message = _message(request)
    ours = {"To", "Subject", "Message-ID", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert set(message.keys()) == ours
    assert len(message.keys()) == len(ours)
    assert [address.addr_spec for address in message["To"].addresses] == [message["To"].addresses[0].addr_spec]
    assert message["To"].addresses[0].addr_spec in to
    assert not message.is_multipart()


@given(TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_no_argument_adds_a_member(site: Site, bill: str, memo: str, tags: list[str]) -> None:
    try:
        request = made(site, "bills.pay", BILL | {"bill_id": bill, "memo": memo, "tags": tags})
    except UnsendableError:
        return
    body = json.loads(request["content"])
    assert body.keys() == {"amount", "text", "cur", "note", "tags", "fixed", "of"}
    assert body["note"] == {"memo": f"{memo} [{KEY}]", "plain": memo}
    assert (body["amount"], body["of"], body["tags"]) == (1299, "4620", tags)
    address = httpx.URL(request["url"])  # as it is sent
    assert (address.host, address.query) == ("bright.acme.test", f"requestid={UUID}".encode())
    assert [len(address.raw_path.split(b"/")), address.raw_path.split(b"/")[2]] == [5, b"bills"]
    assert address.fragment == ""
    assert request["headers"] == {"Content-Type": "application/json"}


@given(TEXT, st.lists(TEXT, max_size=3))
def test_no_argument_adds_a_parameter(site: Site, number: str, states: list[str]) -> None:
    """Even where the schema was not asked first."""
    try:
        request = made(site, "bills.find", {"number": number, "states": states}, None)
    except UnsendableError:
        return
    pairs = parse_qsl(httpx.URL(request["url"]).query.decode(), keep_blank_values=True)
    assert pairs == [("q", f"number = '{number}'"), ("fields", "id,total"), *(("states[]", state) for state in states)]


@given(TEXT, TEXT)
def test_no_argument_adds_a_field(site: Site, memo: str, expand: str) -> None:
    args = {"amount": 5, "currency": "EUR", "memo": memo, "expand": [expand]}
    try:
        request = made(site, "cards.charge", args)
    except UnsendableError:
        return
    assert parse_qsl(request["content"].decode(), keep_blank_values=True) == [
        ("amount", "5"), ("metadata[memo]", memo), ("expand[]", expand), ("capture", "true"), ("version", "2"),
    ]  # fmt: skip


@given(TEXT)
def test_no_id_adds_a_header(acme: Manifest, company: str) -> None:
    """Not even one that got past its pattern."""
    site = Site(acme, "production", VALUES | {"company_id": company})
    try:
        request = made(site, "bills.find", {"number": "1"}, None)
    except (UnsendableError, ConfigurationError):
        return
    sent = httpx.Request(request["method"], request["url"], headers=request["headers"])
    assert request["headers"].keys() == {"X-Company"}
    assert sent.headers["x-company"] == company
    assert sent.url.raw_path.count(b"/") == 4


@pytest.mark.parametrize("key", [None, "cs_1", "cs_X"])
def test_a_key_that_is_none_is_not_sent(site: Site, key: str | None) -> None:
    with pytest.raises(UnsendableError, match="idempotency key"):
        made(site, "bills.pay", BILL, key)


def test_a_connection_that_lacks_an_id_sends_nothing(acme: Manifest) -> None:
    with pytest.raises(ConfigurationError, match="company_id"):
        made(acme.site("production", {"subdomain": "bright"}), "bills.find", {"number": "1"}, None)


def test_arguments_that_are_no_json_are_not_sent(site: Site) -> None:
    for value in (float("nan"), "\ud800"):
        with pytest.raises(UnsendableError):
            made(site, "bills.pay", BILL | {"memo": value} if isinstance(value, str) else BILL | {"tags": [value]})


def test_a_read_back_asks_with_types_and_finds_its_own(site: Site) -> None:
    pay = contract(site, "bills.pay")
    assert read_back_args(pay, BILL, KEY) == {"number": KEY, "limit": 129_900}
    assert read_back_found(pay, BILL, KEY, {"bills": [{"reference": "x"}, {"reference": KEY}]})
    answers: list[Any] = [{"bills": []}, {"bills": [{"reference": "x"}]}, {"bills": [{"reference": None}]}, {}, None]
    for answer in answers:
        assert not read_back_found(pay, BILL, KEY, answer)


@pytest.mark.parametrize(
    ("equals", "same", "others"),
    [(0, [0, 0.0, -0.0], [False, "0", None, 1, []]), (False, [False], [0, 0.0, "false", None, True])],
)
def test_a_read_back_by_a_number_or_a_truth_value(site: Site, equals: Any, same: list[Any], others: list[Any]) -> None:
    pay = contract(site, "bills.pay")
    back = {"tool": "acme.bills.find", "found": "/bill/total", "equals": equals}
    pay = Contract.model_validate_json(
        Contract.model_validate(pay.model_dump() | {"read_back": back}).model_dump_json()
    )
    found = [value for value in [*same, *others] if read_back_found(pay, BILL, KEY, {"bill": {"total": value}})]
    assert [repr(value) for value in found] == [repr(value) for value in same]


def test_new_members_of_a_contract_are_stored_where_they_say_something(site: Site) -> None:
    """Contracts that were published before there were any stay byte for byte what they are."""
    stored = contract(site, "bills.pay").model_dump(mode="json")
    assert stored["execution"].keys() == {"mode", "method", "path", "body", "idempotency_header", "query", "template"}
    assert stored["idempotency_seconds"] == 86400
    assert Contract.model_validate(json.loads(json.dumps(stored))) == contract(site, "bills.pay")
    plain = contract(site, "mails.send").model_dump(mode="json")
    assert plain["execution"].keys() == {"mode", "method", "path", "body", "idempotency_header", "template"}
    assert "idempotency_seconds" not in plain
