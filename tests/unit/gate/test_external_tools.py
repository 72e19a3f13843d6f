"""A tenant's own tools at the gate: no connection, and nothing given that no check would look at."""

from typing import Any

import pytest

from api.actions.record import payload_of
from api.gate.models import Contract, Facts, Outcome
from api.runs.minimise import label
from tests.unit.gate.world import ARGS, contract, decided, facts, of, outcome_of, proposal, spec

ROLES = {
    "/to": {"role": "recipient"}, "/amount": {"role": "amount", "currency": "/currency"},
    "/currency": {"role": "setting"}, "/note": {"role": "free_text"}, "/items/*/sku": {"role": "object_id"},
}  # fmt: skip


def own(**changes: Any) -> Contract:
    return contract(**{"provider": "tenant", "execution": {"mode": "external"}, "arguments": ROLES} | changes)


def world(tool: Contract, **changes: Any) -> Facts:
    """No connection is bound to anything."""
    return facts(spec(connections={}, **changes), tool)


def test_it_needs_no_connection() -> None:
    held = world(own())
    decision = decided(held)
    assert outcome_of(decision, "scope") is Outcome.ALLOW
    assert outcome_of(decision, "contract") is Outcome.ALLOW
    assert held.connection_of(held.contracts["acme.payments.create"]) is None
    payload, _ = payload_of(proposal(), held)
    assert '"connection":null' in payload
    # Which a provider's tool does.
    assert outcome_of(decided(world(contract())), "scope") is Outcome.DENY


def test_a_binding_under_its_provider_gives_it_no_connection_either() -> None:
    bound = {"tenant": {"write": "00000000-0000-0000-0000-000000000002"}}
    held = facts(spec(connections=bound), own())
    assert held.connection_of(held.contracts["acme.payments.create"]) is None


def test_its_grant_is_asked_for_like_any_others() -> None:
    assert outcome_of(decided(world(own(), tools={"other.tool": {"access": "write"}})), "scope") is Outcome.DENY
    grant = {"acme.payments.create": {"access": "write", "arguments": ["/to"]}}
    assert outcome_of(decided(world(own(), tools=grant)), "scope") is Outcome.DENY


@pytest.mark.parametrize(
    ("args", "refused"),
    [
        (ARGS, []),
        (ARGS | {"account": "x"}, ["/args/account"]),
        (ARGS | {"account": 0}, ["/args/account"]),
        (ARGS | {"account": ""}, ["/args/account"]),
        (ARGS | {"meta": {}}, []),
        (ARGS | {"items": []}, []),
        (ARGS | {"items": [{"sku": "a"}]}, []),
        (ARGS | {"items": [{"sku": "a"}, {"sku": {"deep": "a"}}]}, []),
        (ARGS | {"items": [{"sku": "a", "bcc": "b"}]}, ["/args/items/0/bcc"]),
        (ARGS | {"meta": {"x": [None, False]}}, ["/args/meta/x/1"]),
    ],
)
def test_what_has_no_role_is_refused(args: dict[str, Any], refused: list[str]) -> None:
    found = of(decided(world(own()), proposal(args)), "contract")
    assert [f.pointer for f in found if f.outcome is Outcome.DENY] == refused
    # A provider's contract may leave out what harms nobody: whoever wrote it could see what the tool does.
    assert outcome_of(decided(facts(), proposal(args)), "contract") is Outcome.ALLOW


@pytest.mark.parametrize("effect", ["money_movement", "legal", "permission_change"])
def test_a_declared_hard_gate_is_one(effect: str) -> None:
    decision = decided(world(own(effect=effect)))
    assert outcome_of(decision, "hard_gate") is Outcome.ESCALATE
    assert decision.outcome is not Outcome.ALLOW


def test_a_clients_word_is_labelled_as_the_workflow_says() -> None:
    output = {"trust": {"": "untrusted", "/total": "trusted"}, "data_classes": {"/total": "financial"}}
    tool, result = own(output=output), {"total": 5, "remark": "x"}
    assert label(tool, result, asserted=True) == {
        "/total": {"trust": "untrusted", "data_class": "financial"}, "/remark": {"trust": "untrusted"},
    }  # fmt: skip
    assert label(tool, result)["/total"]["trust"] == "trusted"
    assert label(tool, result)["/remark"]["trust"] == "untrusted"
