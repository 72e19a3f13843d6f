"""Amendments, as api/amendments/service.py makes them, of exceptions that people decided."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rfc8785

from api.gate.models import Rule
from api.ids import new_id
from tests.db.names import NOTE, Environment, Row, Tenant, soon
from tests.db.world import Action, World

PROPOSE, BACKTEST, ADOPT = "propose_amendment_v1", "record_amendment_backtest_v1", "adopt_amendment_v1"
REJECT, WITHDRAW = "reject_amendment_v1", "withdraw_amendment_v1"


def classed(tenant: Tenant, environment: Environment = "production", name: str = "unsure", worth: int = 1299) -> Row:
    """A class of exceptions, as api/gate/classes.py tells it."""
    said: dict[str, Any] = {"tool": NOTE, "workflow": tenant.slug(environment), "findings": [name], "attributes": {}}
    return said | {"key": sha256(rfc8785.dumps(said)).hexdigest(), "worth": {"EUR": worth}}


def waiting(world: World, tenant: Tenant, environment: Environment = "production", name: str = "unsure") -> Action:
    """A note that waits for a person, of a class."""
    found = classed(tenant, environment, name)
    return world.propose(tenant, NOTE, outcome="escalate", environment=environment, **{"class": found})


def decided(
    world: World,
    tenant: Tenant,
    environment: Environment = "production",
    verdict: str = "approve",
    name: str = "unsure",
) -> Action:
    """As `waiting`, and a person has decided it."""
    action = waiting(world, tenant, environment, name)
    world.call(tenant.user("approver2"), "decide_exception_v1", world.verdict(action, verdict))
    return action


def rule_of(amendment: str, tenant: Tenant, environment: Environment = "production", **changes: Any) -> Row:
    """A rule that lets the class pass."""
    written = {
        "id": f"amendment-{amendment}", "title": "Notes", "principle": tenant.mark(environment), "applies_to": [NOTE],
        "when": "true", "effect": "allow", "lifts": ["confidence"], "expires_at": soon(days=90),
        "bounds": {"workflows": [tenant.slug(environment)]}, "origin": {"kind": "amendment", "ref": amendment},
    }  # fmt: skip
    return Rule.model_validate(written | changes).model_dump(mode="json")


def content(rule: Row) -> Row:
    """The arguments of propose_amendment_v1, but for the amendment's id and its exception's."""
    return {
        "kind": "loosen", "rule": rule, "payload": rfc8785.dumps(rule).decode(), "reason": "learnt",
        "backtest": {"flips": []}, "backtest_version": 1,
    }  # fmt: skip


def proposal(action: Action, rule: Row | None = None, **more: Any) -> Row:
    """The arguments of propose_amendment_v1."""
    identity = more.pop("id", None) or str(new_id())
    rule = rule or rule_of(identity, action.tenant, action.environment)  # type: ignore[arg-type]
    return content(rule) | {"id": identity, "exception_id": action.exception} | more


def denial(action: Action) -> Row:
    """As `proposal`, of a rule that denies what was rejected."""
    identity = str(new_id())
    changes: Row = {"effect": "deny", "lifts": [], "expires_at": None}
    rule = rule_of(identity, action.tenant, action.environment, **changes)  # type: ignore[arg-type]
    return proposal(action, rule, id=identity, kind="tighten")


def proposed(world: World, action: Action, who: str = "approver", **more: Any) -> Row:
    """What propose_amendment_v1 answers."""
    made: Row = world.call(action.tenant.user(who, "aal1"), PROPOSE, proposal(action, **more))
    return made


def adoption(amendment: Row, **more: Any) -> Row:
    """The arguments of adopt_amendment_v1."""
    return {"id": amendment["id"], "digest": amendment["digest"], "acknowledge": False, "reason": "read"} | more
