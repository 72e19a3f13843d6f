"""A provider that does whatever a test tells it to: an OAuth server and a bank with one list of bills, on 127.0.0.1.

Left alone it behaves: every exchange issues new tokens, the old refresh token ends, and calls with a live access token
are answered. What it was asked is kept in `journal`.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from sandbox.organisation import Organisation, ok

BILLS = "sandbox_bank.bills.list"


@dataclass(frozen=True)
class Answer:
    """What a request is answered: after `delay` seconds, `body` repeated `times`; status 0 hangs up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    times: int = 1

    @property
    def content(self) -> bytes:
        body = self.body
        return body if isinstance(body, bytes) else json.dumps(body).encode()


Told = Answer | Callable[[dict[str, str]], Answer]


@dataclass
class Hostile:
    """The provider. `told[operation]` answers instead of it: token, revoke, whoami or bills.

    ends_grants: it knows one grant for each account, and revoking a token ends all of them.
    """

    url: str = ""
    scope: str = ""
    account: str = "brightwater"
    expires_in: Any = 300
    ends_grants: bool = False
    told: dict[str, Told] = field(default_factory=dict)
    journal: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    refreshable: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def behave(self) -> None:
        """Forgets what it was told, and what it was asked."""
        self.told.clear()
        self.journal.clear()
        self.account, self.expires_in, self.ends_grants = "brightwater", 300, False

    def asked(self, operation: str) -> list[dict[str, str]]:
        return [form for name, form in self.journal if name == operation]

    def refreshes(self) -> int:
        """How many exchanges of a refresh token it was asked for."""
        return len([form for form in self.asked("token") if form.get("grant_type") == "refresh_token"])

    def end_access(self) -> None:
        """Every access token ends at once, whatever was said of its life."""
        self.live.clear()

    def tokens(self, **changes: Any) -> dict[str, Any]:
        """A token answer as it should be, with changes; None leaves a member out."""
        access, refresh = f"at-{secrets.token_hex(8)}", f"rt-{secrets.token_hex(8)}"
        self.issued += [access, refresh]
        self.live.add(access)
        self.refreshable.add(refresh)
        answer = {
            "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "scope": self.scope,
            "expires_in": self.expires_in,
        } | changes  # fmt: skip
        return {name: value for name, value in answer.items() if value is not None}

    def answer(self, operation: str, asked: dict[str, str]) -> Answer:
        with self.lock:
            self.journal.append((operation, asked))
            told = self.told.get(operation)
            if callable(told):
                return told(asked)
            if told is not None:
                return told
            return self._well_behaved(operation, asked)

    def _well_behaved(self, operation: str, asked: dict[str, str]) -> Answer:
        if operation == "token":
            if asked.get("grant_type") == "refresh_token":
                if asked["refresh_token"] not in self.refreshable:
                    return Answer(400, {"error": "invalid_grant"})
                self.refreshable.discard(asked["refresh_token"])
            return Answer(200, self.tokens())
        if operation == "revoke":
            self.refreshable.discard(asked.get("token", ""))
            if self.ends_grants:
                self.refreshable.clear()
                self.live.clear()
            return Answer(200, {})
        if asked.get("bearer") not in self.live:
            return Answer(401, {"error": "invalid_token"})
        if operation == "whoami":
            return Answer(200, {"account_id": self.account, "account_name": "Brightwater Goods BV"})
        return Answer(200, {"bills": []})


#: Longer than anybody waits: a provider that hangs.
HANGS = 30.0


class _Handler(BaseHTTPRequestHandler):
    provider: Hostile
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._reply({})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        self._reply({name: values[0] for name, values in parse_qs(content).items()})

    def _reply(self, asked: dict[str, str]) -> None:
        operation = urlsplit(self.path).path.rsplit("/", 1)[1]
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        answer = self.provider.answer(operation, asked | {"bearer": bearer})
        time.sleep(answer.delay)
        if answer.status == 0:
            self.close_connection = True
            return
        try:
            self.send_response(answer.status)
            for name, value in ({"content-type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            for _ in range(answer.times):
                self.wfile.write(answer.content)
        except OSError:
            pass  # whoever asked has heard enough


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # whoever finds the queue full is not refused, but tries again a second later


@contextmanager
def hostile_provider() -> Iterator[Hostile]:
    provider = Hostile()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()


def reading(organisation: Organisation) -> dict[str, Any]:
    """An access spec that reads bills and nothing else."""
    return {
        "purpose": "Read bills",
        "owner": organisation.owner.email,
        "escalation_contact": organisation.approver.email,
        "stage": "autonomous",
        "connections": organisation.bindings(),
        "tools": {BILLS: {"access": "read", "read_fields": ["/bills/*/id"]}},
        "data_classes": ["financial", "internal"],
    }


def begin(
    organisation: Organisation, provider: Hostile, access: str = "read", name: str = "sandbox_bank"
) -> dict[str, Any]:
    """Starts a sign-in at the hostile provider, which from now on grants what is asked for."""
    body = {"provider": name, "environment": "sandbox", "access": access}
    started: dict[str, Any] = ok(organisation.owner.api.post("/v1/connections", json=body))
    provider.scope = parse_qs(urlsplit(started["authorize_url"]).query)["scope"][0]
    return started


def come_back(organisation: Organisation, provider: Hostile, started: dict[str, Any], **changes: Any) -> httpx.Response:
    """The browser's return from the provider, with a code; None leaves a parameter out."""
    sent = {name: values[0] for name, values in parse_qs(urlsplit(started["authorize_url"]).query).items()}
    state, path = sent["state"], urlsplit(sent["redirect_uri"]).path
    answer = {"state": state, "code": "a-code", "iss": provider.url} | changes
    query = urlencode({name: value for name, value in answer.items() if value is not None})
    return organisation.owner.api.get(f"{path}?{query}")


def connect(organisation: Organisation, provider: Hostile, access: str = "read", name: str = "sandbox_bank") -> str:
    """A connection to the hostile provider, which behaves while it is made."""
    started = begin(organisation, provider, access, name)
    page = come_back(organisation, provider, started)
    assert page.status_code == 200, page.text
    organisation.connections[f"{name}/{access}"] = started["id"]
    return str(started["id"])
