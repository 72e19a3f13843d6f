"""Tokens that came and are not kept: they are given back, unless that would end what another connection rests on."""

import logging
from typing import Any, Literal
from uuid import UUID

import psycopg

from api.auth import system
from api.connections.credential import sealed, site_of
from api.db import database
from api.errors import Problem
from api.monitoring import service as monitoring
from api.providers import client
from api.providers.site import Site

log = logging.getLogger("countersign.connections")

GivenBack = Literal["confirmed", "failed", "unsupported", "shared"]

_LATE: dict[GivenBack, str] = {
    "confirmed": "they were given back",
    "failed": "the provider did not confirm that they ended; remove Countersign there by hand",
    "unsupported": "the provider has no way to end them from here; remove Countersign there by hand",
    "shared": "another connection uses the same grant, so that they were not given back; they are kept nowhere",
}


async def give_back(
    site: Site, tenant_id: UUID | str, connection_id: UUID | str, tokens: client.Tokens, *, any_account: bool = False
) -> GivenBack:
    """Revokes tokens that were never stored; `shared` when that was left out for the sake of another connection.

    any_account: nobody can say which account they are for, so any connection in use counts, also this very one.
    """
    how = site.manifest.oauth.revoke
    if how is not None and how.ends == "grant":
        asked = {"connection_id": connection_id, "any_account": any_account}
        try:
            answer = await database().call(system(tenant_id, "give_back"), "grant_lives_on_v1", asked)
        except psycopg.Error:
            log.exception("connection %s: nobody can say who shares its grant; it is not given back", connection_id)
            return "shared"
        if answer.result["lives_on"]:
            return "shared"
    return await client.revoke(site, sealed(tokens))


async def give_back_late(credential: dict[str, Any], tokens: client.Tokens) -> GivenBack:
    """Gives back what a refresh brought for a connection that was closed meanwhile, and leaves word of it."""
    tenant_id, connection_id = credential["tenant_id"], credential["connection_id"]
    ended = await give_back(site_of(credential), tenant_id, connection_id, tokens)
    log.warning("connection %s was closed before its fresh tokens came: %s", connection_id, ended)
    title = f"Tokens for a closed connection to {credential['provider']} came too late: {_LATE[ended]}."
    severity = "info" if ended in ("confirmed", "shared") else "warning"
    detail = {"provider": credential["provider"], "access": credential["access"], "given_back": ended}
    try:
        await monitoring.raise_alert(
            system(tenant_id, "give_back"),
            "connection.late_tokens",
            severity,
            ("connection", str(connection_id)),
            title,
            environment=credential["environment"],
            detail=detail,
        )
    except (psycopg.Error, Problem):
        log.exception("connection %s: nobody could be told", connection_id)
    return ended
