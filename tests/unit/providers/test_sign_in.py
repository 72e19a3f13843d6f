"""Tokens, revocation and accounts, by every way in which providers differ: over real sockets."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qs

import pytest

from api.providers import client
from api.providers.client import AccountError, TokenError, Tokens
from api.providers.manifest import Manifest
from api.providers.site import Site
from tests.unit.execution.conftest import Provider, answer
from tests.unit.providers.acme import VALUES

T = TypeVar("T")
CODE = {"grant_type": "authorization_code", "code": "c-1"}
REFRESH = {"grant_type": "refresh_token", "refresh_token": "r-1"}
TOKEN = {"ok": True, "access_token": "a-1", "refresh_token": "r-1", "files_url": "https://eu1.files.acme.test"}


def at(
    monkeypatch: pytest.MonkeyPatch, site: Site, provider: Provider, work: Callable[[Site], Coroutine[Any, Any, T]]
) -> T:
    """Does something at a provider that answers as told, whichever of its addresses is called."""

    async def done() -> T:
        async with provider.listening(monkeypatch) as url:
            hosts = ("login.acme.test", "bright.acme.test", "eu1.files.acme.test")
            monkeypatch.setenv("COUNTERSIGN_PROVIDER_ORIGINS", json.dumps({f"https://{host}": url for host in hosts}))
            return await work(site)

    return asyncio.run(done())


def exchanged(monkeypatch: pytest.MonkeyPatch, site: Site, body: Any, grant: dict[str, str] = CODE) -> Tokens:
    provider = Provider(answer(200, json.dumps(body).encode()))
    return at(monkeypatch, site, provider, lambda there: client.exchange(there, grant))


def with_oauth(site: Site, **changes: Any) -> Site:
    manifest = site.manifest
    scopes = manifest.oauth.scopes.model_copy(update=changes.pop("scopes", {}))
    oauth = manifest.oauth.model_copy(update=changes | {"scopes": scopes})
    return Site(manifest.model_copy(update={"oauth": oauth}), site.environment, site.values)


def sent(provider: Provider) -> tuple[str, dict[str, str], str]:
    """The request line, the headers and the body that arrived."""
    head, _, body = provider.requests[0].decode("latin-1").partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    return line, {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in headers)}, body


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("style", "authorization", "fields"),
    [
        ("client_secret_basic", basic("id%20of%20ACME", "s%3Ae%2Fc%20ret"), {}),
        ("client_secret_post", None, {"client_id": ["id of ACME"], "client_secret": ["s:e/c ret"]}),
        ("secret_as_username", basic("s:e/c ret", ""), {}),
    ],
)
def test_the_client_authenticates_as_the_provider_wants(
    monkeypatch: pytest.MonkeyPatch, site: Site, style: str, authorization: str | None, fields: dict[str, list[str]]
) -> None:
    provider = Provider(answer(200, json.dumps(TOKEN).encode()))
    there = with_oauth(site, client_authentication=style)
    at(monkeypatch, there, provider, lambda it: client.exchange(it, CODE))
    line, headers, body = sent(provider)
    assert line == "POST /token HTTP/1.1"
    assert headers.get("authorization") == authorization
    assert headers["accept"] == "application/json"
    asked = {"grant_type": ["authorization_code"], "code": ["c-1"], "audience": ["acme"]}
    assert parse_qs(body) == asked | fields


def test_a_token_endpoint_that_wants_json(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    provider = Provider(answer(200, json.dumps(TOKEN).encode()))
    at(monkeypatch, with_oauth(site, token_body="json"), provider, lambda it: client.exchange(it, REFRESH))
    body = json.loads(sent(provider)[2])
    assert body == REFRESH | {"audience": "acme", "client_id": "id of ACME", "client_secret": "s:e/c ret"}


@pytest.mark.parametrize(
    ("scopes", "told", "granted"),
    [
        ({}, {"granted": {"scopes": ["bills.read", "oauth"]}}, ["bills.read"]),
        ({}, {"granted": {"scopes": "bills.read,oauth bills.write"}}, ["bills.read", "bills.write"]),
        ({}, {"granted": {"scopes": ["oauth"]}}, []),
        ({}, {"granted": {"scopes": ""}}, None),
        ({}, {"granted": {"scopes": []}}, None),
        ({}, {"scope": "bills.read"}, None),
        ({"at": "/scope"}, {"scope": "bills.read"}, ["bills.read"]),
        ({"reported": False}, {"granted": {"scopes": ["other"]}}, None),
    ],
)
def test_what_was_granted(
    monkeypatch: pytest.MonkeyPatch, site: Site, scopes: dict[str, Any], told: Any, granted: list[str] | None
) -> None:
    assert exchanged(monkeypatch, with_oauth(site, scopes=scopes), TOKEN | told).scopes == granted


def test_how_long_tokens_last(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    told = exchanged(monkeypatch, site, TOKEN | {"expires_in": 60, "refresh_life": "8726400"})
    assert (told.expires_in, told.refresh_expires_in) == (60, 8_726_400)
    untold = exchanged(monkeypatch, site, TOKEN)
    assert (untold.expires_in, untold.refresh_expires_in) == (1800, None)
    endless = exchanged(monkeypatch, with_oauth(site, never_expires=True), TOKEN | {"expires_in": 60})
    assert endless.expires_in is None


def test_ids_that_come_with_the_tokens(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    assert exchanged(monkeypatch, site, TOKEN).kept == {"files_url": "https://eu1.files.acme.test"}
    again = {name: value for name, value in TOKEN.items() if name != "files_url"}
    assert exchanged(monkeypatch, site, again, REFRESH).kept == {}
    with pytest.raises(TokenError, match="malformed"):
        exchanged(monkeypatch, site, again)


@pytest.mark.parametrize("grant", [CODE, REFRESH])
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test",
        "https://evil.test/.files.acme.test",
        "http://eu1.files.acme.test",
        "https://eu1.files.acme.test\n",
    ],
)
def test_an_id_that_is_none_of_the_providers_ends_the_sign_in(
    monkeypatch: pytest.MonkeyPatch, site: Site, url: str, grant: dict[str, str]
) -> None:
    with pytest.raises(TokenError) as refused:
        exchanged(monkeypatch, site, TOKEN | {"files_url": url}, grant)
    assert (refused.value.code, refused.value.final) == ("malformed", False)


def test_an_id_in_the_claims_of_the_token(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    account = site.manifest.account
    assert account is not None
    keep = {
        "event": account.keep["files_url"].model_copy(
            update={"source": "claims", "at": "/event", "pattern": "^[0-9]+$"}
        )
    }
    manifest = site.manifest.model_copy(update={"account": account.model_copy(update={"keep": keep})})
    there = Site(manifest, "production", {"subdomain": "bright"})
    payload = base64.urlsafe_b64encode(b'{"event":4711}').decode().rstrip("=")
    assert exchanged(monkeypatch, there, TOKEN | {"access_token": f"h.{payload}.s"}).kept == {"event": "4711"}
    for token in ("a-1", "h.!!!.s", "h..s", f"h.{payload[:-2]}.s"):
        with pytest.raises(TokenError, match="malformed"):
            exchanged(monkeypatch, there, TOKEN | {"access_token": token})


@pytest.mark.parametrize(
    ("status", "body", "code", "final"),
    [
        (200, {"ok": False, "error": "token_revoked"}, "token_revoked", True),
        (200, {"ok": False, "error": {"code": "bad_client"}}, "bad_client", False),
        (200, {"ok": False}, "status 200", False),
        (400, {"error": "invalid_grant"}, "invalid_grant", True),
        (400, {"error": {"code": "token_revoked"}}, "token_revoked", True),
        (500, {"error": "server_error"}, "server_error", False),
    ],
)
def test_a_refusal_of_tokens(
    monkeypatch: pytest.MonkeyPatch, site: Site, status: int, body: Any, code: str, final: bool
) -> None:
    provider = Provider(answer(status, json.dumps(body).encode()))
    with pytest.raises(TokenError) as refused:
        at(monkeypatch, site, provider, lambda there: client.exchange(there, REFRESH))
    assert (refused.value.code, refused.value.final) == (code, final)


REVOKE: dict[str, Any] = {
    "url": "{auth}/revoke",
    "method": "POST",
    "token": "refresh_token",
    "client_authentication": True,
}


@pytest.mark.parametrize(
    ("how", "line", "authorization", "body"),
    [
        ({"send": "form"}, "POST /revoke", "basic", "token=r-1"),
        ({"send": "json", "token": "access_token"}, "POST /revoke", "basic", '{"token":"a-1"}'),
        ({"send": "form", "client_authentication": False}, "POST /revoke", None, "token=r-1"),
        ({"send": "bearer", "token": "access_token"}, "POST /revoke", "Bearer a-1", ""),
        ({"send": "bearer", "method": "GET"}, "GET /revoke", "Bearer r-1", ""),
        ({"send": "path", "url": "{auth}/tokens/{token}", "method": "DELETE"}, "DELETE /tokens/r-1", "basic", ""),
    ],
)
def test_ways_to_end_a_grant(
    monkeypatch: pytest.MonkeyPatch, site: Site, how: dict[str, Any], line: str, authorization: str | None, body: str
) -> None:
    assert site.manifest.oauth.revoke is not None
    revoke = site.manifest.oauth.revoke.model_copy(update=REVOKE | how)
    there = with_oauth(site, revoke=revoke, client_authentication="client_secret_basic")
    provider = Provider(answer(204))
    tokens = {"access_token": "a-1", "refresh_token": "r-1"}
    assert at(monkeypatch, there, provider, lambda it: client.revoke(it, tokens)) == "confirmed"
    got, headers, content = sent(provider)
    assert got == f"{line} HTTP/1.1"
    assert content == body
    expected = basic("id%20of%20ACME", "s%3Ae%2Fc%20ret") if authorization == "basic" else authorization
    assert headers.get("authorization") == expected


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (answer(200, b'{"ok": true}'), "confirmed"),
        (answer(200), "confirmed"),
        (answer(200, b'{"ok": false, "error": {"code": "invalid_auth"}}'), "failed"),
        (answer(400, b'{"error": "x"}'), "failed"),
        (answer(302), "failed"),
        (b"", "failed"),
    ],
)
def test_whether_the_provider_confirmed(monkeypatch: pytest.MonkeyPatch, site: Site, raw: bytes, said: str) -> None:
    tokens = {"access_token": "a-1", "refresh_token": ""}
    assert at(monkeypatch, site, Provider(raw), lambda it: client.revoke(it, tokens)) == said


def test_a_provider_without_a_way_to_end_a_grant(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    there = with_oauth(site, revoke=None)
    assert at(monkeypatch, there, Provider(), lambda it: client.revoke(it, {"access_token": "a"})) == "unsupported"


def test_what_cannot_be_sent_was_not_confirmed(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    assert at(monkeypatch, site, Provider(), lambda it: client.revoke(it, {})) == "failed"
    monkeypatch.delenv("ACME_CLIENT_ID")
    assert at(monkeypatch, site, Provider(), lambda it: client.revoke(it, {"access_token": "a"})) == "failed"


def account(monkeypatch: pytest.MonkeyPatch, acme: Manifest, callback: dict[str, str], body: Any) -> client.Account:
    tokens = Tokens("a-1", "r-1", 60, None, kept={"files_url": VALUES["files_url"]})
    said = {"subdomain": "bright", "base_currency": "EUR"}
    provider = Provider(answer(200, json.dumps(body).encode()))
    found = at(monkeypatch, acme.site("production", said), provider, lambda it: client.account_of(it, callback, tokens))
    line, headers, _ = sent(provider)
    assert (line, headers["authorization"]) == ("GET /v2/companies/4620 HTTP/1.1", "Bearer a-1")
    return found


def test_which_account_it_was(monkeypatch: pytest.MonkeyPatch, acme: Manifest) -> None:
    found = account(monkeypatch, acme, {"companyId": "4620"}, {"ok": True, "company": {"name": "Bright & Co"}})
    kept = {"company_id": "4620", "files_url": VALUES["files_url"], "company": "Bright & Co"}
    assert found == client.Account("4620", "Bright & Co (bright)", kept)
    assert acme.site("production", VALUES | found.values).values == VALUES | found.values


def test_a_name_that_does_not_come_is_replaced_by_the_id(monkeypatch: pytest.MonkeyPatch, acme: Manifest) -> None:
    found = account(monkeypatch, acme, {"companyId": "4620"}, {"ok": True})
    assert (found.id, found.label) == ("4620", "4620")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0b", "\ud800"])
def test_a_lookup_that_says_something_impossible(monkeypatch: pytest.MonkeyPatch, acme: Manifest, name: str) -> None:
    with pytest.raises(AccountError):
        account(monkeypatch, acme, {"companyId": "4620"}, {"ok": True, "company": {"name": name}})


def test_a_lookup_that_is_refused_says_nothing(monkeypatch: pytest.MonkeyPatch, acme: Manifest) -> None:
    refused = {"ok": False, "company": {"name": "Somebody else"}}
    assert account(monkeypatch, acme, {"companyId": "4620"}, refused).label == "4620"


@pytest.mark.parametrize(
    "callback", [{}, {"companyId": ""}, {"companyId": "4620/../1"}, {"companyId": "1\n"}, {"companyId": "1" * 21}]
)
def test_a_callback_without_its_id_ends_the_sign_in(acme: Manifest, callback: dict[str, str]) -> None:
    tokens = Tokens("a-1", None, 60, None, kept={"files_url": VALUES["files_url"]})
    with pytest.raises(AccountError):
        asyncio.run(client.account_of(acme.site("production", {"subdomain": "bright"}), callback, tokens))


def test_several_accounts_are_none(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    account = site.manifest.account
    assert account is not None
    keep = {"org": account.keep["files_url"].model_copy(update={"at": "/orgs/*/id", "pattern": "^[a-z]$"})}
    manifest = site.manifest.model_copy(update={"account": account.model_copy(update={"keep": keep})})
    there = Site(manifest, "production", {"subdomain": "bright"})
    assert exchanged(monkeypatch, there, TOKEN | {"orgs": [{"id": "a"}, {"id": "a"}]}).kept == {"org": "a"}
    for orgs in ([{"id": "a"}, {"id": "b"}], []):
        with pytest.raises(TokenError, match="malformed"):
            exchanged(monkeypatch, there, TOKEN | {"orgs": orgs})


def test_no_cookie_goes_from_one_connection_to_another(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    provider = Provider(answer(200, json.dumps(TOKEN).encode(), "Set-Cookie: session=tenant-a; Path=/"))

    async def twice(there: Site) -> None:
        await client.exchange(there, CODE)
        await client.exchange(there, CODE)

    at(monkeypatch, site, provider, twice)
    assert len(provider.requests) == 2
    assert b"cookie" not in provider.requests[1].lower()


def test_a_token_answer_without_end_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    with pytest.raises(TokenError, match="malformed"):
        exchanged(monkeypatch, site, TOKEN | {"padding": "x" * 1_000_000})
