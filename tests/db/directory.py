"""Changes of the directory, as api/directory/service.py proposes them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rfc8785

from api.ids import new_id
from tests.db.names import Environment, Row, Tenant, soon
from tests.db.world import World

IBAN, OTHER_IBAN = "DE89370400440532013000", "NL91ABNA0417164300"


def account(iban: str = IBAN) -> Row:
    """A bank detail."""
    return {
        "type": "bank_account",
        "key": f"iban:{iban}",
        "skeleton": None,
        "value": {"type": "bank_account", "iban": iban},
    }


def domain(name: str) -> Row:
    return {"type": "domain", "key": name, "skeleton": name, "value": {"type": "domain", "domain": name}}


def entry(name: str) -> Row:
    return {"kind": "vendor", "name": name, "key": name.lower(), "skeleton": name.lower()}


def change(environment: Environment | None = "production", kind: str = "create", **more: Any) -> Row:
    """The arguments of propose_directory_change_v1. `more` are members of the payload."""
    payload = {
        "id": str(new_id()),
        "environment": environment,
        "kind": kind,
        "entry_id": str(new_id()) if kind == "create" else None,
        "base_version": 0,
        "entry": entry("Northwind"),
        "details": [account()],
        "settings": None,
    } | more
    canonical = rfc8785.dumps(payload).decode()
    named = {name: payload[name] for name in ("id", "environment", "kind", "entry_id", "base_version")}
    return named | {
        "payload": canonical,
        "digest": "sha256:" + sha256(canonical.encode()).hexdigest(),
        "reason": "they sent an invoice",
        "evidence": [],
        "expires_at": soon(days=1),
    }


def settings(hours: int, version: int = 0) -> Row:
    """A change of the cooling-off period."""
    return change(None, "settings", entry=None, details=[], base_version=version, settings={"cooling_off_hours": hours})


def verdict(proposed: Row, verdict: str = "approve") -> Row:
    """The arguments of decide_directory_change_v1."""
    return {"id": proposed["id"], "verdict": verdict, "digest": proposed["digest"], "reason": "called them back"}


def agreed(world: World, tenant: Tenant, proposed: Row, maker: str = "operator", checker: str = "approver") -> Row:
    """Proposes a change and approves it; answers its arguments."""
    world.call(tenant.user(maker), "propose_directory_change_v1", proposed)
    world.call(tenant.user(checker), "decide_directory_change_v1", verdict(proposed))
    return proposed


def vouch(world: World, tenant: Tenant, environment: Environment = "production", **more: Any) -> str:
    """An entry that the tenant vouches for; answers its id."""
    return str(agreed(world, tenant, change(environment, **more))["entry_id"])
