"""Tools: what a workflow can be granted."""

from typing import Any

from fastapi import Response

from api.auth import Caller
from api.idempotency import Once, result_of
from api.routing import slice_router
from api.tools import service
from api.tools.models import NewTool, Registered, Tool

router = slice_router("tools")


@router.get("/tools", operation_id="list_tools", response_model=list[Tool])
async def list_tools(caller: Caller) -> Any:
    """The tool contracts in force: the providers', and the tenant's own."""
    return await service.list_tools(caller)


@router.get("/tools/{name}", operation_id="get_tool", response_model=Tool)
async def get_tool(name: str, caller: Caller) -> Any:
    """One tool contract in force."""
    return await service.get_tool(caller, name)


@router.post("/tools", status_code=201, operation_id="register_tool", response_model=Registered)
async def register_tool(body: NewTool, caller: Caller, once: Once, response: Response) -> Any:
    """Registers a tool of the tenant's own, which its client executes itself. Other content is the next version.

    A person does this: what a tool is said to do decides what waits for people. A later version lifts no hard gate, and
    while a workflow that is live or in review names the tool, only its input_schema and read_back may change.
    """
    return result_of(await service.register(caller, body, once), response)
