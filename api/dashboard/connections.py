"""Connections: what Countersign reaches at providers, how it is with each, and connecting and disconnecting them."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request, Response

from api.connections import service
from api.connections.models import NewConnection
from api.dashboard import format as formats
from api.dashboard import people, words
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.providers import service as providers
from api.providers.models import Provider

router = page_router()
#: Those that somebody has to see first.
_ORDER = {"expired": 0, "degraded": 1, "pending": 2, "active": 3, "revoked": 4}
#: A consent is worth a warning so many seconds before its end.
_SOON = 14 * 86_400


@router.get("/connections")
async def show_connections(request: Request, who: Reader) -> Response:
    """Every connection: those in use first, and what was disconnected below."""
    rows = await service.list_connections(who.principal)
    known = _known()
    order = sorted(rows, key=lambda each: _ORDER.get(each["status"], 0))
    return page(
        who, "connections.html", request=request, known=known, health=health, title_of=_title_of(known),
        scopes_of=scopes,
        open=[each for each in order if each["status"] != "revoked"],
        over=[each for each in rows if each["status"] == "revoked"],
    )  # fmt: skip


@router.get("/connections/new")
async def show_providers(request: Request, who: Reader) -> Response:
    """What can be connected."""
    return page(who, "connection_providers.html", request=request, providers=sorted(
        providers.list_providers(), key=lambda each: (each.kind, each.title)))  # fmt: skip


@router.get("/connections/new/{provider}")
async def show_new(request: Request, provider: str, who: Reader) -> Response:
    return await _new(request, who, _provider(provider))


@router.post("/connections/new/{provider}")
async def connect(request: Request, provider: str, who: Reader, form: Sent) -> Response:
    """Begins a sign-in. Its page has a link to the provider: a form of ours may not lead to another site."""
    chosen = _provider(provider)
    try:
        parameters = {name: form.text(f"parameter:{name}") for name in chosen.parameters}
        given = {"provider": chosen.name, "environment": form.text("environment"), "access": form.text("access")}
        body = filled(NewConnection, given | {"parameters": parameters})
        who = await stepped_up(who, form, request)
        started, binding = await service.begin(who.principal, body)
    except Exception as error:
        return await _new(request, who, chosen, typed=form, problem=problem_of(error))
    return _onward(request, who, chosen, started, binding, body.access)


@router.get("/connections/{connection_id}")
async def show_connection(request: Request, connection_id: UUID, who: Reader) -> Response:
    return await _one(request, who, connection_id)


@router.post("/connections/{connection_id}/reconnect")
async def reconnect(request: Request, connection_id: UUID, who: Reader, form: Sent) -> Response:
    """Begins a new sign-in for a connection that is there, and stays as it is until that has ended well."""
    try:
        who = await stepped_up(who, form, request)
        shown = await service.get_connection(who.principal, connection_id)
        started, binding = await service.reconnect(who.principal, connection_id)
    except Exception as error:
        return await _one(request, who, connection_id, problem=problem_of(error))
    chosen = _provider(shown["provider"])
    return _onward(request, who, chosen, started, binding, shown["access"], shown=shown)


@router.post("/connections/{connection_id}/disconnect")
async def disconnect(request: Request, connection_id: UUID, who: Reader, form: Sent) -> Response:
    """Closes a connection. Its page says how far the provider has confirmed it."""
    try:
        who = await stepped_up(who, form, request)
        await service.disconnect(who.principal, connection_id)
    except Exception as error:
        return await _one(request, who, connection_id, problem=problem_of(error))
    return to(f"/connections/{connection_id}?done=disconnected")


def scopes(each: dict[str, Any], provider: Provider | None) -> list[str]:
    """What a connection was granted, or asks for until then: what changes something first."""
    reads = provider.scopes.read if provider else []
    return sorted(each["scopes_granted"] or each["scopes_requested"], key=lambda scope: scope in reads)


def health(each: dict[str, Any]) -> tuple[str, str, str]:
    """How it is with a connection, as (word, tone, what to do): the worst that is known of it."""
    status, circuit = each["status"], each["circuit"]["state"]
    reason = each["status_reason"] or ""
    if status == "revoked":
        return "Disconnected", "neutral", ""
    if status == "pending":
        return "Sign-in not finished", "warn", "Nobody has finished signing in at the provider. Connect it again."
    if status in ("expired", "degraded"):
        word = "Ended" if status == "expired" else "Paused"
        return word, "bad", f"{reason or 'Its consent does not hold any more.'} Sign in again to bring it back."
    if circuit == "open":
        return "Calls wait", "bad", "The provider kept failing. It is tried again by itself; nothing is lost."
    if each["refresh_failures"]:
        times = f"{each['refresh_failures']} times" if each["refresh_failures"] > 1 else "once"
        return "Cannot be renewed", "warn", f"Renewing its tokens failed {times}. It is tried again by itself."
    if circuit == "half_open":
        return "Being tried again", "warn", "One call at a time, until the provider answers well."
    if _ends_soon(each["consent_expires_at"]):
        return "Consent ends soon", "warn", "Sign in again before it ends, so that nothing stops."
    return "Well", "good", ""


def calls(circuit: dict[str, Any]) -> str:
    """Why no call is made, or only one at a time, in a sentence; '' when calls go through."""
    if circuit["state"] == "open":
        return f"It failed time and again since {formats.absolute(circuit['since'])}. What is to be done waits."
    if circuit["state"] == "half_open":
        return "It had failed time and again. The first call that is answered lets the others through."
    if circuit["next_call_at"]:
        return "The provider asked for a pause. What is to be done waits for its end."
    return ""


def allowance(limit: dict[str, Any]) -> tuple[str, int, str]:
    """What a limit allows in words, of how many calls it is, and how much of it is used in words."""
    allows = f"{words.count(limit['requests'], 'call')} in {formats.duration(float(limit['seconds']))}"
    if limit["at_once"] is None:
        return allows, limit["requests"], ""
    of = limit["at_once"]
    return allows, of, f"{formats.number(limit['used'])} of the {formats.number(of)} that may come at once"


def _ends_soon(moment: Any) -> bool:
    at = formats.moment(moment)
    return at is not None and (at - datetime.now(UTC)).total_seconds() < _SOON


def _onward(
    request: Request, who: Visitor, chosen: Provider, started: dict[str, Any], binding: str, access: str,
    shown: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    answer = page(
        who, "connection_onward.html", request=request, provider=chosen, address=started["authorize_url"], shown=shown,
        site=urlsplit(started["authorize_url"]).netloc, minutes=service.FLOW_MINUTES, access=access,
        asked=chosen.scopes.write if access == "write" else chosen.scopes.read,
    )  # fmt: skip
    service.bind(answer, chosen.name, started, binding)
    return answer


async def _new(
    request: Request, who: Visitor, chosen: Provider, *, typed: Form | None = None, problem: Problem | None = None
) -> Response:
    status = problem.status_code if problem else 200
    return page(
        who, "connection_new.html", request=request, status=status, provider=chosen, typed=typed, problem=problem
    )


async def _one(request: Request, who: Visitor, connection_id: UUID, *, problem: Problem | None = None) -> Response:
    shown, names = await asyncio.gather(service.get_connection(who.principal, connection_id), people.names(who))
    known = _known()
    provider = known.get(shown["provider"])
    return page(
        who, "connection.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        shown=shown, provider=provider, title=_title_of(known)(shown["provider"]), names=names, health=health(shown),
        listed=scopes(shown, provider), allowance=allowance, calls=calls(shown["circuit"]),
        tools=[each for each in (provider.tools if provider else []) if each.access in ("read", shown["access"])],
    )  # fmt: skip


def _known() -> dict[str, Provider]:
    return {each.name: each for each in providers.list_providers()}


def _title_of(known: dict[str, Provider]) -> Any:
    return lambda name: known[name].title if name in known else name


def _provider(name: str) -> Provider:
    found = _known().get(name)
    if found is None:
        raise Problem(404, "not_found", "There is no such provider.")
    return found
