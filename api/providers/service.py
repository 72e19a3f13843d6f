"""What can be connected, and the tool contracts in force."""

from typing import Any

from api.auth import Principal
from api.db import database
from api.errors import Problem
from api.providers.manifest import manifests


def list_providers() -> list[dict[str, Any]]:
    """Every provider that a manifest describes, with the scopes each access asks for."""
    return [
        {
            "name": m.name,
            "title": m.title,
            "kind": m.kind,
            "facts_checked": m.facts_checked,
            "scopes": {"read": m.scopes("read"), "write": m.scopes("write")},
            "tools": [c.name for c in m.contracts()],
        }
        for m in manifests().values()
    ]


async def list_tools(principal: Principal) -> Any:
    return (await database().call(principal, "list_tools_v1", {})).result


async def get_tool(principal: Principal, name: str) -> Any:
    found = (await database().call(principal, "list_tools_v1", {"name": name})).result
    if not found:
        raise Problem(404, "not_found", "There is no such tool.")
    return found[0]
