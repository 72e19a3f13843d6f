"""How the client reads what providers send, and what it sends them: over real sockets, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.execution.execute import sanitize
from api.providers import client
from api.providers.client import Lease, Outcome, TokenError, Tokens
from api.providers.manifest import manifests
from tests.unit.execution.conftest import TIMEOUT, Provider, answer

PAYMENT = {"from_account": "acc", "to_iban": "NL1", "to_name": "X", "amount": 1, "currency": "EUR", "reference": "r"}


def call(monkeypatch: pytest.MonkeyPatch, provider: Provider, lease: Lease | None = None) -> Outcome:
    """One call of payments.create at this provider."""

    async def make() -> Outcome:
        async with provider.listening(monkeypatch):
            manifest = manifests()["sandbox_bank"]
            contract = next(c for c in manifest.contracts() if c.name == "sandbox_bank.payments.create")
            return await client.call_tool(manifest.site("production"), contract, PAYMENT, "sat_1", "cs_key", lease)

    return asyncio.run(make())


@pytest.mark.parametrize(
    ("status", "reached"),
    [
        (200, "yes"), (201, "yes"), (202, "yes"), (204, "yes"),
        (301, "maybe"), (302, "maybe"), (303, "maybe"), (304, "no"), (307, "no"), (308, "no"),
        (400, "no"), (401, "no"), (402, "no"), (404, "no"), (409, "no"), (422, "no"), (429, "no"), (499, "no"),
        (500, "maybe"), (501, "maybe"), (502, "maybe"), (503, "maybe"), (504, "maybe"), (599, "maybe"),
    ],
)  # fmt: skip
def test_the_status_says_whether_it_was_done(monkeypatch: pytest.MonkeyPatch, status: int, reached: str) -> None:
    body = b"" if status in (204, 304) else b'{"error":"e"}'
    outcome = call(monkeypatch, Provider(answer(status, body)))
    assert (outcome.reached, outcome.status) == (reached, status)
    assert outcome.body == ({"error": "e"} if body else None)
    assert (outcome.error is None) == (reached == "yes")


@pytest.mark.parametrize(
    "body",
    [b"<html>We are down</html>", b'{"id": ', b"\xff\xfe", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"9" * 5000],
)
def test_a_success_that_is_no_json_is_none(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    outcome = call(monkeypatch, Provider(answer(200, body)))
    assert outcome == Outcome("maybe", 200, None, "The answer is not JSON.")


def test_a_refusal_that_is_no_json_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = call(monkeypatch, Provider(answer(403, b"<html>Forbidden</html>")))
    assert outcome == Outcome("no", 403, None, "The provider answered 403.")


@pytest.mark.parametrize(
    "body", [rb'{"a": "\u0000"}', rb'{"\u0000": 1}', rb'["\\\u0000"]', rb'{"a": "\ud800"}', b'{"a": 1e999}']
)
def test_a_success_with_what_no_column_keeps_was_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    outcome = call(monkeypatch, Provider(answer(201, body)))
    assert (outcome.reached, outcome.status, outcome.body) == ("yes", 201, None)
    assert outcome.error == "The answer holds characters or numbers that cannot be kept."
    refused = call(monkeypatch, Provider(answer(422, body)))
    assert (refused.reached, refused.status, refused.body) == ("no", 422, None)


def test_text_that_only_looks_like_a_nul_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, Provider(answer(200, rb'{"a": "\\u0000"}'))).body == {"a": "\\u0000"}


@pytest.mark.parametrize(("status", "reached"), [(200, "maybe"), (400, "no"), (500, "maybe")])
def test_no_more_than_a_megabyte_is_read(monkeypatch: pytest.MonkeyPatch, status: int, reached: str) -> None:
    huge = b'"' + b"x" * 3_000_000 + b'"'
    outcome = call(monkeypatch, Provider(answer(status, huge)))
    assert (outcome.reached, outcome.status, outcome.body) == (reached, status, None)
    largest = b'"' + b"x" * 999_998 + b'"'
    assert len(call(monkeypatch, Provider(answer(200, largest))).body) == 999_998


@pytest.mark.parametrize(
    ("packing", "times", "body"),
    [("gzip", 1, {"id": "pay_1"}), ("x-gzip", 1, {"id": "pay_1"}), ("gzip, gzip", 2, None), ("br", 0, None),
     ("gzip", 0, None), ("", 0, {"id": "pay_1"})],
)  # fmt: skip
def test_an_answer_is_unpacked_as_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, packing: str, times: int, body: Any
) -> None:
    content = b'{"id": "pay_1"}'
    for _ in range(times):
        content = gzip.compress(content)
    provider = Provider(answer(201, content, f"Content-Encoding: {packing}"))
    outcome = call(monkeypatch, provider)
    assert (outcome.reached, outcome.body) == ("yes" if body else "maybe", body)
    assert b"accept-encoding: gzip\r\n" in provider.requests[0].lower()
    refused = call(monkeypatch, Provider(answer(422, content, f"Content-Encoding: {packing}")))
    assert (refused.reached, refused.status) == ("no", 422)


def test_what_unpacks_to_more_than_may_be_read_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    provider = Provider(answer(200, bomb, "Content-Encoding: gzip"))
    tracemalloc.start()
    try:
        outcome = call(monkeypatch, provider)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (outcome.reached, outcome.body) == ("maybe", None)
    assert most < 20_000_000


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential goes to nobody else, and the answer of nobody else counts."""

    async def make() -> tuple[Outcome, list[bytes]]:
        elsewhere = Provider(answer(200, b"{}"))
        async with elsewhere.listening(monkeypatch) as url:
            provider = Provider(answer(307, b"", f"Location: {url}/v1/payments"))
            async with provider.listening(monkeypatch):
                manifest = manifests()["sandbox_bank"]
                contract = next(c for c in manifest.contracts() if c.name == "sandbox_bank.payments.create")
                return await client.call_tool(
                    manifest.site("production"), contract, PAYMENT, "sat_1", "k"
                ), elsewhere.requests

    outcome, followed = asyncio.run(make())
    assert (outcome.reached, outcome.status) == ("no", 307)
    assert followed == []


@pytest.mark.parametrize(
    "raw",
    ["", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "SMTP ready\r\n\r\n"],
)
def test_an_answer_that_breaks_off_may_hide_anything(monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    provider = Provider(raw.encode())
    assert call(monkeypatch, provider) == Outcome("maybe", error="No answer came (RemoteProtocolError).")
    assert len(provider.requests) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("raw", ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_an_answer_that_does_not_come_may_hide_anything(monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    begun = time.monotonic()
    outcome = call(monkeypatch, Provider(raw.encode(), close=False))
    assert time.monotonic() - begun < TIMEOUT / 2
    assert (outcome.reached, outcome.status) == ("maybe", None)
    assert outcome.error in ("No answer came (TimeoutError).", "No answer came (ReadTimeout).")


def test_a_provider_that_is_not_there_was_not_reached() -> None:
    manifest = manifests()["sandbox_bank"]
    contract = next(c for c in manifest.contracts() if c.name == "sandbox_bank.payments.create")
    outcome = asyncio.run(client.call_tool(manifest.site("production"), contract, PAYMENT, "sat_1", "k"))
    assert (outcome.reached, outcome.status) == ("no", None)


def test_a_provider_that_is_not_configured_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    site = manifests()["sandbox_bank"].site("production")
    manifest = site.manifest
    contract = next(c for c in manifest.contracts() if c.name == "sandbox_bank.payments.create")
    monkeypatch.delenv("SANDBOX_BANK_URL")
    outcome = asyncio.run(client.call_tool(site, contract, PAYMENT, "sat_1", "k"))
    assert outcome.reached == "no"
    assert "SANDBOX_BANK_URL" in (outcome.error or "")


@pytest.mark.parametrize("seconds", [-1.0, 0.0, client.RESERVE])
def test_nothing_is_sent_when_the_lease_is_nearly_over(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    provider = Provider(answer(201, b"{}"))
    outcome = call(monkeypatch, provider, Lease(seconds))
    assert outcome.reached == "no"
    assert provider.requests == []


def test_the_answer_is_awaited_no_longer_than_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(b"", close=False)
    begun = time.monotonic()
    outcome = call(monkeypatch, provider, Lease(client.RESERVE + 2))
    assert time.monotonic() - begun < TIMEOUT / 2
    assert (outcome.reached, len(provider.requests)) == ("maybe", 1)


def test_a_lease_is_over_when_either_clock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that was frozen finds its own clock where it left it."""
    lease = Lease(60)
    assert 59 < lease.remaining() <= 60
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    assert lease.remaining() < 0


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(answer(201, b"{}"))
    call(monkeypatch, provider)
    head, body = provider.requests[0].split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/payments HTTP/1.1"
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    assert headers["authorization"] == "Bearer sat_1"
    assert headers["idempotency-key"] == "cs_key"
    assert b'"amount":1' in body.replace(b" ", b"")


def test_arguments_in_a_path_stay_in_their_place() -> None:
    contracts = {c.name: c for c in manifests()["sandbox_bank"].contracts()}
    site = manifests()["sandbox_bank"].site("sandbox")
    request = client.build(site, contracts["sandbox_bank.bills.get"], {"bill_id": "../v1/x?y=1#z %2e"}, None)
    assert request["url"] == "http://127.0.0.1:9/v1/bills/..%2Fv1%2Fx%3Fy%3D1%23z%20%252e"
    listed = client.build(site, contracts["sandbox_bank.bills.list"], {"status": "open"}, "ignored")
    assert (listed["url"], listed["headers"]) == ("http://127.0.0.1:9/v1/bills?status=open", {})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("0", 0), ("-5", None), ("1.5", None), ("soon", None), ("", None),
        ("9" * 400, float("inf")), ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None), ("1, 2", None),
        ("Wed, 21 Oct 2099 07:28:00 +99999999999999", None), ("Mon, 31 Dec 99999 23:59:59 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0), ("Sun Nov  6 08:49:37 1994", 0), ("Thu, 99 Nov 2026 08:49:37 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(monkeypatch: pytest.MonkeyPatch, value: str, seconds: float | None) -> None:
    """Seconds or an HTTP date (RFC 9110 section 10.2.3); what is neither is not there."""
    assert call(monkeypatch, Provider(answer(429, b"{}", f"Retry-After: {value}"))).retry_after == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_retry_after_as_a_date(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """All three forms of a date (RFC 9110 section 5.6.7)."""
    date = (datetime.now(UTC) + timedelta(seconds=600)).strftime(form)
    seen = call(monkeypatch, Provider(answer(503, b"{}", f"Retry-After: {date}"))).retry_after
    assert seen == pytest.approx(600, abs=60)


def test_what_is_kept_of_an_answer() -> None:
    kept = sanitize(Outcome("yes", 201, {"id": "pay_1"}))
    assert kept["response"] == {"status": 201, "reached": "yes", "body": {"id": "pay_1"}}
    large = sanitize(Outcome("yes", 201, {"id": "x" * 20_000}))
    assert large["response"]["body"] is None
    assert large["response_digest"] != kept["response_digest"]
    assert large["response_digest"].startswith("sha256:")
    assert sanitize(Outcome("maybe")) == {
        "response": {"status": None, "reached": "maybe", "body": None},
        "response_digest": None,
    }


def exchange(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> Tokens:
    async def make() -> Tokens:
        async with provider.listening(monkeypatch):
            grant = {"grant_type": "refresh_token", "refresh_token": "srt_1"}
            return await client.exchange(manifests()["sandbox_bank"].site("production"), grant)

    return asyncio.run(make())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"access_token":"a","refresh_token":"b","expires_in":60,"scope":"x y"}', Tokens("a", "b", 60, ["x", "y"])),
        (b'{"access_token":"a"}', Tokens("a", "srt_1", 300, None)),
        (b'{"access_token":"a","refresh_token":null,"expires_in":"90"}', Tokens("a", "srt_1", 90, None)),
        (b'{"access_token":"a","expires_in":-4}', Tokens("a", "srt_1", 300, None)),
        (b'{"access_token":"a","expires_in":1e400}', Tokens("a", "srt_1", 300, None)),
        (b'{"access_token":"a","expires_in":{}}', Tokens("a", "srt_1", 300, None)),
    ],
)
def test_tokens(monkeypatch: pytest.MonkeyPatch, body: bytes, expected: Tokens) -> None:
    provider = Provider(answer(200, body))
    assert exchange(monkeypatch, provider) == expected
    credentials = base64.b64encode(b"id:s%3Ae%2Fc%20ret")  # each part form-encoded first, RFC 6749 section 2.3.1
    assert b"Basic " + credentials in provider.requests[0]
    assert b"grant_type=refresh_token&refresh_token=srt_1" in provider.requests[0]


@pytest.mark.parametrize(
    ("raw", "code", "final"),
    [
        (answer(400, b'{"error":"invalid_grant"}'), "invalid_grant", True),
        (answer(401, b'{"error":"invalid_client"}'), "invalid_client", False),
        (answer(503, b"down"), "status 503", False),
        (answer(503, b"[1]"), "status 503", False),
        (answer(400, rb'{"error":"a\u0000b\ud800\u00e9"}'), "a?b??", False),
        (answer(400, b'{"error":' + b'"' + b"e" * 500 + b'"}'), "e" * 100, False),
        (answer(200, b"<html>"), "malformed", False),
        (answer(200, b"{}"), "malformed", False),
        (answer(200, b'{"access_token":7}'), "malformed", False),
        (answer(200, rb'{"access_token":"a\r\nX-Evil: 1"}'), "malformed", False),
        (b"", "unreachable", False),
    ],
)
def test_no_tokens(monkeypatch: pytest.MonkeyPatch, raw: bytes, code: str, final: bool) -> None:
    with pytest.raises(TokenError) as refused:
        exchange(monkeypatch, Provider(raw))
    assert (refused.value.code, refused.value.final) == (code, final)
    assert "srt_1" not in str(refused.value)


@pytest.mark.usefixtures("impatient")
def test_a_token_endpoint_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    with pytest.raises(TokenError, match="unreachable"):
        exchange(monkeypatch, Provider(b"", close=False))
    assert time.monotonic() - begun < TIMEOUT / 2


def test_tokens_are_not_shown() -> None:
    secrets: list[Any] = [Tokens("sat_1", "srt_1", 60, []), TokenError("invalid_grant")]
    assert "sat_1" not in repr(secrets)
    assert "srt_1" not in repr(secrets)


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_an_argument_that_would_name_another_operation_is_not_sent(segment: str) -> None:
    site = manifests()["sandbox_bank"].site("sandbox")
    contracts = {c.name: c for c in site.manifest.contracts()}
    with pytest.raises(client.UnsendableError):
        client.build(site, contracts["sandbox_bank.bills.get"], {"bill_id": segment}, None)
