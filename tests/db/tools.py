"""Tools of a tenant's own, as api/tools/service.py registers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.ids import new_id
from tests.db.names import Row, Tenant
from tests.db.world import World

TOOL = "till.refunds.create"


def refund(**changes: Any) -> Row:
    """A contract: notes a refund in the tenant's own till. Its effect is a plain write unless told otherwise."""
    contract: Row = {
        "name": TOOL, "provider": "tenant", "title": "Note a refund in the till", "access": "write", "effect": "write",
        "reversible": True, "idempotency": "key",
        "input_schema": {
            "type": "object", "additionalProperties": False,
            "properties": {"receipt": {"type": "string"}, "reference": {"type": "string"}},
        },
        "arguments": {"/receipt": {"role": "object_id"}, "/reference": {"role": "free_text"}},
        "output": {"trust": {"": "untrusted"}, "data_classes": {}},
        "execution": {"mode": "external", "method": "POST", "path": "", "body": "none", "idempotency_header": None},
        "read_back": None,
    }  # fmt: skip
    return contract | changes


def register(world: World, tenant: Tenant, by: Mapping[str, Any] | None = None, **changes: Any) -> Row:
    """Registers a tool as a person of the tenant; the owner unless told otherwise."""
    args = {"id": str(new_id()), "contract": refund(**changes)}
    return world.call(by or tenant.user(), "register_tool_v1", args)
