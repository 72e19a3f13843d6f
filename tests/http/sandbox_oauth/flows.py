"""Playing the client of a sandbox server: from the authorization request to an HTTP client with a token."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from sandbox.oauth.browser import walk_consent
from sandbox.oauth.clients import client
from sandbox.oauth.files import admin_token
from sandbox.oauth.grants import s256
from sandbox.oauth.people import person
from sandbox.oauth.serving import CreateApp, serving

REDIRECT = "http://127.0.0.1:9/oauth/callback"
SECOND_REDIRECT = "https://client.example/callback?tenant=7"

# One for all tests: to make a client costs more than most calls here.
HTTP = httpx.Client(timeout=60, trust_env=False)


@dataclass(frozen=True)
class Sandbox:
    """A running server and what its registered client knows."""

    name: str
    url: str
    state: Path

    @property
    def client(self) -> tuple[str, str]:
        return client(self.state, self.name)

    def authorize_url(self, scope: str, verifier: str, /, **changes: str | None) -> str:
        """A good authorization request, with `changes`; None leaves a parameter out."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client[0],
            "redirect_uri": REDIRECT,
            "scope": scope,
            "state": "st-1",
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
        }
        asked.update(changes)
        given = {name: value for name, value in asked.items() if value is not None}
        return f"{self.url}/oauth/authorize?{urlencode(given)}"

    def walk(self, authorize_url: str, **choices: Any) -> dict[str, str]:
        """Let the seeded person go through it; the parameters that come back to the client."""
        someone = person(self.state, self.name)
        back = walk_consent(authorize_url, someone.username, someone.password, **choices)
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    def code(self, scope: str, verifier: str, **choices: Any) -> str:
        return self.walk(self.authorize_url(scope, verifier), **choices)["code"]

    def token(self, **fields: str) -> httpx.Response:
        """Call the token endpoint with HTTP Basic."""
        return HTTP.post(f"{self.url}/oauth/token", data=fields, auth=self.client)

    def redeem(self, code: str, verifier: str, /, **changes: str) -> httpx.Response:
        fields = {"grant_type": "authorization_code", "redirect_uri": REDIRECT}
        return self.token(**(fields | {"code": code, "code_verifier": verifier} | changes))

    def refresh(self, refresh_token: str, /, **changes: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **changes)

    def tokens(self, scope: str) -> dict[str, Any]:
        """The whole flow: the token endpoint's answer."""
        verifier = secrets.token_urlsafe(48)
        answer = self.redeem(self.code(scope, verifier), verifier)
        assert answer.status_code == 200, answer.text
        issued: dict[str, Any] = answer.json()
        return issued

    def whoami(self, access_token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return HTTP.get(f"{self.url}/v1/whoami", headers=headers)

    def api(self, scope: str) -> httpx.Client:
        """An HTTP client with an access token for `scope`."""
        headers = {"Authorization": f"Bearer {self.tokens(scope)['access_token']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def check_scope(self, scopes: Iterable[str], calls: list[tuple[str, str, str, dict[str, Any] | None]]) -> None:
        """Each call `(method, path, scope, body)` is refused with every scope but its own, served with it."""
        known = set(scopes)
        issued = self.tokens(" ".join(known))
        for number, (method, path, scope, body) in enumerate(calls):
            headers = {"Idempotency-Key": f"scope-{number}"}
            assert HTTP.request(method, self.url + path, json=body, headers=headers).status_code == 401

            issued = self.refresh(issued["refresh_token"], scope=" ".join(known - {scope})).json()
            headers["Authorization"] = f"Bearer {issued['access_token']}"
            refused = HTTP.request(method, self.url + path, json=body, headers=headers)
            assert refused.status_code == 403, (method, path)
            challenge = refused.headers["www-authenticate"]
            assert f'error="insufficient_scope", scope="{scope}"' in challenge

            issued = self.refresh(issued["refresh_token"], scope=scope).json()
            headers["Authorization"] = f"Bearer {issued['access_token']}"
            served = HTTP.request(method, self.url + path, json=body, headers=headers)
            assert served.status_code in (200, 201), (method, path, served.text)

    def admin(self) -> httpx.Client:
        headers = {"X-Sandbox-Admin": admin_token(self.state, self.name)}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


@contextmanager
def running(name: str, create_app: CreateApp, state: Path, *, access_seconds: int = 300) -> Iterator[Sandbox]:
    with serving(create_app, state, [REDIRECT, SECOND_REDIRECT], access_seconds=access_seconds) as url:
        yield Sandbox(name, url, state)
