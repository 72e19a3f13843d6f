"""Settings of the tenant: its name and protections, confidence, models, webhooks, and erasure on request."""

import asyncio
import re
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.confidence import service as confidence
from api.confidence.models import NewThreshold
from api.dashboard.forms import Form, Sent, filled, stepped_up
from api.dashboard.lists import titles_of
from api.dashboard.pages import page
from api.dashboard.routing import page_router, problem_of, to
from api.dashboard.visitor import Reader, Visitor
from api.errors import Problem
from api.hooks import service as hooks
from api.hooks.models import NewWebhookTrigger, WebhookRotation
from api.model_providers import service as model_providers
from api.model_providers.models import NewModelProvider
from api.pagination import PageRequest
from api.privacy import service as privacy
from api.privacy.models import NewErasure
from api.tenants import service as tenants
from api.tenants.models import TenantChange
from api.workflows import service as workflows

router = page_router()


@router.get("/settings")
async def show_settings(request: Request, who: Reader) -> Response:
    return await _page(request, who)


@router.post("/settings/tenant")
async def change_tenant(request: Request, who: Reader, form: Sent) -> Response:
    """Changes name and protections, unless somebody else changed them since the page was made."""
    duties = form.text("separation_of_duties") == "yes"
    body = {"name": form.text("name"), "settings": {"separation_of_duties": duties}, "reason": form.text("reason")}
    try:
        who = await stepped_up(who, form, request)
        await tenants.change_tenant(who.principal, filled(TenantChange, body), [form.text("etag")])
    except Exception as error:
        return await _page(request, who, problem_of(error), form)
    return to("/settings?done=saved")


@router.post("/settings/confidence")
async def set_threshold(request: Request, who: Reader, form: Sent) -> Response:
    body = {name: form.text(name) for name in ("workflow", "tool", "reason")}
    try:
        asked = filled(NewThreshold, body | {"threshold": _number(form.text("threshold"))})
        who = await stepped_up(who, form, request)
        await confidence.set_threshold(who.principal, asked, form.once)
    except Exception as error:
        return await _page(request, who, problem_of(error), form)
    return to("/settings?done=saved#confidence")


@router.post("/settings/model-providers")
async def register_provider(request: Request, who: Reader, form: Sent) -> Response:
    try:
        body = filled(NewModelProvider, _provider(form))
        who = await stepped_up(who, form, request)
        await model_providers.register(who.principal, body, form.once)
    except Exception as error:
        return await _page(request, who, problem_of(error), form)
    return to("/settings?done=saved#models")


@router.post("/settings/model-providers/{provider_id:uuid}/revoke")
async def revoke_provider(request: Request, provider_id: UUID, who: Reader, form: Sent) -> Response:
    try:
        who = await stepped_up(who, form, request)
        await model_providers.revoke(who.principal, provider_id, form.once)
    except Exception as error:
        return await _page(request, who, problem_of(error))
    return to("/settings?done=revoked#models")


@router.post("/settings/webhooks")
async def create_webhook(request: Request, who: Reader, form: Sent) -> Response:
    """Makes an address for a provider's events. Its secret is shown on the page that answers, and never again."""
    given = {name: form.text(name) for name in ("workflow", "provider")}
    try:
        body = filled(NewWebhookTrigger, given | ({"secret": form.text("secret")} if form.text("secret") else {}))
        who = await stepped_up(who, form, request)
        made = (await hooks.create(who.principal, body, form.once)).result
    except Exception as error:
        return await _page(request, who, problem_of(error), form)
    return await _page(request, who, webhook=made)


@router.post("/settings/webhooks/{trigger_id:uuid}/{step}")
async def change_webhook(request: Request, trigger_id: UUID, step: str, who: Reader, form: Sent) -> Response:
    """Gives it a new secret (`rotate`), or ends it (`revoke`)."""
    try:
        who = await stepped_up(who, form, request)
        if step == "rotate":
            made = (await hooks.rotate(who.principal, trigger_id, WebhookRotation(), form.once)).result
            return await _page(request, who, webhook=made)
        if step != "revoke":
            raise Problem(404, "not_found", "There is no such page.")
        await hooks.revoke(who.principal, trigger_id, form.once)
    except Exception as error:
        return await _page(request, who, problem_of(error))
    return to("/settings?done=revoked#webhooks")


@router.post("/settings/erasures")
async def ask_for_erasure(request: Request, who: Reader, form: Sent) -> Response:
    """Looks first: what would be erased is shown, and only the form that says so asks for it."""
    subject = {"type": form.text("type"), "id": form.text("id")}
    looks = form.text("sure") != "yes"
    body = {"subject": subject, "reason": form.text("reason"), "dry_run": looks}
    try:
        asked = filled(NewErasure, body)
        who = await stepped_up(who, form, request)
        found = (await privacy.request(who.principal, asked, form.once)).result
    except Exception as error:
        return await _page(request, who, problem_of(error), form)
    if looks:
        return await _page(request, who, typed=form, erasure=found)
    return to(f"/settings/erasures/{found['id']}")


@router.get("/settings/erasures/{erasure_id:uuid}")
async def show_erasure(request: Request, erasure_id: UUID, who: Reader) -> Response:
    return page(who, "erasure.html", request=request, erasure=await privacy.get(who.principal, erasure_id))


def _provider(form: Form) -> dict[str, Any]:
    """The provider that is described: one model to begin with, and prices in whole units for a million tokens."""
    price = {name: _millionths(form.text(name)) for name in ("input_price", "output_price")}
    given: dict[str, Any] = {
        name: form.text(name) for name in ("name", "kind", "environment", "base_url", "currency", "api_key")
    }
    declares = {
        "trains_on_data": form.text("trains_on_data") == "yes", "retention_days": form.text("retention_days"),
        "basis": form.text("basis"),
    }  # fmt: skip
    return given | {"models": {form.text("model"): price}, "declares": declares, "region": form.text("region") or None}


def _number(text: str) -> float | str | None:
    """A number of the form, None for nothing; what is no number is left as it is, for the model to refuse."""
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError:
        return text


def _millionths(text: str) -> int | str:
    """A price of the form in millionths; what is no number is left as it is, for the model to refuse."""
    from decimal import Decimal

    # Digits alone: a power of ten is as many digits as it says, however short it is.
    plain = re.fullmatch(r"(?=.)([0-9]{0,12})(?:[.,]([0-9]{1,12}))?", text.strip())
    return int(Decimal(f"{plain[1]}.{plain[2] or 0}") * 1_000_000) if plain else re.sub(r"[+_]", "?", text)


async def _page(
    request: Request, who: Visitor, problem: Problem | None = None, typed: Form | None = None, *,
    webhook: dict[str, Any] | None = None, erasure: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    first = PageRequest(limit=100, cursor=None)
    tenant, thresholds, models, triggers, flows = await asyncio.gather(
        tenants.tenant(who.principal),
        confidence.list_thresholds(who.principal, first, None, None),
        model_providers.list_all(who.principal, first),
        hooks.list_all(who.principal, first),
        workflows.list_workflows(who.principal),
    )
    tools = {tool for each in flows for tool in each["tools"]} | {each["tool"] for each in thresholds["items"]}
    return page(
        who, "settings.html", request=request, status=problem.status_code if problem else 200, problem=problem,
        titles=await titles_of(who.principal, tools), called={each["slug"]: each["title"] for each in flows},
        typed=typed, tenant=tenant, thresholds=_in_force(thresholds["items"]), models=models["items"],
        triggers=triggers["items"], workflows=flows, webhook=webhook, erasure=erasure,
    )  # fmt: skip


def _in_force(thresholds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest threshold of each workflow and tool; the list is newest first."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for each in thresholds:
        newest.setdefault((each["workflow"], each["tool"]), each)
    return list(newest.values())
