"""Signing in at a provider: a new connection, or a new grant for one that is there."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from api.auth import Principal
from api.config import ConfigurationError, settings
from api.connections import vault
from api.connections.credential import bound_to, legible, named, provider, token_set
from api.connections.give_back import give_back
from api.connections.models import NewConnection
from api.db import database
from api.errors import Problem, from_database
from api.ids import new_id
from api.providers import client
from api.providers.manifest import Manifest, ParameterError
from api.providers.site import Site

FLOW_MINUTES = 10
#: Tokens that a provider has issued exist nowhere else until they are stored, so storing them is insisted upon.
STORE_SECONDS = 30
#: A refresh may come first while a new sign-in is stored, and another one; not for ever.
STORE_TRIES = 5
_KEPT = (
    "The new consent was not given back: {title} would end every connection of the account with it, and one is in use."
)


def redirect_uri(manifest: Manifest) -> str:
    """One redirect URI per provider: a mixed-up answer cannot be taken for another's (RFC 9700)."""
    return f"{settings().public_url}/oauth/{manifest.name}/callback"


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _configured(manifest: Manifest, environment: Any, parameters: dict[str, str]) -> Site:
    """The site to sign in at; Problem 422 for parameters that it does not take, 409 when it is not configured here."""
    try:
        site = manifest.site(environment, manifest.parameters_of(parameters))
        site.client()
    except ConfigurationError as error:
        raise Problem(409, "provider_not_configured", str(error)) from None
    except ParameterError as error:
        wrong = [{"pointer": f"/parameters/{name}", "message": told} for name, told in error.errors.items()]
        raise Problem(422, "invalid_parameters", "The provider needs to be told something else.", wrong) from None
    return site


async def begin(principal: Principal, body: NewConnection) -> tuple[dict[str, Any], str]:
    """Starts a sign-in: the connection with its `authorize_url`, and the secret that binds the browser to it."""
    manifest = provider(body.provider)
    site = _configured(manifest, body.environment, body.parameters)
    connection = {
        "id": new_id(),
        "provider": manifest.name,
        "environment": body.environment,
        "access": body.access,
        "parameters": site.values,
    }
    return await _started(principal, "create_connection_v1", site, connection)


async def begin_again(principal: Principal, shown: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Starts a new sign-in for a connection that is there: same provider, environment, access and parameters."""
    site = _configured(provider(shown["provider"]), shown["environment"], shown["parameters"])
    return await _started(principal, "begin_reconnect_v1", site, shown)


async def _started(
    principal: Principal, function: str, site: Site, connection: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    state, binding, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    bound = vault.context("-", connection["id"], site.environment, "flow")
    sign_in = {
        "scopes": site.manifest.scopes(connection["access"]),
        "state_hash": _sha256(state),
        "binding_hash": _sha256(binding),
        "verifier": vault.seal({"verifier": verifier}, bound),
        "redirect_uri": redirect_uri(site.manifest),
        "expires_at": datetime.now(UTC) + timedelta(minutes=FLOW_MINUTES),
    }
    answer = await database().call(principal, function, connection | sign_in)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    url = site.authorization_url(connection["access"], redirect_uri(site.manifest), state, challenge)
    return answer.result | {"authorize_url": url}, binding


async def complete(provider_name: str, state: str, binding: str, answer: dict[str, str]) -> dict[str, Any]:
    """Ends a sign-in with the provider's answer: exchanges the code and seals the tokens.

    Raises Problem 400 for a state that was not started in this browser, was used or is over; 409 when the person or the
    provider refused, granted other scopes than were asked for, or another account than the connection has. A grant that
    is not kept is given back, unless that would end what a connection in use rests on. A new connection ends with its
    sign-in; one that was there before stays as it was.
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
    try:
        site = _configured(manifest, flow["environment"], flow["parameters"])
        tokens = await _exchanged(site, flow, answer)
        try:
            return await _kept(person, site, flow, state, answer, tokens)
        except Problem as refused:
            ended = await give_back(site, flow["tenant_id"], flow["connection_id"], tokens, any_account=True)
            if ended != "shared":
                raise
            detail = f"{refused.detail} {_KEPT.format(title=manifest.title)}"
            raise Problem(refused.status_code, refused.code, detail, refused.errors) from None
    except Problem as problem:
        if not flow["reconnects"]:
            # The sign-in is used up; what it was for does not stay pending for ever.
            closing = {"id": flow["connection_id"], "reason": str(problem.detail)}
            await database().call(person, "revoke_connection_v1", closing)
        raise


async def _exchanged(site: Site, flow: dict[str, Any], answer: dict[str, str]) -> client.Tokens:
    """The tokens for the provider's answer; a Problem when it is none of its answers, a refusal, or leads to none."""
    # RFC 9207 section 2.4: from a server that names itself, an answer without its name is not one of its answers.
    if site.issuer and answer.get("iss") != site.issuer:
        raise Problem(400, "wrong_issuer", "The answer came from another authorization server.")
    if "error" in answer or not answer.get("code"):
        refusal = legible(answer.get("error") or "no code", 100)
        raise Problem(409, "consent_refused", f"The provider gave no consent: {refusal}.")
    try:
        grant = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": flow["redirect_uri"],
            "code_verifier": vault.unseal(flow["verifier"], bound_to(flow | {"tenant_id": "-"}, "flow"))["verifier"],
        }
        return await client.exchange(site, grant)
    except client.TokenError as refused:
        raise Problem(409, "token_refused", str(refused)) from None
    except (vault.SealError, ConfigurationError) as error:
        raise Problem(409, "sign_in_broken", f"{error} Begin the sign-in again.") from None


async def _kept(
    person: Principal, site: Site, flow: dict[str, Any], state: str, answer: dict[str, str], tokens: client.Tokens
) -> dict[str, Any]:
    """Stores what was granted, if it is exactly what was asked for, by an account that the provider names."""
    asked = set(flow["scopes_requested"])
    granted = asked if tokens.scopes is None else set(tokens.scopes)
    if granted != asked:
        kind, scopes = ("wider", granted - asked) if granted - asked else ("narrower", asked - granted)
        listed = ", ".join(named(scopes))[:1000]
        detail = f"The consent is {kind} than what was asked for ({listed}); connect again."
        raise Problem(409, "scopes_differ", detail)
    try:
        account = await client.account_of(site, answer, tokens)
    except client.AccountError as error:
        raise Problem(409, "account_unknown", str(error)) from None
    days = site.manifest.oauth.consent_days
    extra = {
        "scopes_granted": sorted(granted),
        "account": {"id": legible(account.id), "label": legible(account.label)} if account.id else {},
        "values": {name: legible(value, 2000) for name, value in account.values.items()},
        "consent_expires_at": datetime.now(UTC) + timedelta(days=days) if days else None,
    }
    try:
        if flow["reconnects"]:
            return await _renewed(person, site, flow, state, tokens, extra)
        return await _first(person, site, flow, tokens, extra)
    except psycopg.Error as error:
        if error.sqlstate is None or not error.sqlstate.startswith("CS"):
            raise  # nobody knows whether they were stored: not ours to give back
        raise from_database(error) from None


async def _first(
    person: Principal, site: Site, flow: dict[str, Any], tokens: client.Tokens, extra: dict[str, Any]
) -> dict[str, Any]:
    args = token_set(site.manifest, flow, 1, tokens) | extra
    try:
        result: dict[str, Any] = (
            await database().insist(person, "store_credential_v1", args | {"replaces": None}, STORE_SECONDS)
        ).result
    except psycopg.Error as error:
        # A state is used once, so whoever stored a generation first was an earlier try of ours whose answer was lost.
        if error.diag.message_detail != "generation_moved":
            raise
        result = {"connection_id": flow["connection_id"], "status": "active"}
    return result


async def _renewed(
    person: Principal, site: Site, flow: dict[str, Any], state: str, tokens: client.Tokens, extra: dict[str, Any]
) -> dict[str, Any]:
    generation = flow["generation"]
    for _ in range(STORE_TRIES):
        args = token_set(site.manifest, flow, generation + 1, tokens) | extra
        args |= {"replaces": generation, "state_hash": _sha256(state)}
        result: dict[str, Any] = (await database().insist(person, "complete_reconnect_v1", args, STORE_SECONDS)).result
        if result["stored"]:
            return result
        generation = result["generation"]
    raise Problem(409, "generation_moved", "The connection was refreshed again and again meanwhile; sign in once more.")
