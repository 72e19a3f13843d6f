"""The certified server as a test sees it: started, walked through like a browser, and asked about tokens."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from sandbox.state import HOST
from tests.oidc.packages import installed, node

START_SECONDS = 60
#: Sign-in, consent, and the redirects between them.
STEPS = 12


@dataclass(frozen=True)
class Registration:
    """Our client at the server, and where the server listens."""

    port: int
    client_id: str
    client_secret: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True)
class Certified:
    """The running server. Every request that it got is a line of `log`."""

    registration: Registration
    log: Path
    access_seconds: int

    def _post(self, path: str, form: dict[str, str], client: tuple[str, str] | None = None) -> httpx.Response:
        name, secret = client or (self.registration.client_id, self.registration.client_secret)
        # Each part is form-encoded before they are joined (RFC 6749 section 2.3.1).
        auth = (quote(name, safe=""), quote(secret, safe=""))
        return httpx.post(self.registration.url + path, data=form, auth=auth, trust_env=False, timeout=30)

    def refresh(self, refresh_token: str, client: tuple[str, str] | None = None) -> httpx.Response:
        """What somebody gets for a refresh token, who knows our client's secret or guesses one."""
        return self._post("/token", {"grant_type": "refresh_token", "refresh_token": refresh_token}, client)

    def knows(self, token: str) -> bool:
        """Whether a token is in force (RFC 7662)."""
        answer = self._post("/token/introspection", {"token": token})
        answer.raise_for_status()
        return bool(answer.json()["active"])

    def userinfo(self, access_token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return httpx.get(f"{self.registration.url}/me", headers=headers, trust_env=False, timeout=30)

    @contextmanager
    def life(self, seconds: int) -> Iterator[None]:
        """Access tokens that are issued meanwhile live so long."""
        self._live(seconds)
        try:
            yield
        finally:
            self._live(self.access_seconds)

    def _live(self, seconds: int) -> None:
        httpx.put(f"{self.registration.url}/life/{seconds}", trust_env=False, timeout=30).raise_for_status()

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        """What the server says happened, oldest first."""
        entries = httpx.get(f"{self.registration.url}/journal", trust_env=False, timeout=30).json()
        return [entry for entry in entries if event in (None, entry["event"])]


class _Form(HTMLParser):
    """Where the first form of a page goes, and the fields that come filled in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given["action"]
        elif tag == "input" and given.get("type") == "hidden":
            self.fields[given["name"]] = given["value"]


def walk(authorize_url: str, redirect_uri: str, login: str = "brightwater", *, allow: bool = True) -> str:
    """Signs in on the server's own pages and consents, or cancels there; answers where the browser is sent back to."""
    with httpx.Client(follow_redirects=False, trust_env=False, timeout=30) as browser:
        answer = browser.get(authorize_url)
        for _ in range(STEPS):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.split("?")[0] == redirect_uri:
                    return target
                answer = browser.get(target)
                continue
            assert answer.status_code == 200, answer.text
            form = _Form(answer.text)
            if form.fields["prompt"] == "login":
                answer = browser.post(form.action, data=form.fields | {"login": login, "password": "any"})
            elif allow:
                answer = browser.post(form.action, data=form.fields)
            else:
                answer = browser.get(f"{form.action}/abort")
    raise AssertionError(f"no way back after {STEPS} pages")


@contextmanager
def serving(registration: Registration, redirect_uri: str, log: Path, *, access_seconds: int) -> Iterator[Certified]:
    """Runs the server; it ends with this process, however that ends."""
    folder = installed()
    settings = {
        "port": registration.port,
        "client_id": registration.client_id,
        "client_secret": registration.client_secret,
        "redirect_uri": redirect_uri,
        "access_seconds": access_seconds,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node(), "server.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
    assert process.stdin
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        _await_ready(process, log)
        yield Certified(registration, log, access_seconds)
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(timeout=60)


def _await_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while b"ready" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the certified server did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
