"""Connections: sign-in at a provider, the tokens' life, and disconnecting."""

import hashlib
import logging
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.config import ConfigurationError, settings
from api.connections import vault
from api.connections.models import NewConnection
from api.db import database
from api.errors import Problem
from api.ids import new_id
from api.providers import client
from api.providers.manifest import Manifest
from api.providers.manifest import manifest as find_manifest
from api.providers.site import Site
from api.sql import query

log = logging.getLogger("countersign.connections")
FLOW_MINUTES = 10
#: A token that somebody else has just fetched is used for as long as it lives, less the time to say so.
FRESH_MARGIN = 2
#: Tokens that the provider has replaced exist nowhere else until they are stored, so storing them is insisted upon.
STORE_SECONDS = 30
#: What stands for the end of a token that has none.
NO_END = 315_360_000


def provider(name: str) -> Manifest:
    """The manifest of a provider; Problem 404 when there is none."""
    manifest = find_manifest(name)
    if manifest is None:
        raise Problem(404, "unknown_provider", f"There is no provider named {name[:60]!r}.")
    return manifest


def redirect_uri(manifest: Manifest) -> str:
    """One redirect URI per provider: a mixed-up answer cannot be taken for another's (RFC 9700)."""
    return f"{settings().public_url}/oauth/{manifest.name}/callback"


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


async def begin(principal: Principal, body: NewConnection) -> tuple[dict[str, Any], str]:
    """Starts a sign-in: the connection with its `authorize_url`, and the secret that binds the browser to it."""
    manifest = provider(body.provider)
    try:
        site = manifest.site(body.environment)
        site.client()
    except ConfigurationError as error:
        raise Problem(409, "provider_not_configured", str(error)) from None
    connection_id = new_id()
    state, binding, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    scopes = manifest.scopes(body.access)
    answer = await database().call(
        principal,
        "create_connection_v1",
        {
            "id": connection_id,
            "provider": manifest.name,
            "environment": body.environment,
            "access": body.access,
            "scopes": scopes,
            "state_hash": _sha256(state),
            "binding_hash": _sha256(binding),
            "verifier": vault.seal({"verifier": verifier}, vault.context("-", connection_id, body.environment, "flow")),
            "redirect_uri": redirect_uri(manifest),
            "expires_at": datetime.now(UTC) + timedelta(minutes=FLOW_MINUTES),
        },
    )
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    url = site.authorization_url(body.access, redirect_uri(manifest), state, challenge)
    return answer.result | {"authorize_url": url}, binding


async def complete(
    provider_name: str, state: str, binding: str, code: str | None, error: str | None, issuer: str | None
) -> dict[str, Any]:
    """Ends a sign-in: exchanges the code and seals the tokens.

    Raises Problem 400 for a state that was not started in this browser, was used or is over; 409 when the person
    or the provider refused, or granted other scopes than were asked for.
    """
    manifest = provider(provider_name)
    flow = await database().claim("claim_oauth_flow_v1", bytes.fromhex(_sha256(state)), bytes.fromhex(_sha256(binding)))
    if flow is None or flow["provider"] != manifest.name:
        raise Problem(
            400,
            "invalid_state",
            "This sign-in was not started in this browser, was used already, or took too long.",
        )
    # Beginning a sign-in takes a session at aal2, and only the browser that began it comes here.
    person = Principal({"kind": "user", "sub": flow["user_id"], "tenant_id": flow["tenant_id"], "aal": "aal2"})
    site = manifest.site(flow["environment"])
    try:
        tokens = await _consented(site, flow, code, error, issuer)
        account = await _account(site, tokens)
    except Problem as problem:
        # The sign-in is used up; what it was for does not stay pending for ever.
        closing = {"id": flow["connection_id"], "reason": str(problem.detail)}
        await database().call(person, "revoke_connection_v1", closing)
        raise
    granted = sorted(set(tokens.scopes or flow["scopes_requested"]))
    return await _store(person, flow | {"generation": 0}, tokens, {"scopes_granted": granted, "account": account})


async def _consented(
    site: Site, flow: dict[str, Any], code: str | None, error: str | None, issuer: str | None
) -> client.Tokens:
    """The tokens of a sign-in, if consent was given to exactly what was asked for; a Problem otherwise."""
    # RFC 9207 section 2.4: from a server that names itself, an answer without its name is not one of its answers.
    if site.issuer and issuer != site.issuer:
        raise Problem(400, "wrong_issuer", "The answer came from another authorization server.")
    if error or not code:
        raise Problem(409, "consent_refused", f"The provider gave no consent: {(error or 'no code')[:100]}.")
    context = vault.context("-", flow["connection_id"], flow["environment"], "flow")
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": flow["redirect_uri"],
        "code_verifier": vault.unseal(flow["verifier"], context)["verifier"],
    }
    try:
        tokens = await client.exchange(site, grant)
    except client.TokenError as refused:
        raise Problem(409, "token_refused", str(refused)) from None
    asked = set(flow["scopes_requested"])
    granted = set(tokens.scopes or asked)
    if granted != asked:
        await client.revoke(site, _sealed(tokens))
        kind, scopes = ("wider", granted - asked) if granted - asked else ("narrower", asked - granted)
        raise Problem(
            409,
            "scopes_differ",
            f"The consent is {kind} than what was asked for ({', '.join(sorted(scopes))}); connect again.",
        )
    return tokens


async def _account(site: Site, tokens: client.Tokens) -> dict[str, str]:
    """The account that was authorised; a grant for an unknown one is given back."""
    try:
        account = await client.account_of(site, {}, tokens)
    except client.AccountError as error:
        await client.revoke(site, _sealed(tokens))
        raise Problem(409, "account_unknown", str(error)) from None
    return {"id": account.id, "label": account.label} if account.id else {}


def _sealed(tokens: client.Tokens) -> dict[str, str]:
    """What is sealed of a token set."""
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token or ""}


async def _store(
    principal: Principal, credential: dict[str, Any], tokens: client.Tokens, extra: dict[str, Any]
) -> dict[str, Any]:
    """Seals a token set as the generation after the credential's, and keeps trying while the database is away."""
    generation = credential["generation"] + 1
    context = vault.context(credential["tenant_id"], credential["connection_id"], credential["environment"], generation)
    args = {
        "connection_id": credential["connection_id"],
        "replaces": credential["generation"] or None,
        "envelope": vault.seal(_sealed(tokens), context),
        "token_expires_at": datetime.now(UTC) + timedelta(seconds=tokens.expires_in or NO_END),
        **extra,
    }
    result: dict[str, Any] = (await database().insist(principal, "store_credential_v1", args, STORE_SECONDS)).result
    return result


def open_credential(credential: dict[str, Any]) -> dict[str, str]:
    """The tokens of a released credential."""
    return vault.unseal(
        credential["envelope"],
        vault.context(
            credential["tenant_id"],
            credential["connection_id"],
            credential["environment"],
            credential["generation"],
        ),
    )


def site_of(credential: dict[str, Any]) -> Site:
    """The provider as the connection of a released credential sees it."""
    return provider(credential["provider"]).site(credential["environment"], credential.get("values") or {})


def is_expiring(credential: dict[str, Any], margin_seconds: float = 30) -> bool:
    """Whether the access token ends within the margin."""
    expires_at = datetime.fromisoformat(credential["expires_at"])
    return expires_at <= datetime.now(UTC) + timedelta(seconds=margin_seconds)


class RefreshBusyError(RuntimeError):
    """Somebody else refreshes this connection now; try again in a moment."""


async def refresh(credential: dict[str, Any], claimed_for: UUID | str) -> dict[str, str]:
    """Exchanges the refresh token of a credential that a live claim holds; answers the new tokens, sealed already.

    One refresher per connection at a time, and the new refresh token is stored before the new access token is used.
    Whoever comes second takes what the first one stored. When the provider says that the grant is gone, the connection
    ends as `expired`; that is also what a lost answer leads to, if the provider takes each refresh token once.
    Raises RefreshBusyError, client.TokenError when no tokens came, psycopg.Error when the claim is over.
    """
    executor = system(credential["tenant_id"], "refresh_tokens")
    claim = {
        "connection_id": credential["connection_id"],
        "claimed_for": claimed_for,
        "generation": credential["generation"],
    }
    claimed = (await database().call(executor, "claim_refresh_v1", claim)).result
    if not claimed["claimed"]:
        raise RefreshBusyError("Another function refreshes this connection.")
    current = claimed["credential"]
    if claimed["fresh"]:
        if is_expiring(current, FRESH_MARGIN):
            return await refresh(current, claimed_for)
        return open_credential(current)
    return await _exchange(executor, current)


async def _exchange(executor: Principal, current: dict[str, Any]) -> dict[str, str]:
    """The exchange itself, by who holds the refresh lease; a failure gives the lease back."""
    try:
        refresh_token = open_credential(current).get("refresh_token")
        if not refresh_token:
            raise client.TokenError("invalid_grant")  # the provider gave none: this consent lives as long as its token
        grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        fresh = await client.exchange(site_of(current), grant)
    except (client.TokenError, vault.SealError, ConfigurationError) as error:
        final = isinstance(error, client.TokenError) and error.final
        reason = f"{error} Connect it again." if final else str(error)
        failure = {"connection_id": current["connection_id"], "generation": current["generation"], "reason": reason}
        await database().call(executor, "fail_refresh_v1", failure | {"final": final})
        raise
    try:
        await _store(executor, current, fresh, {})
    except psycopg.Error as error:
        # Our own earlier try, whose answer was lost, or a refresher after us: either way these tokens are good.
        if error.diag.message_detail != "generation_moved":
            raise
    return _sealed(fresh)


async def list_connections(principal: Principal, connection_id: UUID | None = None) -> list[dict[str, Any]]:
    async with database().tenant_transaction(principal, "connections.read") as connection:
        cursor = await connection.execute(query("connections/list_connections"), {"id": connection_id})
        return await cursor.fetchall()


async def get_connection(principal: Principal, connection_id: UUID) -> dict[str, Any]:
    rows = await list_connections(principal, connection_id)
    if not rows:
        raise Problem(404, "not_found", "There is no such connection.")
    return rows[0]


async def disconnect(principal: Principal, connection_id: UUID) -> dict[str, Any]:
    """Destroys our copy of the tokens, then revokes the grant at the provider; says whether the provider confirmed."""
    answer = await database().call(principal, "revoke_connection_v1", {"id": connection_id})
    credential = answer.result.pop("credential")
    confirmed = False
    if credential is not None:
        try:
            confirmed = await client.revoke(site_of(credential), open_credential(credential)) == "confirmed"
        except (vault.SealError, ConfigurationError) as error:
            log.warning("connection %s is gone here, not at the provider: %s", connection_id, error)
    result: dict[str, Any] = answer.result | {"revoked_at_provider": confirmed}
    return result
