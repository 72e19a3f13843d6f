"""How to learn from a provider whether a call happened, and what one rests on."""

from decimal import Decimal
from typing import Any

from api.gate.models import Contract, Premise
from api.gate.pointer import resolve
from api.gate.values import decimal, equal
from api.providers import template
from api.providers.template import Filling, UnsendableError


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
    return any(equal(value, wanted) for value in found)


def premise_args(contract: Contract, premise: Premise, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the read by which a call with these arguments knows what it rests on."""
    found = template.document(premise.args, Filling.of(contract, args, {}, None))
    return found if isinstance(found, dict) else {}


def is_enough(contract: Contract, wanted: str, args: dict[str, Any], value: Any) -> bool:
    """Whether a value of an answer is not below what a call with these arguments needs; not where that is not known.

    wanted: `/argument`, of which as many are needed, compared as whole numbers; or `/argument|major`, an amount that is
    needed in major units, compared with an int, a float or a decimal text. Of what was not given nothing is needed.
    """
    name, _, form = wanted[1:].partition("|")
    if name not in args:
        return True
    if form != "major":
        return type(value) is int and type(args[name]) is int and value >= args[name]
    try:
        least = Decimal(str(Filling.of(contract, args, {}, None).text(name, "major_text")))
    except UnsendableError:
        return False
    exact = decimal(value)
    return exact is not None and exact >= least
