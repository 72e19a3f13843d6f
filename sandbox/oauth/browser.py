"""The person's browser, played with httpx: sign in, consent, and stop before the client's address."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

_MAX_STEPS = 10


class ConsentError(Exception):
    """The authorization server showed an error page; `status` is its HTTP status, the text what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass
class _Form:
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    checkboxes: list[tuple[str, str]] = field(default_factory=list)
    has_password: bool = False


class _Page(HTMLParser):
    """The first form of a page, and the text of its alert."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.form: _Form | None = None
        self.alert = ""
        self._in_alert = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_alert = given.get("role") == "alert"
        if tag == "form" and self.form is None:
            self.form = _Form(given.get("action", ""))
        if tag != "input" or self.form is None:
            return
        pair = (given.get("name", ""), given.get("value", ""))
        if given.get("type") == "checkbox":
            self.form.checkboxes.append(pair)
        elif given.get("type") == "hidden":
            self.form.fields.append(pair)
        elif given.get("type") == "password":
            self.form.has_password = True

    def handle_data(self, data: str) -> None:
        if self._in_alert:
            self.alert += data

    def handle_endtag(self, tag: str) -> None:
        self._in_alert = False


def walk_consent(
    authorize_url: str,
    username: str,
    password: str,
    *,
    allow: bool = True,
    scopes: Iterable[str] | None = None,
) -> str:
    """Sign in, consent, and return the URL the client would be called back at, without calling it.

    `scopes` are the boxes left ticked (all of them by default); `allow=False` presses Deny. Raises
    `ConsentError` when the server shows an error page, for instance after a wrong password.
    """
    redirect_uri = parse_qs(urlsplit(authorize_url).query).get("redirect_uri", [""])[0]
    ticked = None if scopes is None else set(scopes)
    # No proxy from the environment: the servers listen on this machine.
    with httpx.Client(follow_redirects=False, trust_env=False, timeout=60) as browser:
        answer = browser.get(authorize_url)
        for _ in range(_MAX_STEPS):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if redirect_uri and _address(target) == _address(redirect_uri):
                    return target
                answer = browser.get(target)
                continue
            page = _Page(answer.text)
            if answer.status_code != 200 or page.form is None:
                raise ConsentError(answer.status_code, page.alert or "an unexpected page")
            fields = page.form.fields
            if page.form.has_password:
                fields = [*fields, ("username", username), ("password", password)]
            else:
                kept = [(name, value) for name, value in page.form.checkboxes if ticked is None or value in ticked]
                fields = [*fields, *kept, ("decision", "allow" if allow else "deny")]
            data: dict[str, list[str]] = {}
            for name, value in fields:
                data.setdefault(name, []).append(value)
            answer = browser.post(urljoin(str(answer.url), page.form.action), data=data)
    raise ConsentError(answer.status_code, f"no end after {_MAX_STEPS} pages")


def _address(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc, parts.path
