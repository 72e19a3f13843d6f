"""Tools of a tenant's own, as api/tools/service.py registers them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import rfc8785

from api.ids import new_id
from tests.db.names import Row, Tenant
from tests.db.world import Action, World

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


def proposal(world: World, tenant: Tenant, *, version: int = 1, effect: str = "write", **more: Any) -> Row:
    """The arguments of record_action_v1 for a proposal of the tool: there is no connection."""
    made = world.proposal(tenant, TOOL, {"receipt": str(new_id())}, effect=effect, **more)
    payload = json.loads(made["payload"]) | {"connection": None, "tool_contract_version": version}
    canonical = rfc8785.dumps(payload)
    digest = "sha256:" + sha256(canonical).hexdigest()
    return made | {
        "payload": canonical.decode(), "digest": digest, "connection_id": None, "contract_version": version,
    }  # fmt: skip


def propose(world: World, tenant: Tenant, **more: Any) -> Action:
    """Records a proposal of the tool, which is authorized at once unless told otherwise."""
    made = proposal(world, tenant, **({"outcome": "allow"} | more))
    answer = world.call(tenant.service(), "record_action_v1", made)
    assert answer["recorded"], answer
    return world.recorded(made, answer)
