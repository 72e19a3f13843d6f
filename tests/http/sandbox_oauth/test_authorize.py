"""The authorization endpoint and the person's pages."""

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sandbox.oauth.browser import ConsentError, walk_consent
from sandbox.oauth.people import person
from tests.http.sandbox_oauth.flows import REDIRECT, SECOND_REDIRECT, Sandbox

VERIFIER = "v" * 43
SCOPE = "accounts:read payments:read payments:write"


def _get(url: str) -> httpx.Response:
    return httpx.get(url, follow_redirects=False, timeout=60)


def _field(page: str, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert match is not None, page
    return match[1]


def _signed_in(bank: Sandbox, browser: httpx.Client) -> httpx.Response:
    """Sign in by hand and stop at the consent page."""
    page = browser.get(bank.authorize_url(SCOPE, VERIFIER))
    someone = person(bank.state, "bank")
    fields = {name: _field(page.text, name) for name in ("request", "csrf")}
    fields |= {"username": someone.username, "password": someone.password}
    answer = browser.post(f"{bank.url}/oauth/sign-in", data=fields)
    assert answer.status_code == 303
    return browser.get(f"{bank.url}{answer.headers['location']}")


def test_consent_returns_code_state_and_issuer(bank: Sandbox) -> None:
    back = bank.walk(bank.authorize_url(SCOPE, VERIFIER))
    assert back.keys() == {"code", "state", "iss"}
    assert back["state"] == "st-1"
    assert back["iss"] == bank.url


def test_a_registered_redirect_uri_keeps_its_query(bank: Sandbox) -> None:
    back = bank.walk(bank.authorize_url(SCOPE, VERIFIER, redirect_uri=SECOND_REDIRECT))
    assert back["tenant"] == "7"
    assert "code" in back


def test_deny_returns_access_denied(bank: Sandbox) -> None:
    back = bank.walk(bank.authorize_url(SCOPE, VERIFIER), allow=False)
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "st-1", bank.url)
    assert "code" not in back


def test_consent_to_nothing_is_a_denial(bank: Sandbox) -> None:
    assert bank.walk(bank.authorize_url(SCOPE, VERIFIER), scopes=[])["error"] == "access_denied"


def test_the_person_can_narrow_the_scopes(bank: Sandbox) -> None:
    back = bank.walk(bank.authorize_url(SCOPE, VERIFIER), scopes=["accounts:read", "refunds:write"])
    answer = bank.redeem(back["code"], VERIFIER)
    assert answer.json()["scope"] == "accounts:read", "a scope that was not asked for cannot be added"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "somebody-else"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": REDIRECT + "?x=1"},
        {"redirect_uri": REDIRECT.replace("127.0.0.1", "evil.example")},
        {"redirect_uri": SECOND_REDIRECT.removesuffix("7")},
    ],
)
def test_a_wrong_client_or_redirect_uri_is_never_redirected_to(bank: Sandbox, changes: dict[str, str | None]) -> None:
    answer = _get(bank.authorize_url(SCOPE, VERIFIER, **changes))
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_doubled_parameter_is_refused(bank: Sandbox) -> None:
    answer = _get(bank.authorize_url(SCOPE, VERIFIER) + "&redirect_uri=https%3A%2F%2Fevil.example")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "accounts:read everything"}, "invalid_scope"),
    ],
)
def test_other_errors_go_back_to_the_client(bank: Sandbox, changes: dict[str, str | None], error: str) -> None:
    answer = _get(bank.authorize_url(SCOPE, VERIFIER, **changes))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(REDIRECT)
    back = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (back["error"], back["state"], back["iss"]) == ([error], ["st-1"], [bank.url])


def test_a_wrong_password_gives_an_error_page(bank: Sandbox) -> None:
    with pytest.raises(ConsentError, match="wrong") as raised:
        walk_consent(bank.authorize_url(SCOPE, VERIFIER), person(bank.state, "bank").username, "guess")
    assert raised.value.status == 401


def test_guessing_passwords_closes_the_request(bank: Sandbox) -> None:
    someone = person(bank.state, "bank")
    with httpx.Client(timeout=60) as browser:
        page = browser.get(bank.authorize_url(SCOPE, VERIFIER))
        fields = {name: _field(page.text, name) for name in ("request", "csrf")} | {"username": someone.username}
        statuses = [
            browser.post(f"{bank.url}/oauth/sign-in", data=fields | {"password": "guess"}).status_code for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 401, 403]
        right = browser.post(f"{bank.url}/oauth/sign-in", data=fields | {"password": someone.password})
        assert right.status_code == 403


def test_pages_cannot_be_framed_or_scripted_and_show_scopes_in_words(bank: Sandbox) -> None:
    with httpx.Client(timeout=60) as browser:
        page = _signed_in(bank, browser)
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:9;" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "Countersign asks for access" in page.text
    assert "Pay money from your accounts" in page.text


def test_consent_needs_the_csrf_token_and_the_same_browser(bank: Sandbox) -> None:
    with httpx.Client(timeout=60) as browser, httpx.Client(timeout=60) as other:
        page = _signed_in(bank, browser)
        request, csrf = _field(page.text, "request"), _field(page.text, "csrf")
        consent = {"decision": "allow", "scope": "accounts:read", "request": request}
        url = f"{bank.url}/oauth/consent"
        _signed_in(bank, other)
        assert browser.post(url, data=consent).status_code == 403
        assert browser.post(url, data=consent | {"csrf": "0" * 64}).status_code == 403
        assert other.post(url, data=consent | {"csrf": csrf}).status_code == 403
        allowed = browser.post(url, data=consent | {"csrf": csrf})
        assert allowed.headers["location"].startswith(f"{REDIRECT}?code=")
        assert browser.post(url, data=consent | {"csrf": csrf}).status_code == 403, "one consent, one code"


def test_signing_in_changes_the_session_cookie(bank: Sandbox) -> None:
    with httpx.Client(timeout=60) as browser:
        browser.get(bank.authorize_url(SCOPE, VERIFIER))
        before = browser.cookies["sandbox_bank_session"]
        _signed_in(bank, browser)
        assert browser.cookies["sandbox_bank_session"] != before
        page = browser.get(bank.authorize_url(SCOPE, VERIFIER))
        assert 'value="allow"' in page.text, "signed in already: straight to consent"
