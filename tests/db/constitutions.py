"""Drafts of a constitution, as api/constitution/service.py makes them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rfc8785

from api.gate.models import Rule
from api.ids import new_id
from tests.db.names import Row, Tenant
from tests.db.world import World

CREATE, UPDATE = "create_constitution_draft_v1", "update_constitution_draft_v1"
SUBMIT, WITHDRAW = "submit_constitution_draft_v1", "withdraw_constitution_draft_v1"
DECIDE, PUBLISH = "decide_constitution_draft_v1", "publish_constitution_v1"


def rule(identity: str = "a-rule", effect: str = "deny", when: str = "true", **more: Any) -> Row:
    """A rule as it is stored."""
    written = {"id": identity, "title": identity, "principle": "Because.", "effect": effect, "when": when} | more
    return Rule.model_validate(written).model_dump(mode="json")


def draft(*rules: Row, base: int = 1, **more: Any) -> Row:
    """The arguments of create_constitution_draft_v1."""
    canonical = rfc8785.dumps({"base_version": base, "rules": list(rules)}).decode()
    return {
        "id": str(new_id()), "base_version": base, "rules": list(rules), "reason": "learnt", "payload": canonical,
    } | more  # fmt: skip


def digest_of(drafted: Row) -> str:
    return "sha256:" + sha256(drafted["payload"].encode()).hexdigest()


def submitted(world: World, tenant: Tenant, drafted: Row, author: str = "owner") -> Row:
    """Writes a draft and submits it; answers it."""
    world.call(tenant.user(author), CREATE, drafted)
    return world.call(tenant.user(author, "aal1"), SUBMIT, {"id": drafted["id"]})


def verdict(drafted: Row, verdict: str = "publish") -> Row:
    """The arguments of decide_constitution_draft_v1."""
    return {"id": drafted["id"], "verdict": verdict, "digest": drafted["digest"], "reason": "read"}


def published(
    world: World, tenant: Tenant, *rules: Row, base: int = 1, author: str = "owner", by: str = "admin"
) -> Row:
    """A version that one wrote and another published; answers its draft."""
    made = submitted(world, tenant, draft(*rules, base=base), author)
    return world.call(tenant.user(by), DECIDE, verdict(made))
