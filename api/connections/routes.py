"""Connecting provider accounts. The callback is the only page here that a browser opens."""

from hashlib import sha256
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from api.auth import Caller
from api.config import settings
from api.connections import service
from api.connections.models import Connection, ConnectionStarted, Disconnected, NewConnection
from api.errors import Problem
from api.routing import slice_router

router = slice_router("connections")
callback_router = APIRouter(tags=["connections"])
#: A provider's answer has a handful of parameters; a code may be long.
MAX_PARAMETERS, MAX_VALUE = 30, 4000


def _cookie(state: str) -> str:
    # Named after the state, so that two sign-ins in one browser do not overwrite each other.
    return f"countersign_oauth_{sha256(state.encode()).hexdigest()[:16]}"


def _bound(response: Response, provider: str, started: dict[str, Any], binding: str) -> dict[str, Any]:
    """The sign-in that was started, with the cookie that binds it to this browser."""
    state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
    response.set_cookie(
        _cookie(state),
        binding,
        max_age=service.FLOW_MINUTES * 60,
        path=f"/oauth/{provider}",
        httponly=True,
        samesite="lax",
        secure=settings().public_url.startswith("https://"),
    )
    return started


@router.post("/connections", status_code=201, operation_id="create_connection", response_model=ConnectionStarted)
async def create_connection(body: NewConnection, caller: Caller, response: Response) -> dict[str, Any]:
    """Starts a sign-in at a provider. Every call starts a new one, so it takes no Idempotency-Key."""
    return _bound(response, body.provider, *await service.begin(caller, body))


@router.post(
    "/connections/{connection_id}/reconnect",
    status_code=201,
    operation_id="reconnect_connection",
    response_model=ConnectionStarted,
)
async def reconnect_connection(connection_id: UUID, caller: Caller, response: Response) -> dict[str, Any]:
    """Starts a new sign-in for a connection that is there: to renew its consent, or to bring back one that has expired.

    It stays as it is, and keeps its id, until the same account has consented to exactly what it asks for.
    """
    provider = (await service.get_connection(caller, connection_id))["provider"]
    return _bound(response, provider, *await service.reconnect(caller, connection_id))


@router.get("/connections", operation_id="list_connections", response_model=list[Connection])
async def list_connections(caller: Caller) -> list[dict[str, Any]]:
    """The tenant's connections, newest first."""
    return await service.list_connections(caller)


@router.get("/connections/{connection_id}", operation_id="get_connection", response_model=Connection)
async def get_connection(connection_id: UUID, caller: Caller) -> dict[str, Any]:
    """One connection: its state, its account and the scopes that were granted."""
    return await service.get_connection(caller, connection_id)


@router.delete("/connections/{connection_id}", operation_id="delete_connection", response_model=Disconnected)
async def delete_connection(connection_id: UUID, caller: Caller) -> dict[str, Any]:
    """Closes the connection at once, revokes its grant at the provider, then destroys its tokens.

    What the provider does not confirm now is tried again by the schedule; the answer says at which step it is.
    """
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
async def callback(provider: str, request: Request) -> HTMLResponse:
    try:
        answer = _answer(request)
        state = answer.get("state", "")
        result = await service.complete(provider, state, request.cookies.get(_cookie(state), ""), answer)
    except Problem as problem:
        return _page("Not connected", str(problem.detail), problem.status_code)
    return _page("Connected", f"The connection {result['connection_id']} is active. You can close this window.", 200)


def _answer(request: Request) -> dict[str, str]:
    """The provider's answer, each parameter once (RFC 6749 section 3.1); Problem 400 when it is none."""
    parameters = request.query_params.multi_items()
    answer = dict(parameters)
    if (
        len(answer) != len(parameters)
        or len(answer) > MAX_PARAMETERS
        or any(len(v) > MAX_VALUE for v in answer.values())
    ):
        raise Problem(400, "invalid_answer", "This is no answer of a provider's.")
    return answer
