"""Which classes of data a workflow comes to hold and to send, by the contracts of its tools."""

from collections.abc import Iterator

from api.gate.models import AccessSpec, Contract
from api.gate.pointer import covers

#: The class of what a contract leaves unlabelled.
UNLABELLED = "internal"

#: What an argument of a role carries; private.class_of_role in the database is the same list.
CLASS_OF_ROLE = {"account": "financial", "amount": "financial", "recipient": "personal"}


def classes_of(contract: Contract, field: str) -> set[str]:
    """The classes of everything at or below a field (a JSON pointer with `*`) of what the tool answers.

    The label nearest to a field counts, as it does when an answer is labelled; labels further down count besides.
    """
    labels = contract.output.data_classes
    above = [pattern for pattern in labels if covers(pattern, field)]
    nearest = max((pattern.count("/") for pattern in above), default=None)
    classes = {labels[pattern] for pattern in above if pattern.count("/") == nearest} or {UNLABELLED}
    return classes | {labels[pattern] for pattern in labels if pattern not in above and _may_meet(pattern, field)}


def _may_meet(one: str, other: str) -> bool:
    """Whether some place can lie at or below both."""
    pairs = zip(one.split("/")[1:], other.split("/")[1:], strict=False)
    return all(a == b or "*" in (a, b) for a, b in pairs)


def trust_of(contract: Contract, field: str) -> str:
    """`trusted` if everything at or below the field is, `untrusted` if nothing is, else `partly trusted`."""
    labels: dict[str, str] = dict(contract.output.trust)
    above = [pattern for pattern in labels if covers(pattern, field)]
    nearest = max(above, key=lambda pattern: pattern.count("/"), default=None)
    found = {labels[nearest] if nearest is not None else "untrusted"}
    found |= {labels[pattern] for pattern in labels if pattern not in above and _may_meet(pattern, field)}
    return found.pop() if len(found) == 1 else "partly trusted"


def sent_by(contract: Contract) -> set[str]:
    """The classes that the arguments of a tool carry by their roles."""
    return {CLASS_OF_ROLE[argument.role] for argument in contract.arguments.values() if argument.role in CLASS_OF_ROLE}


def undeclared(spec: AccessSpec, contract: Contract, field: str) -> Iterator[str]:
    """The classes of a field that the spec does not declare."""
    yield from sorted(classes_of(contract, field) - set(spec.data_classes))
