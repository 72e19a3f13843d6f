"""The token endpoint's grants, ending a grant, and which account was authorised. Never inside a transaction."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard
from urllib.parse import quote

from api.config import ConfigurationError
from api.gate.pointer import resolve
from api.providers.parts import Keep
from api.providers.site import Site
from api.providers.transport import Answer, ask

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token set as a provider issued it.

    expires_in: seconds; None when the access token has no end. scopes: what was granted, without what the provider
    always adds; None when it does not say. refresh_expires_in: seconds that the refresh token lasts, where the
    provider says it. kept: the ids that came with the tokens and are kept with the connection.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    scopes: list[str] | None
    refresh_expires_in: int | None = None
    kept: dict[str, str] = field(default_factory=dict)


class TokenError(RuntimeError):
    """No tokens came. `code` is the RFC 6749 section 5.2 error, or `unreachable`, `malformed`, `status 503`.

    `final`: the consent itself is gone; only a person can connect again.
    """

    def __init__(self, code: str, ended_by: list[str] | None = None) -> None:
        self.code = "".join(c if c.isprintable() and c.isascii() else "?" for c in code[:100])
        self.final = self.code in (ended_by or ["invalid_grant"])
        super().__init__(f"The provider gave no tokens: {self.code}.")


class AccountError(RuntimeError):
    """The provider does not say which account was authorised, or says what cannot be true."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that was authorised; `values` are the kept ids. Empty where the provider names none."""

    id: str
    label: str
    values: dict[str, str]


async def exchange(site: Site, grant: dict[str, str]) -> Tokens:
    """Asks the token endpoint for tokens (RFC 6749 sections 4.1.3 and 6).

    Raises TokenError with the provider's error code; `unreachable` when no answer came, `malformed` when it is none or
    names an id that cannot be one of this provider's.
    """
    oauth = site.manifest.oauth
    body_as = {"form": "data", "json": "json"}[oauth.token_body]
    request = {"method": "POST", "url": site.url(oauth.token_url), body_as: grant | oauth.token_parameters}
    answer = await _send(site, request, authenticated=True)
    body = answer.body
    ours = [site.client()[1], *(grant.get(name) for name in ("refresh_token", "code", "code_verifier"))]
    if answer.status != 200 or site.manifest.answers.verdict(body) == "refused":
        code = _error(site, body) or f"status {answer.status}"
        raise TokenError("malformed" if repeats(code, ours) else code, oauth.ended_by)
    if not isinstance(body, dict) or not _is_token(body.get("access_token")):
        raise TokenError("malformed")
    first = grant.get("grant_type") == "authorization_code"
    told = _kept(site, "token", body, complete=first)
    claimed = _kept(site, "claims", _claims(body["access_token"]), complete=first)
    if told is None or claimed is None:
        raise TokenError("malformed")
    refresh_token = body.get("refresh_token")
    secrets = [*ours, body["access_token"], refresh_token if _is_token(refresh_token) else None]
    if any(repeats(value, secrets) for value in (told | claimed).values()):
        raise TokenError("malformed")
    return Tokens(
        access_token=body["access_token"],
        refresh_token=refresh_token if _is_token(refresh_token) else grant.get("refresh_token"),
        expires_in=None if oauth.never_expires else _seconds(body.get("expires_in")) or oauth.default_expires_in,
        scopes=_granted(site, body, secrets),
        refresh_expires_in=_seconds(_at(body, oauth.refresh_expires_in)) if oauth.refresh_expires_in else None,
        kept=told | claimed,
    )


def _error(site: Site, body: Any) -> str | None:
    """The error code of RFC 6749 section 5.2, or that of the provider's own answers."""
    code = body.get("error") if isinstance(body, dict) else None
    return code if isinstance(code, str) and code else site.manifest.answers.code(body)


def repeats(text: str, secrets: Iterable[str | None]) -> bool:
    """Whether a provider's words hold a secret that it got from us or gave us: those are shown and kept nowhere."""
    return any(secret in text for secret in secrets if secret and len(secret) >= 8)


def _granted(site: Site, body: Any, secrets: list[str | None]) -> list[str] | None:
    scopes = site.manifest.oauth.scopes
    told = _at(body, scopes.at) if scopes.reported else None
    # Some providers answer in another way than they ask; a blank is in no scope (RFC 6749 section 3.3).
    named = re.split(rf"[ {re.escape(scopes.separator)}]+", told) if isinstance(told, str) else told
    if not isinstance(named, list) or not any(named):
        return None
    listed = [str(scope) for scope in named if scope and scope not in scopes.implied]
    return ["(withheld)" if repeats(scope, secrets) else scope for scope in listed]


def _claims(token: str) -> Any:
    """The payload of a token that is a JWT (RFC 7519 section 3), unverified: it came from the token endpoint itself."""
    try:
        payload = token.split(".")[1]
        return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return None


def _kept(site: Site, source: str, found: Any, *, complete: bool) -> dict[str, str] | None:
    """The ids that one answer has to give; None when one does not match, or is missing from a `complete` answer."""
    kept: dict[str, str] = {}
    for name, keep in site.manifest.kept.items():
        if keep.source != source:
            continue
        values = _texts(found, keep)
        if not values and (keep.optional or not complete):
            continue
        # Several are none: which of them was authorised cannot be told. Control characters no column keeps.
        if (
            len(values) != 1
            or _CONTROL.search(values[0])
            or not re.fullmatch(keep.pattern_in(site.environment), values[0])
        ):
            return None
        kept[name] = values[0]
    return kept


def _texts(found: Any, keep: Keep) -> list[str]:
    """The distinct values of an id in what was found, as texts: some providers send a number."""
    values = [found.get(keep.at)] if keep.source == "callback" else [value for _, value in resolve(found, keep.at)]
    return sorted({str(value) for value in values if type(value) in (str, int)})


def _at(document: Any, pointer: str) -> Any:
    return next((value for _, value in resolve(document, pointer)), None)


def _seconds(value: Any) -> int | None:
    """A number of seconds, also as the text that some providers send; ten years at most."""
    if type(value) not in (int, str) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
        return None
    return int(value) if 0 < int(value) < 315_360_000 else None


def _is_token(value: Any) -> TypeGuard[str]:
    """Whether a value can be sent as a token: visible ASCII (RFC 6749 appendix A.12)."""
    return isinstance(value, str) and bool(re.fullmatch(r"[\x20-\x7e]{1,20000}", value))


async def revoke(site: Site, tokens: dict[str, str]) -> Literal["confirmed", "failed", "unsupported"]:
    """Ends the grant at the provider, as its manifest says; `unsupported` when it offers no way."""
    how = site.manifest.oauth.revoke
    if how is None:
        return "unsupported"
    token = tokens.get(how.token) or tokens.get("refresh_token") or tokens.get("access_token")
    if not token:
        return "failed"
    request: dict[str, Any] = {"method": how.method, "headers": {}}
    if how.send == "bearer":
        request["headers"]["Authorization"] = f"Bearer {token}"
    elif how.send != "path":
        request["data" if how.send == "form" else "json"] = {"token": token}
    try:
        url = how.url.replace("{token}", quote(token, safe="")) if how.send == "path" else how.url
        request["url"] = site.url(url)
        answer = await _send(site, request, authenticated=how.client_authentication and how.send != "bearer")
    except (TokenError, ConfigurationError):
        return "failed"
    done = answer.status < 300 and site.manifest.answers.verdict(answer.body) != "refused"
    return "confirmed" if done else "failed"


async def _send(site: Site, request: dict[str, Any], *, authenticated: bool) -> Answer:
    """One request, as our client where it says so; TokenError `unreachable` when no answer came."""
    import httpx

    auth = None
    if authenticated:
        client_id, secret = site.client()
        style = site.manifest.oauth.client_authentication
        body = next((name for name in ("data", "json") if name in request), None)
        if style == "client_secret_post" and body:
            request[body] = request[body] | {"client_id": client_id, "client_secret": secret}
        elif style == "secret_as_username":
            auth = httpx.BasicAuth(secret, "")
        else:  # each part is form-encoded before they are joined (RFC 6749 section 2.3.1)
            auth = httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe=""))
    try:
        return await ask(request, auth)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise TokenError("unreachable") from error


async def account_of(site: Site, callback: dict[str, str], tokens: Tokens) -> Account:
    """Which account was authorised: by the callback's parameters, the token answer, and the provider when asked.

    Raises AccountError when an id is missing or does not match its pattern.
    """
    account = site.manifest.account
    if account is None:
        return Account("", "", {})
    values = _kept(site, "callback", callback, complete=True)
    if values is None:
        raise AccountError("The provider did not say, with its answer, which account was authorised.")
    values |= tokens.kept
    if account.lookup is not None:
        values |= await _looked_up(site.knowing(values), account.lookup, tokens.access_token)
    if any(
        repeats(value, (tokens.access_token, tokens.refresh_token, callback.get("code"))) for value in values.values()
    ):
        raise AccountError("The provider named a credential where it should name the account.")
    known = site.knowing(values)
    try:
        identity = known.text(account.id)
    except ConfigurationError as error:
        raise AccountError(str(error)) from None
    try:
        label = known.text(account.label)
    except ConfigurationError:  # it names an optional id, which did not come
        label = identity
    return Account(identity, label, values)


async def _looked_up(site: Site, lookup: str, access_token: str) -> dict[str, str]:
    import httpx

    try:
        headers = {"Authorization": f"Bearer {access_token}"}
        answer = await ask({"method": "GET", "url": site.url(lookup), "headers": headers})
        body = answer.body if answer.status == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ConfigurationError):
        body = None
    if site.manifest.answers.verdict(body) == "refused":
        body = None
    kept = _kept(site, "lookup", body, complete=True)
    if kept is None:
        raise AccountError("The provider, when asked, did not say which account was authorised.")
    return kept
