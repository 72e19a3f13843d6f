"""Channels: where alerts are told beside these pages, whether they prove to be whom they are meant for, and what became
of what they were told."""

import asyncio
from typing import Any, Literal
from uuid import UUID

from fastapi import Request, Response

from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.notifications import service
from api.notifications.models import (
    ChannelChange,
    ChannelRotation,
    Disabling,
    NewChannel,
    Verification,
)
from api.pagination import PageRequest
from api.tenants import service as tenants

router = page_router()
#: Deliveries that a page shows.
SHOWN = 20
Step = Literal["verify", "code", "test", "change", "rotate", "disable", "enable", "delete"]
HOME = "/settings/channels"


@router.get(HOME)
async def show_channels(request: Request, who: Reader) -> Response:
    listed = await service.list_all(who.principal, PageRequest(50, request.query_params.get("cursor")), None)
    return page(who, "channels.html", request=request, listed=listed)


@router.get(f"{HOME}/new")
async def show_new(request: Request, who: Reader) -> Response:
    return await _new(request, who)


@router.post(HOME)
async def create(request: Request, who: Reader, form: Sent) -> Response:
    """Makes a channel, which then has to prove itself. A webhook's secret is shown on the page that answers."""
    body = {name: form.text(name) for name in ("kind", "name", "target", "least_severity")}
    body |= {name: form.text(name) or None for name in ("environment", "owner_id")}  # type: ignore[misc]
    try:
        asked = filled(NewChannel, body)
        who = await stepped_up(who, form, request)
        made = (await service.create(who.principal, asked, form.once)).result
    except Exception as error:
        return await _new(request, who, problem=problem_of(error), typed=form)
    if made.get("secret"):
        return await _one(request, who, UUID(made["id"]), secret=made["secret"])
    done = {"failed": "channel_unmailed"}.get(made.get("mail") or "", "channel_made")
    return to(f"{HOME}/{made['id']}?done={done}")


@router.get(f"{HOME}/{{channel_id:uuid}}")
async def show_channel(request: Request, channel_id: UUID, who: Reader) -> Response:
    return await _one(request, who, channel_id)


@router.post(f"{HOME}/{{channel_id:uuid}}/{{step}}")
async def take_step(request: Request, channel_id: UUID, step: Step, who: Reader, form: Sent) -> Response:
    """Proves, tries, changes, stops or ends a channel, or gives it a new secret."""
    try:
        who = await stepped_up(who, form, request)
        done, secret = await _taken(who, channel_id, step, form)
    except Exception as error:
        return await _one(request, who, channel_id, problem=problem_of(error), typed=form)
    if secret:
        return await _one(request, who, channel_id, secret=secret)
    return to(HOME if step == "delete" else f"{HOME}/{channel_id}?done={done}")


@router.post(f"{HOME}/{{channel_id:uuid}}/deliveries/{{delivery_id:uuid}}/resend")
async def resend(request: Request, channel_id: UUID, delivery_id: UUID, who: Reader, form: Sent) -> Response:
    """Has what was given up sent once more."""
    try:
        who = await stepped_up(who, form, request)
        await service.resend(who.principal, channel_id, delivery_id, form.once)
    except Exception as error:
        return await _one(request, who, channel_id, problem=problem_of(error), typed=form)
    return to(f"{HOME}/{channel_id}?done=resent")


async def _taken(who: Visitor, channel_id: UUID, step: Step, form: Form) -> tuple[str, str | None]:
    """What is said of it, and the secret that is shown once. Raises what the service does, and Problem 409."""
    principal, once = who.principal, form.once
    if step in ("verify", "code", "test"):
        given = {"code": form.text("code").replace(" ", "")} if step == "verify" else {}
        if step == "test":
            tried = service.test(principal, channel_id, once)
        else:
            tried = service.verify(principal, channel_id, filled(Verification, given), once)
        came = (await tried).result
        if came["sent"] is False:
            raise Problem(409, "not_taken", came["error"] or "It was not taken.")
        return {"code": "code_mailed", "test": "channel_tested"}.get(step, "channel_verified"), None
    if step == "rotate":
        url = form.text("url")
        asked = filled(ChannelRotation, {"overlap_hours": form.text("overlap_hours") or 24, "url": url or None})
        return "channel_moved", (await service.rotate(principal, channel_id, asked, once)).result.get("secret")
    if step == "change":
        given = {name: form.text(name) for name in ("name", "least_severity")}
        free = {name: form.text(name) or None for name in ("environment", "owner_id")}
        changes = filled(ChannelChange, given | free)
        await service.change(principal, channel_id, changes, [form.text("etag")])
    elif step == "disable":
        await service.disable(principal, channel_id, filled(Disabling, {"reason": form.text("reason")}), once)
    elif step == "enable":
        await service.enable(principal, channel_id, once)
    else:
        await service.delete(principal, channel_id, once)
    return {"change": "saved", "disable": "channel_stopped"}.get(step, "channel_enabled"), None


async def _new(
    request: Request, who: Visitor, *, problem: Problem | None = None, typed: Form | None = None
) -> Response:
    kind = typed.text("kind") if typed else request.query_params.get("kind", "")
    return page(
        who, "channel_new.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, people=await _people(who), mails=service.mails(),
        kind=kind if kind in ("email", "slack", "webhook") else "",
    )  # fmt: skip


async def _one(
    request: Request, who: Visitor, channel_id: UUID, *, problem: Problem | None = None, typed: Form | None = None,
    secret: str | None = None,
) -> Response:  # fmt: skip
    cursor = request.query_params.get("cursor")
    asked = PageRequest(SHOWN, cursor)
    shown, told, people = await asyncio.gather(
        service.get(who.principal, channel_id),
        service.list_deliveries(who.principal, channel_id, asked, None),
        _people(who),
    )
    return page(
        who, "channel.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        typed=typed, shown=shown, told=told, people=people, secret=secret, address=f"{HOME}/{channel_id}",
        beginning=not cursor,
    )  # fmt: skip


async def _people(who: Visitor) -> list[tuple[str, str]]:
    """Members by id and name, for whoever may see them; else none."""
    if not who.may("members.read"):
        return []
    members: list[dict[str, Any]] = await tenants.list_members(who.principal)
    named = [(str(each["user_id"]), each.get("name") or each["email"]) for each in members]
    return sorted(named, key=lambda one: one[1])
