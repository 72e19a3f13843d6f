"""Providers."""

from api.auth import Caller
from api.providers import service
from api.providers.models import Provider
from api.routing import slice_router

router = slice_router("providers")


@router.get("/providers", operation_id="list_providers")
async def list_providers(caller: Caller) -> list[Provider]:
    """What can be connected, what it asks for, how long it lasts, and which tools it brings."""
    return service.list_providers()
