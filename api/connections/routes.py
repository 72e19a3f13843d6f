"""Connecting provider accounts. The callback is the only page here that a browser opens."""

from html import escape
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.auth import Caller
from api.connections import service
from api.connections.models import Connection, ConnectionStarted, Disconnected, NewConnection
from api.errors import Problem
from api.routing import slice_router

router = slice_router("connections")
callback_router = APIRouter(tags=["connections"])
#: A provider's answer has a handful of parameters; a code may be long.
MAX_PARAMETERS, MAX_VALUE = 30, 4000
#: The address of a callback holds a code: no page that follows is told it, and nobody keeps the answer.
_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


@router.post("/connections", status_code=201, operation_id="create_connection", response_model=ConnectionStarted)
async def create_connection(body: NewConnection, caller: Caller, response: Response) -> dict[str, Any]:
    """Starts a sign-in at a provider. Every call starts a new one, so it takes no Idempotency-Key."""
    return service.bind(response, body.provider, *await service.begin(caller, body))


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
    return service.bind(response, provider, *await service.reconnect(caller, connection_id))


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
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<main><h1>{escape(title)}</h1><p>{escape(text)}</p>"
        f'<p><a href="/connections">To the connections</a></p></main></html>',
        status,
        headers=_HEADERS | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"},
    )


@callback_router.get("/oauth/{provider}/callback", include_in_schema=False)
async def callback(provider: str, request: Request) -> Response:
    """Ends a sign-in. A person at a browser goes on to the connection's page; anybody else is told that it is done."""
    try:
        answer = _answer(request)
        state = answer.get("state", "")
        result = await service.complete(provider, state, service.bound(request, state), answer)
    except Problem as problem:
        return _page("Not connected", str(problem.detail), problem.status_code)
    connection_id = result["connection_id"]
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/connections/{connection_id}?done=connected", 303, headers=_HEADERS)
    return _page("Connected", f"The connection {connection_id} is active. You can close this window.", 200)


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
