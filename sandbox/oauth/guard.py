"""Which access token may call which endpoint (RFC 6750)."""

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.params import Depends as Dependency

from sandbox.oauth.database import Database
from sandbox.oauth.grants import Grants, Token
from sandbox.oauth.refusals import RefusedError


def database_of(request: Request) -> Database:
    """The server's database."""
    database = request.app.state.database
    assert isinstance(database, Database)  # noqa: S101 - put there by `sandbox.oauth.server.build`
    return database


def bearer(request: Request, authorization: Annotated[str | None, Header()] = None) -> Token:
    """The live access token of the call. Raises `RefusedError` 401 as in RFC 6750 section 3."""
    realm = f'Bearer realm="{request.app.state.name}"'
    kind, _, value = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not value.strip():
        raise RefusedError(401, "unauthorized", "An access token is required.", {"WWW-Authenticate": realm})
    grants = request.app.state.grants
    assert isinstance(grants, Grants)  # noqa: S101
    token = grants.live(value.strip(), "access")
    if token is None:
        message = "The access token is unknown, expired or revoked."
        challenge = f'{realm}, error="invalid_token", error_description="{message}"'
        raise RefusedError(401, "invalid_token", message, {"WWW-Authenticate": challenge})
    return token


def require(scope: str) -> Dependency:
    """A dependency that lets only tokens with `scope` through; others get 403 `insufficient_scope`."""

    def check(request: Request, token: Bearer) -> None:
        if scope not in token.scopes:
            challenge = f'Bearer realm="{request.app.state.name}", error="insufficient_scope", scope="{scope}"'
            message = f"The access token does not carry the scope {scope}."
            raise RefusedError(403, "insufficient_scope", message, {"WWW-Authenticate": challenge})

    dependency = Depends(check)
    assert isinstance(dependency, Dependency)  # noqa: S101
    return dependency


Bearer = Annotated[Token, Depends(bearer)]
Db = Annotated[Database, Depends(database_of)]
