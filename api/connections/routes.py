"""Connecting provider accounts. The callback is the only page here that a browser opens."""

from hashlib import sha256
from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from api.auth import Caller
from api.config import settings
from api.connections import service
from api.connections.models import Connection, ConnectionStarted, NewConnection
from api.errors import Problem
from api.routing import slice_router

router = slice_router("connections")
callback_router = APIRouter(tags=["connections"])


def _cookie(state: str) -> str:
    # Named after the state, so that two sign-ins in one browser do not overwrite each other.
    return f"countersign_oauth_{sha256(state.encode()).hexdigest()[:16]}"


@router.post("/connections", status_code=201, operation_id="create_connection", response_model=ConnectionStarted)
async def create_connection(body: NewConnection, caller: Caller, response: Response) -> dict[str, Any]:
    """Starts a sign-in at a provider. Every call starts a new one, so it takes no Idempotency-Key."""
    started, binding = await service.begin(caller, body)
    state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
    response.set_cookie(
        _cookie(state),
        binding,
        max_age=service.FLOW_MINUTES * 60,
        path=f"/oauth/{body.provider}",
        httponly=True,
        samesite="lax",
        secure=settings().public_url.startswith("https://"),
    )
    return started


@router.get("/connections", operation_id="list_connections", response_model=list[Connection])
async def list_connections(caller: Caller) -> list[dict[str, Any]]:
    """The tenant's connections, newest first."""
    return await service.list_connections(caller)


@router.get("/connections/{connection_id}", operation_id="get_connection", response_model=Connection)
async def get_connection(connection_id: UUID, caller: Caller) -> dict[str, Any]:
    """One connection: its state, its account and the scopes that were granted."""
    return await service.get_connection(caller, connection_id)


@router.delete("/connections/{connection_id}", operation_id="delete_connection")
async def delete_connection(connection_id: UUID, caller: Caller) -> dict[str, Any]:
    """Destroys the stored tokens and revokes the grant at the provider."""
    return await service.disconnect(caller, connection_id)


def _page(title: str, text: str, status: int) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} - Countersign</title>'
        f'<meta name="viewport" content="width=device-width"><main><h1>{escape(title)}</h1>'
        f"<p>{escape(text)}</p></main></html>",
        status,
        headers={
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )


@callback_router.get("/oauth/{provider}/callback", include_in_schema=False)
async def callback(
    provider: str,
    request: Request,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str | None, Query(max_length=2000)] = None,
    error: Annotated[str | None, Query(max_length=200)] = None,
    iss: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    binding = request.cookies.get(_cookie(state), "")
    try:
        result = await service.complete(provider, state, binding, code, error, iss)
    except Problem as problem:
        return _page("Not connected", str(problem.detail), problem.status_code)
    return _page("Connected", f"The connection {result['connection_id']} is active. You can close this window.", 200)
