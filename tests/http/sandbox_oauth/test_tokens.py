"""Codes, tokens, rotation, revocation, introspection."""

import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sandbox.bank.app import create_app
from sandbox.oauth.clients import client
from sandbox.oauth.people import person
from tests.http.sandbox_oauth.flows import SECOND_REDIRECT, Sandbox, running

VERIFIER = "w" * 50
SCOPE = "accounts:read payments:read"


def _error(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["error"]


def _sql(bank: Sandbox, statement: str) -> None:
    connection = sqlite3.connect(bank.state / "sandbox_bank.sqlite3", timeout=30)
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_the_whole_flow(bank: Sandbox) -> None:
    answer = bank.redeem(bank.code(SCOPE, VERIFIER), VERIFIER)
    assert answer.headers["cache-control"] == "no-store"
    issued = answer.json()
    assert (issued["token_type"], issued["expires_in"], issued["scope"]) == ("Bearer", 300, SCOPE)
    account = bank.whoami(issued["access_token"])
    assert account.json() == {"account_id": "brightwater", "account_name": "Brightwater Goods BV"}


def test_metadata_names_endpoints_that_exist(bank: Sandbox) -> None:
    told = httpx.get(f"{bank.url}/.well-known/oauth-authorization-server").json()
    assert told["issuer"] == bank.url
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["authorization_response_iss_parameter_supported"] is True
    assert httpx.get(told["authorization_endpoint"]).status_code == 400
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
        assert httpx.post(told[name], data={"token": "x"}).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "x" * 50},
        {"code_verifier": "w" * 42},
        {"redirect_uri": SECOND_REDIRECT},
        {"redirect_uri": "https://evil.example"},
        {"code": "made-up"},
    ],
)
def test_a_code_works_only_with_its_verifier_and_redirect_uri(bank: Sandbox, changes: dict[str, str]) -> None:
    code = bank.code(SCOPE, VERIFIER)
    assert _error(bank.redeem(code, VERIFIER, **changes)) == (400, "invalid_grant")


@pytest.mark.parametrize("missing", ["code", "code_verifier", "redirect_uri", "grant_type"])
def test_a_missing_parameter_is_an_invalid_request(bank: Sandbox, missing: str) -> None:
    assert _error(bank.redeem("c", VERIFIER, **{missing: ""})) == (400, "invalid_request")


def test_an_expired_code_is_refused(bank: Sandbox) -> None:
    code = bank.code(SCOPE, VERIFIER)
    _sql(bank, "update oauth_codes set expires_at = 0 where used_at is null")
    assert _error(bank.redeem(code, VERIFIER)) == (400, "invalid_grant")


def test_a_code_lives_sixty_seconds(bank: Sandbox) -> None:
    bank.code(SCOPE, VERIFIER)
    connection = sqlite3.connect(bank.state / "sandbox_bank.sqlite3", timeout=30)
    (expires,) = connection.execute("select max(expires_at) from oauth_codes").fetchone()
    connection.close()
    assert 50 < expires - time.time() <= 61


def test_reusing_a_code_revokes_what_it_gave(bank: Sandbox) -> None:
    code = bank.code(SCOPE, VERIFIER)
    first = bank.redeem(code, VERIFIER).json()
    assert bank.whoami(first["access_token"]).status_code == 200
    assert _error(bank.redeem(code, VERIFIER)) == (400, "invalid_grant")
    assert bank.whoami(first["access_token"]).status_code == 401
    assert _error(bank.refresh(first["refresh_token"])) == (400, "invalid_grant")


def test_a_code_redeemed_many_times_at_once_gives_one_answer(bank: Sandbox) -> None:
    code = bank.code(SCOPE, VERIFIER)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: bank.redeem(code, VERIFIER).status_code, range(8)))
    assert sorted(answers) == [200] + [400] * 7


def test_refreshing_rotates_and_reuse_revokes_the_family(bank: Sandbox) -> None:
    first = bank.tokens(SCOPE)
    second = bank.refresh(first["refresh_token"]).json()
    third = bank.refresh(second["refresh_token"]).json()
    assert len({pair["refresh_token"] for pair in (first, second, third)}) == 3
    assert bank.whoami(third["access_token"]).status_code == 200
    assert _error(bank.refresh(first["refresh_token"])) == (400, "invalid_grant")
    for pair in (first, second, third):
        assert bank.whoami(pair["access_token"]).status_code == 401
    assert _error(bank.refresh(third["refresh_token"])) == (400, "invalid_grant")


def test_a_family_that_is_revoked_leaves_the_others_alone(bank: Sandbox) -> None:
    mine, other = bank.tokens(SCOPE), bank.tokens(SCOPE)
    bank.refresh(mine["refresh_token"])
    bank.refresh(mine["refresh_token"])
    assert bank.whoami(mine["access_token"]).status_code == 401
    assert bank.whoami(other["access_token"]).status_code == 200


def test_refreshing_can_narrow_but_not_widen(bank: Sandbox) -> None:
    first = bank.tokens(SCOPE)
    assert _error(bank.refresh(first["refresh_token"], scope="payments:write")) == (400, "invalid_scope")
    narrow = bank.refresh(first["refresh_token"], scope="accounts:read").json()
    assert narrow["scope"] == "accounts:read"
    headers = {"Authorization": f"Bearer {narrow['access_token']}"}
    assert httpx.get(f"{bank.url}/v1/payments", headers=headers).status_code == 403
    assert bank.refresh(narrow["refresh_token"]).json()["scope"] == SCOPE


def test_an_access_token_expires(tmp_path: Path) -> None:
    with running("bank", create_app, tmp_path, access_seconds=1) as bank:
        issued = bank.tokens(SCOPE)
        assert issued["expires_in"] == 1
        deadline = time.monotonic() + 30
        while (answer := bank.whoami(issued["access_token"])).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert bank.refresh(issued["refresh_token"]).status_code == 200


def test_revoking_an_access_token_ends_it_alone(bank: Sandbox) -> None:
    issued = bank.tokens(SCOPE)
    form = {"token": issued["access_token"], "token_type_hint": "access_token"}
    assert httpx.post(f"{bank.url}/oauth/revoke", data=form, auth=bank.client).status_code == 200
    assert bank.whoami(issued["access_token"]).status_code == 401
    assert bank.refresh(issued["refresh_token"]).status_code == 200


def test_revoking_a_refresh_token_ends_the_grant(bank: Sandbox) -> None:
    issued = bank.tokens(SCOPE)
    form = {"token": issued["refresh_token"]}
    assert httpx.post(f"{bank.url}/oauth/revoke", data=form).status_code == 401
    assert bank.whoami(issued["access_token"]).status_code == 200
    for _ in range(2):
        assert httpx.post(f"{bank.url}/oauth/revoke", data=form, auth=bank.client).status_code == 200
    assert bank.whoami(issued["access_token"]).status_code == 401
    assert _error(bank.refresh(issued["refresh_token"])) == (400, "invalid_grant")


def test_introspection_tells_live_from_dead(bank: Sandbox) -> None:
    issued = bank.tokens(SCOPE)
    url = f"{bank.url}/oauth/introspect"
    told = httpx.post(url, data={"token": issued["access_token"]}, auth=bank.client).json()
    assert told["active"] is True
    assert (told["scope"], told["iss"], told["client_id"]) == (SCOPE, bank.url, bank.client[0])
    assert 0 < told["exp"] - told["iat"] <= 300
    bank.refresh(issued["refresh_token"])
    used = httpx.post(url, data={"token": issued["refresh_token"]}, auth=bank.client).json()
    assert used == {"active": False}


def test_the_client_authenticates_by_header_or_form_but_not_both(bank: Sandbox) -> None:
    url, (client_id, secret) = f"{bank.url}/oauth/token", bank.client
    refresh = {"grant_type": "refresh_token", "refresh_token": bank.tokens(SCOPE)["refresh_token"]}
    posted = {"client_id": client_id, "client_secret": secret}
    both = httpx.post(url, data=refresh | posted, auth=bank.client)
    assert _error(both) == (400, "invalid_request")
    for wrong in (
        httpx.post(url, data=refresh),
        httpx.post(url, data=refresh, auth=(client_id, "guess")),
        httpx.post(url, data=refresh, auth=("guess", secret)),
        httpx.post(url, data=refresh | posted | {"client_secret": "guess"}),
        httpx.post(url, data=refresh, headers={"Authorization": "Basic %%%"}),
    ):
        assert _error(wrong) == (401, "invalid_client")
        assert wrong.headers["www-authenticate"].startswith("Basic ")
    assert httpx.post(url, data=refresh | posted).status_code == 200


def test_other_grants_and_bodies_are_refused(bank: Sandbox) -> None:
    assert _error(bank.token(grant_type="password")) == (400, "unsupported_grant_type")
    answer = httpx.post(f"{bank.url}/oauth/token", json={"grant_type": "refresh_token"}, auth=bank.client)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_calls_without_a_good_token_are_challenged(bank: Sandbox) -> None:
    bare = httpx.get(f"{bank.url}/v1/whoami")
    assert bare.status_code == 401
    assert bare.headers["www-authenticate"] == 'Bearer realm="sandbox bank"'
    unknown = bank.whoami("sat_made_up")
    assert unknown.status_code == 401
    assert 'error="invalid_token"' in unknown.headers["www-authenticate"]
    refresh_token = bank.tokens(SCOPE)["refresh_token"]
    assert bank.whoami(refresh_token).status_code == 401, "a refresh token opens no API"


def test_no_token_or_code_is_stored_in_clear(tmp_path: Path) -> None:
    with running("bank", create_app, tmp_path) as bank:
        code = bank.code(SCOPE, VERIFIER)
        issued = bank.redeem(code, VERIFIER).json()
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("sandbox_bank.sqlite3*"))
    assert b"Northwind" in stored, "this reads the real database"
    for secret in (code, issued["access_token"], issued["refresh_token"]):
        assert secret.encode() not in stored


def test_secrets_are_stable_random_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: client(tmp_path / "a", "bank"), range(16)))
    assert len(clients) == 1
    assert client(tmp_path / "b", "bank") not in clients
    assert client(tmp_path / "a", "crm") not in clients
    assert person(tmp_path / "a", "bank") == person(tmp_path / "a", "bank")
    assert person(tmp_path / "a", "bank").password != person(tmp_path / "b", "bank").password
    for path in (tmp_path / "a").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="no sandbox server"):
        client(tmp_path, "sandbox_bank")
