"""Talks to providers: one HTTP request for a tool call, and the token endpoint's grants. Never inside a transaction."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from api.config import settings
from api.gate.models import Contract
from api.providers.manifest import Manifest

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    reached: whether the provider may have acted on it: `no`, `maybe` (it was sent, and no answer tells), `yes`.
    status: HTTP status, None without an answer. body: parsed JSON. retry_after: seconds, from the provider.
    """

    reached: Literal["no", "maybe", "yes"]
    status: int | None = None
    body: Any = None
    error: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token set as a provider issued it; `expires_in` in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scopes: list[str]


class TokenError(RuntimeError):
    """The token endpoint refused; `code` is its RFC 6749 section 5.2 error, or `unreachable`."""

    def __init__(self, code: str) -> None:
        super().__init__(f"The provider refused the token request: {code}.")
        self.code = code


_clients: dict[asyncio.AbstractEventLoop, "httpx.AsyncClient"] = {}


def http() -> "httpx.AsyncClient":
    """The HTTP client of this event loop: connections are reused, redirects are not followed."""
    import httpx

    loop = asyncio.get_running_loop()
    for old in [known for known in _clients if known.is_closed()]:
        del _clients[old]
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            follow_redirects=False, timeout=httpx.Timeout(settings().provider_timeout, connect=5)
        )
    return _clients[loop]


def build(contract: Contract, base_url: str, args: dict[str, Any], idempotency_key: str | None) -> dict[str, Any]:
    """The request of a tool call: placeholders of the path are filled from the arguments, the rest is query or body."""
    execution = contract.execution
    rest = dict(args)
    path = execution.path
    for name in list(rest):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
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
) -> Outcome:
    """Makes the one HTTP request of a tool call and says how it ended. Raises nothing for what a provider can do."""
    import httpx

    request = build(contract, manifest.base_url(), args, idempotency_key)
    request["headers"]["Authorization"] = f"Bearer {access_token}"
    try:
        async with asyncio.timeout(settings().provider_timeout), http().stream(**request) as answer:
            return await _read(answer)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        return Outcome("no", error=f"The provider could not be reached ({type(error).__name__}).")
    except (httpx.HTTPError, TimeoutError) as error:
        return Outcome("maybe", error=f"No answer came ({type(error).__name__}).")


async def _read(answer: "httpx.Response") -> Outcome:
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER:
            return Outcome("maybe", answer.status_code, error="The answer is larger than 1 MB.")
    try:
        body = json.loads(content) if content else None
    except (ValueError, RecursionError):
        body = None
    status = answer.status_code
    if status < 300:
        return Outcome("yes", status, body)
    # A refusal (4xx) says that nothing was done; a 5xx does not say.
    reached: Literal["no", "maybe"] = "maybe" if status >= 500 else "no"
    return Outcome(
        reached, status, body, f"The provider answered {status}.", _seconds(answer.headers.get("retry-after"))
    )


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds (RFC 9110 section 10.2.3); the date form is read against the clock."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


async def exchange(manifest: Manifest, grant: dict[str, str]) -> Tokens:
    """Asks the token endpoint for tokens (RFC 6749 sections 4.1.3 and 6).

    Raises TokenError with the provider's error code; `unreachable` when no answer came.
    """
    answer = await _post(manifest, manifest.oauth.token_url, grant)
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.status_code != 200 or not isinstance(body, dict) or "access_token" not in body:
        code = body.get("error") if isinstance(body, dict) else None
        raise TokenError(str(code or f"status {answer.status_code}")[:100])
    return Tokens(
        access_token=str(body["access_token"]),
        refresh_token=body.get("refresh_token") or grant.get("refresh_token"),
        expires_in=int(body.get("expires_in") or manifest.oauth.default_expires_in),
        scopes=str(body.get("scope") or grant.get("scope", "")).split(),
    )


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
    try:
        if basic:
            return await http().post(
                manifest.url(url), data=form, auth=(quote(client_id, safe=""), quote(secret, safe=""))
            )
        return await http().post(manifest.url(url), data=form)
    except httpx.HTTPError as error:
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
