"""Facts that a manifest and the provider's documents both state, side by side."""

from collections.abc import Iterator
from typing import Any

from api.config import ConfigurationError
from tests.providers.exercise import Provider, sign_in

Fact = tuple[str, Any, Any]


def contradictions(provider: Provider) -> list[str]:
    """Where the manifest says something else than the documents."""
    return [
        f"{name}: the manifest says {ours!r}, the documents {theirs!r}"
        for name, ours, theirs in _facts(provider)
        if ours != theirs
    ]


def _facts(provider: Provider) -> Iterator[Fact]:
    site, shape, oauth = provider.site, provider.shape.oauth, provider.manifest.oauth
    yield "provider", provider.manifest.name, provider.shape.provider
    yield "authorize_url", site.expand(oauth.authorize_url), shape.authorize.url
    yield "token_url", site.expand(oauth.token_url), shape.token.url
    yield "client_authentication", oauth.client_authentication, shape.token.client_authentication
    yield "token_body", oauth.token_body, "json" if shape.token.content_type == "application/json" else "form"
    if not oauth.never_expires:
        yield "refresh_rotates", oauth.refresh_rotates, shape.token.rotates
    demanded = "code_challenge" in shape.authorize.query.get("required", [])
    yield "pkce is required", oauth.pkce == "required", demanded
    yield from _revocation(provider)


def _revocation(provider: Provider) -> Iterator[Fact]:
    ours, theirs = provider.manifest.oauth.revoke, provider.shape.oauth.revoke
    yield "revoke", ours is not None, theirs is not None
    if ours is None or theirs is None:
        return
    address = ours.url.replace("{token}", "TOKEN")
    try:
        known = provider.site.expand(address)
    except ConfigurationError:  # it is at an address that comes with the consent
        known = sign_in(provider).site.expand(address)
    yield "revoke.url", known, theirs.url.replace("{token}", "TOKEN")
    yield "revoke.method", ours.method, theirs.method
    yield "revoke.send", ours.send, theirs.send
    yield "revoke.client_authentication", ours.client_authentication, theirs.client_authentication
    if theirs.token != "either":
        yield "revoke.token", ours.token, theirs.token
