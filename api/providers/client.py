"""Talks to providers: one HTTP request for a tool call, and the token endpoint's grants. Never inside a transaction."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeGuard
from urllib.parse import quote

from api.config import ConfigurationError, settings
from api.gate.models import Contract
from api.providers.manifest import Manifest

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 1_000_000
#: Of a lease, these seconds are kept for recording how the call ended.
RESERVE = 0.5
#: A NUL in JSON text, which no column can keep: an odd number of backslashes before u0000.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: Redirects that follow work done, as a browser sees them after posting a form (RFC 9110 section 15.4).
_REDIRECTS_AFTER_WORK = (301, 302, 303)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    reached: whether the provider may have acted on it: `no`, `maybe` (it was sent, and no answer tells), `yes`.
    status: HTTP status, None without an answer. body: parsed JSON. retry_after: seconds, from the provider.
    hopeless: it was not sent, and never will be by trying again: the consent is gone, or it makes no request.
    """

    reached: Literal["no", "maybe", "yes"]
    status: int | None = None
    body: Any = None
    error: str | None = None
    retry_after: float | None = None
    hopeless: bool = False


class Lease:
    """How long the caller may still act. Nothing is sent when it is over, since somebody else may act then.

    Measured on two clocks, whichever says less: a frozen function's own clock may have stood still.
    """

    def __init__(self, seconds: float) -> None:
        self._monotonic = time.monotonic() + seconds
        self._wall = time.time() + seconds

    def remaining(self) -> float:
        """Seconds; negative when it is over."""
        return min(self._monotonic - time.monotonic(), self._wall - time.time())


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token set as a provider issued it; `expires_in` in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scopes: list[str]


class TokenError(RuntimeError):
    """No tokens came. `code` is the RFC 6749 section 5.2 error, or `unreachable`, `malformed`, `status 503`.

    `final`: the consent itself is gone; only a person can connect again.
    """

    def __init__(self, code: str) -> None:
        self.code = "".join(c if c.isprintable() and c.isascii() else "?" for c in code[:100])
        super().__init__(f"The provider gave no tokens: {self.code}.")

    @property
    def final(self) -> bool:
        return self.code == "invalid_grant"


_clients: dict[asyncio.AbstractEventLoop, "httpx.AsyncClient"] = {}


def http() -> "httpx.AsyncClient":
    """The HTTP client of this event loop: connections are reused, redirects are not followed."""
    import httpx

    loop = asyncio.get_running_loop()
    for old in [known for known in _clients if known.is_closed()]:
        del _clients[old]
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            follow_redirects=False,
            # Shorter than the whole, so that a host that does not answer at all is known not to have been reached.
            timeout=httpx.Timeout(settings().provider_timeout, connect=min(5, settings().provider_timeout / 2)),
        )
    return _clients[loop]


class UnsendableError(ValueError):
    """The arguments make no request of this tool."""


def build(contract: Contract, base_url: str, args: dict[str, Any], idempotency_key: str | None) -> dict[str, Any]:
    """The request of a tool call: placeholders of the path are filled from the arguments, the rest is query or body.

    Raises UnsendableError for an argument that would change which operation the path names.
    """
    execution = contract.execution
    rest = dict(args)
    path = execution.path
    for name in list(rest):
        if f"{{{name}}}" in path:
            segment = str(rest.pop(name))
            if segment in ("", ".", ".."):
                # Quoting leaves dots alone, and a client that tidies the path would call another operation.
                raise UnsendableError(f"The argument {name} cannot be part of an address.")
            path = path.replace(f"{{{name}}}", quote(segment, safe=""))
    request: dict[str, Any] = {"method": execution.method, "url": base_url + path, "headers": {}}
    if execution.body == "json":
        request["json"] = rest
    elif rest:
        request["params"] = rest
    if execution.idempotency_header and idempotency_key:
        request["headers"][execution.idempotency_header] = idempotency_key
    return request


async def call_tool(
    manifest: Manifest,
    contract: Contract,
    args: dict[str, Any],
    access_token: str,
    idempotency_key: str | None = None,
    lease: Lease | None = None,
) -> Outcome:
    """Makes the one HTTP request of a tool call and says how it ended. Raises nothing for what a provider can do.

    With a lease, nothing is sent after it, and the answer is awaited only as long as it can still be recorded.
    """
    import httpx

    seconds = settings().provider_timeout
    if lease is not None:
        seconds = min(seconds, lease.remaining() - RESERVE)
    if seconds <= 0:
        return Outcome("no", error="The time to act was nearly over; nothing was sent.")
    try:
        request = build(contract, manifest.base_url(), args, idempotency_key)
        request["headers"]["Authorization"] = f"Bearer {access_token}"
        async with asyncio.timeout(seconds), http().stream(**request) as answer:
            return await _read(answer)
    except UnsendableError as error:
        return Outcome("no", error=str(error), hopeless=True)
    except (ConfigurationError, httpx.InvalidURL) as error:
        return Outcome("no", error=str(error))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        return Outcome("no", error=f"The provider could not be reached ({type(error).__name__}).")
    except (httpx.HTTPError, TimeoutError) as error:
        return Outcome("maybe", error=f"No answer came ({type(error).__name__}).")


async def _read(answer: "httpx.Response") -> Outcome:
    """What an answer says. Its status decides; a success counts as one only if its body can be read.

    A 4xx says that nothing was done; a 5xx, a redirect after work, and a success that is no JSON or larger than
    1 MB do not say. No redirect is followed: the credential is for this provider.
    """
    status = answer.status_code
    error = None if status < 300 else f"The provider answered {status}."
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER:
            content, error = b"", error or "The answer is larger than 1 MB."
            break
    body: Any = None
    if content:
        try:
            body = json.loads(content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            error = error or "The answer is not JSON."
    if body is not None and not _can_be_kept(body):
        # What was done is done; the answer to it is only not kept.
        body, kept_error = None, "The answer holds characters or numbers that cannot be kept."
        return (
            Outcome("yes", status, None, kept_error)
            if error is None
            else Outcome(_reached(status), status, None, error)
        )
    if error is None:
        return Outcome("yes", status, body)
    return Outcome(_reached(status), status, body, error, _seconds(answer.headers.get("retry-after")))


def _reached(status: int) -> Literal["no", "maybe"]:
    return "maybe" if status < 300 or status >= 500 or status in _REDIRECTS_AFTER_WORK else "no"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON (RFC 8259 section 6)")


def _can_be_kept(body: Any) -> bool:
    """Whether a parsed answer is what Postgres keeps as jsonb: no NUL, no lone surrogate, no infinite number."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return False
    return _NUL.search(text) is None


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds (RFC 9110 section 10.2.3); a date in any of its forms is read against the clock."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


async def exchange(manifest: Manifest, grant: dict[str, str]) -> Tokens:
    """Asks the token endpoint for tokens (RFC 6749 sections 4.1.3 and 6).

    Raises TokenError with the provider's error code; `unreachable` when no answer came, `malformed` when it is none.
    """
    answer = await _post(manifest, manifest.oauth.token_url, grant)
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        body = None
    if answer.status_code != 200:
        code = body.get("error") if isinstance(body, dict) else None
        raise TokenError(code if isinstance(code, str) and code else f"status {answer.status_code}")
    if not isinstance(body, dict) or not _is_token(body.get("access_token")):
        raise TokenError("malformed")
    refresh_token = body.get("refresh_token")
    expires_in = body.get("expires_in")
    return Tokens(
        access_token=body["access_token"],
        refresh_token=refresh_token if _is_token(refresh_token) else grant.get("refresh_token"),
        expires_in=int(expires_in) if _is_seconds(expires_in) else manifest.oauth.default_expires_in,
        scopes=str(body.get("scope") or grant.get("scope", "")).split(),
    )


def _is_seconds(value: Any) -> TypeGuard[int | str]:
    """A number of seconds, also as the text that some providers send; ten years at most."""
    return type(value) in (int, str) and str(value).isdecimal() and 0 < int(value) < 315_360_000


def _is_token(value: Any) -> TypeGuard[str]:
    """Whether a value can be sent as a token: visible ASCII (RFC 6749 appendix A.12)."""
    return isinstance(value, str) and bool(re.fullmatch(r"[\x20-\x7e]{1,20000}", value))


async def revoke(manifest: Manifest, token: str) -> bool:
    """Revokes a token at the provider (RFC 7009); False when the provider has no such endpoint or did not confirm."""
    if manifest.oauth.revoke_url is None:
        return False
    try:
        return (await _post(manifest, manifest.oauth.revoke_url, {"token": token})).status_code < 300
    except TokenError:
        return False


async def _post(manifest: Manifest, url: str, form: dict[str, str]) -> "httpx.Response":
    import httpx

    client_id, secret = manifest.client()
    basic = manifest.oauth.client_authentication == "client_secret_basic"
    if not basic:
        form = form | {"client_id": client_id, "client_secret": secret}
    # Each part is form-encoded before they are joined (RFC 6749 section 2.3.1).
    auth = httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe="")) if basic else httpx.USE_CLIENT_DEFAULT
    try:
        async with asyncio.timeout(settings().provider_timeout):
            return await http().post(manifest.url(url), data=form, auth=auth)
    except (httpx.HTTPError, TimeoutError) as error:
        raise TokenError("unreachable") from error


async def account_of(manifest: Manifest, access_token: str) -> dict[str, str]:
    """The account that was authorised, as {id, label}; empty when the provider does not say."""
    import httpx

    from api.gate.pointer import resolve

    if manifest.account is None:
        return {}
    try:
        answer = await http().get(
            manifest.base_url() + manifest.account.path, headers={"Authorization": f"Bearer {access_token}"}
        )
        body = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError):
        return {}
    found = {
        "id": [v for _, v in resolve(body, manifest.account.id)],
        "label": [v for _, v in resolve(body, manifest.account.label)],
    }
    return {name: str(values[0]) for name, values in found.items() if values}
