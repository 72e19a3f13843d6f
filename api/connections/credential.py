"""A connection's provider and tokens, as a released credential names them, and what is kept of a token set."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from api.connections import vault
from api.errors import Problem
from api.providers.client import Tokens
from api.providers.manifest import Manifest
from api.providers.manifest import manifest as find_manifest
from api.providers.site import Site

#: Of the scopes that a provider names, this many are kept, and of each this many characters.
MAX_SCOPES, MAX_SCOPE = 200, 300


def provider(name: str) -> Manifest:
    """The manifest of a provider; Problem 404 when there is none."""
    manifest = find_manifest(name)
    if manifest is None:
        raise Problem(404, "unknown_provider", f"There is no provider named {name[:60]!r}.")
    return manifest


def site_of(credential: dict[str, Any]) -> Site:
    """The provider as the connection of a released credential sees it."""
    return provider(credential["provider"]).site(credential["environment"], credential.get("values") or {})


def open_credential(credential: dict[str, Any]) -> dict[str, str]:
    """The tokens of a released credential."""
    return vault.unseal(credential["envelope"], bound_to(credential, credential["generation"]))


def bound_to(credential: dict[str, Any], purpose: object) -> bytes:
    """What an envelope of this connection is bound to: a generation of its tokens, or another purpose."""
    return vault.context(credential["tenant_id"], credential["connection_id"], credential["environment"], purpose)


def is_expiring(credential: dict[str, Any], margin_seconds: float = 30) -> bool:
    """Whether the access token ends within the margin; never, where tokens have no end."""
    if credential["expires_at"] is None:
        return False
    expires_at = datetime.fromisoformat(credential["expires_at"])
    return expires_at <= datetime.now(UTC) + timedelta(seconds=margin_seconds)


def sealed(tokens: Tokens) -> dict[str, str]:
    """What is sealed of a token set."""
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token or ""}


def token_set(
    manifest: Manifest, credential: dict[str, Any], generation: int, tokens: Tokens, replaced: str | None = None
) -> dict[str, Any]:
    """A token set as the database keeps it, as a generation of its connection: sealed, with the times it ends.

    renew_at: when to refresh it if nobody calls with it, half of the time after which the provider ends an idle grant.
    replaced: the refresh token before this one; while that stays and nothing is said, it ends when it did.
    """
    now = datetime.now(UTC)
    idle = manifest.oauth.refresh_idle_days
    kept: dict[str, Any] = {
        "connection_id": credential["connection_id"],
        "envelope": vault.seal(sealed(tokens), bound_to(credential, generation)),
        "token_expires_at": None if tokens.expires_in is None else now + timedelta(seconds=tokens.expires_in),
        "renew_at": now + timedelta(days=idle) / 2 if idle and tokens.refresh_token else None,
    }
    if not tokens.refresh_token:
        kept["refresh_expires_at"] = None
    elif tokens.refresh_expires_in is not None:
        kept["refresh_expires_at"] = now + timedelta(seconds=tokens.refresh_expires_in)
    elif tokens.refresh_token != replaced:
        kept["refresh_expires_at"] = None
    if tokens.scopes is not None:
        kept["scopes_granted"] = named(tokens.scopes)
    return kept


def named(scopes: Iterable[str]) -> list[str]:
    """Scopes as they are kept and shown: of legible characters, and not too many."""
    kept = sorted({legible(scope, MAX_SCOPE) for scope in scopes})
    return kept if len(kept) <= MAX_SCOPES else [*kept[:MAX_SCOPES], "..."]


def legible(text: str, length: int = 300) -> str:
    """A provider's text as Postgres keeps it and people can read it."""
    return "".join(c if c.isprintable() else "?" for c in text[:length])
