"""Providers and tools."""

from typing import Any

from api.auth import Caller
from api.gate.models import Contract
from api.providers import service
from api.providers.models import Provider
from api.routing import slice_router

router = slice_router("providers")


@router.get("/providers", operation_id="list_providers")
async def list_providers(caller: Caller) -> list[Provider]:
    """What can be connected, what it asks for, how long it lasts, and which tools it brings."""
    return service.list_providers()


@router.get("/tools", operation_id="list_tools", response_model=list[Contract])
async def list_tools(caller: Caller) -> Any:
    """The tool contracts in force."""
    return await service.list_tools(caller)


@router.get("/tools/{name}", operation_id="get_tool", response_model=Contract)
async def get_tool(name: str, caller: Caller) -> Any:
    """One tool contract in force."""
    return await service.get_tool(caller, name)
