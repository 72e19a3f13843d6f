"""Fresh tokens for a connection: for a live claim that holds it, or because it would end by lying idle."""

import logging
from typing import Any
from uuid import UUID

import psycopg

from api.auth import Principal, system
from api.config import ConfigurationError, settings
from api.connections import vault
from api.connections.credential import is_expiring, open_credential, provider, sealed, site_of, token_set
from api.connections.give_back import give_back_late
from api.connections.sign_in import STORE_SECONDS
from api.db import database
from api.errors import Problem
from api.providers import client

log = logging.getLogger("countersign.connections")
#: A token that somebody else has just fetched is used for as long as it lives, less the time to say so.
FRESH_MARGIN = 2
#: The last try at storing begins before STORE_SECONDS are over, and ends with the statement timeout of our login.
LAST_TRY = 15


class RefreshBusyError(RuntimeError):
    """Somebody else refreshes this connection now; try again in a moment."""


async def refresh(credential: dict[str, Any], claimed_for: UUID | str) -> dict[str, str]:
    """Exchanges the refresh token of a credential that a live claim holds; answers the new tokens, sealed already.

    One refresher per connection at a time, and the new refresh token is stored before the new access token is used.
    Whoever comes second takes what the first one stored. When the provider says that the grant is gone, the connection
    ends as `expired`; that is also what a lost answer leads to, if the provider takes each refresh token once.
    Raises RefreshBusyError, client.TokenError when no tokens came, Problem when they are not for calls (other scopes
    than were asked for, or somebody disconnected meanwhile), psycopg.Error when the claim is over.
    """
    executor = system(credential["tenant_id"], "refresh_tokens")
    claim = {
        "connection_id": credential["connection_id"],
        "claimed_for": claimed_for,
        "generation": credential["generation"],
        "lease_seconds": _lease_seconds(),
    }
    claimed = (await database().call(executor, "claim_refresh_v1", claim)).result
    if not claimed["claimed"]:
        raise RefreshBusyError("Another function refreshes this connection.")
    current = claimed["credential"]
    if claimed["fresh"]:
        if is_expiring(current, FRESH_MARGIN):
            return await refresh(current, claimed_for)
        return open_credential(current)
    return await _exchange(executor, current, claimed["lease_until"])


async def keep_alive(tenant_id: UUID | str, connection_id: UUID | str) -> bool:
    """Refreshes a connection that is due although nobody calls with it; False when it is not, or no tokens came."""
    executor = system(tenant_id, "refresh_tokens")
    claim = {"connection_id": connection_id, "lease_seconds": _lease_seconds()}
    claimed = (await database().call(executor, "claim_keep_alive_v1", claim)).result
    if not claimed["claimed"]:
        return False
    try:
        await _exchange(executor, claimed["credential"], claimed["lease_until"])
    except (client.TokenError, vault.SealError, ConfigurationError, RefreshBusyError) as error:
        log.warning("connection %s was not kept alive: %s", connection_id, error)  # it is put off, and counted
        return False
    except Problem as problem:
        log.warning("connection %s: %s", connection_id, problem.detail)  # stored, and not for calls
    return True


def _lease_seconds() -> float:
    """How long an exchange and storing what comes of it may take: nobody else may offer the same token meanwhile."""
    return settings().provider_timeout + STORE_SECONDS + LAST_TRY


async def _exchange(executor: Principal, current: dict[str, Any], lease_until: str) -> dict[str, str]:
    """The exchange itself, by who holds the refresh lease; a failure gives the lease back."""
    try:
        refresh_token = open_credential(current).get("refresh_token")
        if not refresh_token:
            raise client.TokenError("invalid_grant")  # the provider gave none: this consent lives as long as its token
        grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        fresh = await client.exchange(site_of(current), grant)
    except Exception as error:
        await _fail(executor, current, lease_until, error)
        raise
    stored = await _store(executor, current, fresh, refresh_token)
    if stored["status"] != "active":
        detail = f"The connection is {stored['status']}; no call is made with it."
        raise Problem(409, "connection_not_active", detail)
    return sealed(fresh)


async def _fail(executor: Principal, current: dict[str, Any], lease_until: str, error: Exception) -> None:
    final = isinstance(error, client.TokenError) and error.final
    known = isinstance(error, client.TokenError | vault.SealError | ConfigurationError)
    reason = str(error) if known else "The refresh broke on our side."
    failure = {
        "connection_id": current["connection_id"],
        "generation": current["generation"],
        "reason": f"{reason} Connect it again." if final else reason,
        "final": final,
        "lease_until": lease_until,
    }
    await database().call(executor, "fail_refresh_v1", failure)


async def _store(executor: Principal, current: dict[str, Any], fresh: client.Tokens, replaced: str) -> dict[str, Any]:
    """Seals a token set as the generation after the current one, and keeps trying while the database is away."""
    generation = current["generation"]
    args = token_set(provider(current["provider"]), current, generation + 1, fresh, replaced) | {"replaces": generation}
    try:
        answer = await database().insist(executor, "store_credential_v1", args, STORE_SECONDS)
    except psycopg.Error as error:
        # Our own earlier try, whose answer was lost, or somebody who signed in anew: what is stored now is to be used.
        if error.diag.message_detail == "generation_moved":
            raise RefreshBusyError("Other tokens were stored meanwhile.") from None
        if error.diag.message_detail == "connection_closed":
            await give_back_late(current, fresh)
        raise
    result: dict[str, Any] = answer.result
    return result
