"""Disconnecting: closed here at once, revoked at the provider, tokens destroyed. Each step can be tried again."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.config import ConfigurationError
from api.connections import vault
from api.connections.credential import is_expiring, open_credential, provider, sealed, site_of, token_set
from api.connections.give_back import give_back_late
from api.connections.sign_in import STORE_SECONDS
from api.db import database
from api.errors import Problem
from api.providers import client
from api.providers.site import Site

log = logging.getLogger("countersign.connections")
#: A refresh that is under way is waited for this often, a quarter of a second each; after that it is the schedule's.
WAIT_TRIES = 12

_SAID = {
    "pending": "The connection is closed: nobody can use it any more. {title} has not confirmed yet that the grant is "
    "revoked; that is tried again until it does.",
    "confirmed": "The connection is closed, {title} confirmed that the grant is revoked, and its tokens are destroyed.",
    "unsupported": "The connection is closed and its tokens are destroyed. {title} offers no way to revoke a grant "
    "from here: remove Countersign in its own settings.",
    "failed": "The connection is closed and its tokens are destroyed, but {title} never confirmed that the grant is "
    "revoked: remove Countersign in its own settings.",
    "nothing_to_revoke": "The connection is closed. It held no tokens, so there was nothing to revoke at {title}.",
    "shared": "The connection is closed and its tokens are destroyed. The grant at {title} stays: revoking it would "
    "end another connection of this account, and it is revoked when the last of them is disconnected.",
}


async def disconnect(principal: Principal, connection_id: UUID) -> dict[str, Any]:
    """Closes a connection and revokes its grant; says at which step it is, and what a person may have to do.

    From its first statement on no claim gets the credential. What does not succeed now is the schedule's.
    """
    closed = (await database().call(principal, "revoke_connection_v1", {"id": connection_id})).result
    state = closed["disconnect"]
    for attempt in range(WAIT_TRIES):
        if state is None or state["at_provider"] != "pending" or (attempt == 0 and state["attempts"] > 0):
            break
        on_behalf_of = {"kind": principal.kind, "id": principal.claims.get("sub") or principal.claims.get("key_id")}
        told = await revoke_at_provider(closed["tenant_id"], connection_id, closed["provider"], on_behalf_of)
        if told is not None:
            state = told
            break
        await asyncio.sleep(0.25)
    at_provider = state["at_provider"] if state else "nothing_to_revoke"
    return {
        "id": closed["id"],
        "status": "revoked",
        "revoked_at_provider": at_provider == "confirmed",
        "disconnect": state,
        "message": _SAID[at_provider].format(title=_title(closed["provider"])),
    }


def _title(name: str) -> str:
    try:
        return provider(name).title
    except Problem:
        return name


def _ends(name: str) -> str:
    try:
        how = provider(name).oauth.revoke
    except Problem:
        return "token"
    return "token" if how is None else how.ends


async def revoke_at_provider(
    tenant_id: UUID | str, connection_id: UUID | str, provider_name: str, on_behalf_of: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Makes one try at revoking a closed connection's grant; how far it is then, None when it was not ours to try.

    Where that ends the whole grant, and another connection of the account uses it, nothing is revoked.
    """
    executor = system(tenant_id, "disconnect", on_behalf_of)
    claim = {"connection_id": connection_id, "ends": _ends(provider_name)}
    claimed = (await database().call(executor, "claim_revocation_v1", claim)).result
    if not claimed["claimed"]:
        left: dict[str, Any] | None = claimed.get("disconnect")
        return left
    credential = claimed["credential"]
    generation, outcome, error = await _revoke(executor, credential)
    finish = {
        "connection_id": connection_id,
        "attempt": claimed["attempt"],
        "generation": generation,
        "outcome": outcome,
        "error": error,
    }
    state: dict[str, Any] = (await database().call(executor, "finish_revocation_v1", finish)).result
    return state


async def _revoke(executor: Principal, credential: dict[str, Any]) -> tuple[int, str, str | None]:
    """The generation that was revoked, how that ended, and what went wrong."""
    generation: int = credential["generation"]
    try:
        site, tokens = site_of(credential), open_credential(credential)
        fresh = await _refreshed(executor, site, credential, tokens)
        if fresh is not None:
            generation, tokens = generation + 1, fresh
        outcome = await client.revoke(site, tokens)
    except client.TokenError as error:
        # Who gives no tokens for a grant because it is gone, has said what a revocation would.
        return generation, "confirmed" if error.final else "failed", str(error)
    except (vault.SealError, ConfigurationError) as error:
        return generation, "failed", str(error)
    except Problem as problem:
        return generation, "failed", str(problem.detail)
    except Exception:
        log.exception("revoking connection %s broke", credential["connection_id"])
        return generation, "failed", "Revoking broke on our side; it was logged."
    return generation, outcome, "The provider did not confirm." if outcome == "failed" else None


async def _refreshed(
    executor: Principal, site: Site, credential: dict[str, Any], tokens: dict[str, str]
) -> dict[str, str] | None:
    """Fresh tokens, stored, where the provider revokes with an access token and the one there is has ended."""
    how = site.manifest.oauth.revoke
    refresh_token = tokens.get("refresh_token")
    if how is None or how.token != "access_token" or not refresh_token or not is_expiring(credential):  # noqa: S105
        return None
    fresh = await client.exchange(site, {"grant_type": "refresh_token", "refresh_token": refresh_token})
    generation: int = credential["generation"]
    args = token_set(site.manifest, credential, generation + 1, fresh, refresh_token) | {"replaces": generation}
    try:
        await database().insist(executor, "store_credential_v1", args, STORE_SECONDS)
    except psycopg.Error as error:
        if error.diag.message_detail == "connection_closed":  # somebody else has finished this disconnect
            await give_back_late(credential, fresh)
        raise
    return sealed(fresh)
