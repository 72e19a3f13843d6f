"""Webhook triggers, and the addresses that providers send their events to."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.auth import Caller
from api.body import StrictRoute
from api.errors import Problem
from api.hooks import service
from api.hooks.models import NewWebhookTrigger, Received, WebhookRotation, WebhookTrigger
from api.idempotency import Once, result_of
from api.pagination import Page, Paging
from api.routing import slice_router

router = slice_router("webhook triggers")
#: What providers call: no credential is asked for but the signature.
deliveries_router = APIRouter(tags=["webhook triggers"], route_class=StrictRoute)
#: More than the providers here send of one event.
MAX_BYTES = 256_000


@router.post("/webhook-triggers", status_code=201, operation_id="create_webhook_trigger", response_model=WebhookTrigger)
async def create_webhook_trigger(body: NewWebhookTrigger, caller: Caller, once: Once, response: Response) -> Any:
    """An address for a provider's events to one workflow: a person, with a second factor.

    The secret that they are signed with is shown in this answer alone. A provider that chooses its own, once it knows
    the address, is told about by a rotation that gives it.
    """
    return result_of(await service.create(caller, body, once), response)


@router.get("/webhook-triggers", operation_id="list_webhook_triggers", response_model=Page[WebhookTrigger])
async def list_webhook_triggers(caller: Caller, page: Paging) -> Any:
    """Every trigger, newest first, the revoked ones too; without their secrets."""
    return await service.list_all(caller, page)


@router.get("/webhook-triggers/{trigger_id}", operation_id="get_webhook_trigger", response_model=WebhookTrigger)
async def get_webhook_trigger(trigger_id: UUID, caller: Caller) -> Any:
    """One trigger, without its secrets."""
    return await service.get(caller, trigger_id)


@router.post(
    "/webhook-triggers/{trigger_id}/rotate", operation_id="rotate_webhook_secret", response_model=WebhookTrigger
)
async def rotate_webhook_secret(
    trigger_id: UUID, body: WebhookRotation, caller: Caller, once: Once, response: Response
) -> Any:
    """A new secret; the one before stays good for some hours, and any older one ends at once."""
    return result_of(await service.rotate(caller, trigger_id, body, once), response)


@router.delete("/webhook-triggers/{trigger_id}", operation_id="revoke_webhook_trigger", response_model=WebhookTrigger)
async def revoke_webhook_trigger(trigger_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Ends a trigger at once: its secrets are destroyed, and its address answers as one that never was."""
    return result_of(await service.revoke(caller, trigger_id, once), response)


@deliveries_router.post("/hooks/{trigger_id}", include_in_schema=False, response_model=Received)
async def receive(trigger_id: UUID, request: Request) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Problem(413, "body_too_large", f"The body is larger than {MAX_BYTES:,} bytes.")
    return await service.receive(trigger_id, request.headers, bytes(body))
