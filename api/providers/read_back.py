"""How to learn from a provider whether a call happened."""

from typing import Any

from api.gate.models import Contract, Premise
from api.gate.pointer import resolve
from api.providers import template
from api.providers.template import Filling


def read_back_args(contract: Contract, args: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
    """The arguments of the read that tells whether a call with these arguments happened."""
    asked = contract.read_back.args if contract.read_back else {}
    found = template.document(asked, Filling.of(contract, args, {}, idempotency_key))
    return found if isinstance(found, dict) else {}


def read_back_found(contract: Contract, args: dict[str, Any], idempotency_key: str, answer: Any) -> bool:
    """Whether the answer to that read shows the call."""
    if contract.read_back is None:
        return False
    found = [value for _, value in resolve(answer, contract.read_back.found)]
    if contract.read_back.equals is None:
        return bool(found)
    wanted = template.document(contract.read_back.equals, Filling.of(contract, args, {}, idempotency_key))
    return any(type(value) is type(wanted) and value == wanted for value in found)


def premise_args(contract: Contract, premise: Premise, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the read by which a call with these arguments knows what it rests on."""
    found = template.document(premise.args, Filling.of(contract, args, {}, None))
    return found if isinstance(found, dict) else {}
