"""Channels: where alerts are told, and what became of it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from api.auth import Caller
from api.errors import documented
from api.etag import IfMatch, tagged
from api.idempotency import Once, result_of
from api.notifications import service
from api.notifications.models import (
    Channel,
    ChannelChange,
    ChannelCheck,
    ChannelDetail,
    ChannelRotation,
    ChannelStatus,
    Delivery,
    DeliveryStatus,
    Disabling,
    NewChannel,
    Verification,
)
from api.pagination import Page, Paging
from api.routing import slice_router

router: APIRouter = slice_router("channels")


@router.get("/channels", operation_id="list_channels", response_model=Page[Channel])
async def list_channels(caller: Caller, page: Paging, status: ChannelStatus | None = None) -> Any:
    """Where alerts are told, newest first; deleted channels only when they are asked for."""
    return await service.list_all(caller, page, status)


@router.post("/channels", status_code=201, operation_id="create_channel", response_model=Channel,
    responses=documented(429))  # fmt: skip
async def create_channel(body: NewChannel, caller: Caller, once: Once, response: Response) -> Any:
    """A place to tell alerts: a person, with a second factor. It is told nothing before it is verified.

    A mail address is mailed a code at once. The secret that a webhook's messages are signed with is shown in this
    answer alone.
    """
    return result_of(await service.create(caller, body, once), response)


@router.get("/channels/{channel_id}", operation_id="get_channel", response_model=ChannelDetail)
async def get_channel(channel_id: UUID, caller: Caller, response: Response) -> Any:
    """One channel with its last deliveries, without its secrets."""
    shown = await service.describe(caller, channel_id)
    tagged(shown["etag"], response)
    return shown


@router.patch("/channels/{channel_id}", operation_id="change_channel", response_model=Channel,
    responses=documented(412, 428))  # fmt: skip
async def change_channel(
    channel_id: UUID, body: ChannelChange, caller: Caller, if_match: IfMatch, response: Response
) -> Any:
    """Changes the name of a channel and what it is told; where it leads stays."""
    shown = await service.change(caller, channel_id, body, if_match)
    tagged(shown["etag"], response)
    return shown


@router.post("/channels/{channel_id}/verify", operation_id="verify_channel", response_model=ChannelCheck,
    responses=documented(429))  # fmt: skip
async def verify_channel(channel_id: UUID, body: Verification, caller: Caller, once: Once, response: Response) -> Any:
    """Takes a channel into use: by the code that was mailed, or by a message that is answered with 2xx.

    Without a code a mail address is mailed a new one. Five codes a day are mailed to one address.
    """
    return result_of(await service.verify(caller, channel_id, body, once), response)


@router.post("/channels/{channel_id}/test", operation_id="test_channel", response_model=ChannelCheck,
    responses=documented(429))  # fmt: skip
async def test_channel(channel_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Sends a message that says that it is a test, now, and answers whether it was taken."""
    return result_of(await service.test(caller, channel_id, once), response)


@router.post("/channels/{channel_id}/rotate", operation_id="rotate_channel_secret", response_model=Channel)
async def rotate_channel_secret(
    channel_id: UUID, body: ChannelRotation, caller: Caller, once: Once, response: Response
) -> Any:
    """A new secret: while the one before is good, a webhook's messages carry both signatures.

    Slack's new URL has to be verified before alerts are told there again.
    """
    return result_of(await service.rotate(caller, channel_id, body, once), response)


@router.post("/channels/{channel_id}/disable", operation_id="disable_channel", response_model=Channel)
async def disable_channel(channel_id: UUID, body: Disabling, caller: Caller, once: Once, response: Response) -> Any:
    """Stops a channel. What it was still to be told is cancelled, and can be sent again."""
    return result_of(await service.disable(caller, channel_id, body, once), response)


@router.post("/channels/{channel_id}/enable", operation_id="enable_channel", response_model=Channel)
async def enable_channel(channel_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Lets a channel go on: from now on it is told what happens from now on."""
    return result_of(await service.enable(caller, channel_id, once), response)


@router.delete("/channels/{channel_id}", operation_id="delete_channel", response_model=Channel)
async def delete_channel(channel_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Ends a channel for good: its secrets are destroyed, and what it was told stays on record."""
    return result_of(await service.delete(caller, channel_id, once), response)


@router.get("/channels/{channel_id}/deliveries", operation_id="list_channel_deliveries",
    response_model=Page[Delivery])  # fmt: skip
async def list_channel_deliveries(
    channel_id: UUID, caller: Caller, page: Paging, status: DeliveryStatus | None = None
) -> Any:
    """What a channel was told, newest first, with how often it was tried and what went wrong."""
    return await service.list_deliveries(caller, channel_id, page, status)


@router.post("/channels/{channel_id}/deliveries/{delivery_id}/resend", operation_id="resend_delivery",
    response_model=Delivery)  # fmt: skip
async def resend_delivery(channel_id: UUID, delivery_id: UUID, caller: Caller, once: Once, response: Response) -> Any:
    """Has what was given up sent once more, under the id that it had, with as many tries as at first."""
    return result_of(await service.resend(caller, channel_id, delivery_id, once), response)
