"""The values of a proposal that have to be grounded, each with the role that it plays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.gate.contracts import Argument, ArgumentRole, Contract
from api.gate.grounding import schema
from api.gate.pointer import covers, leaves

#: Values of one proposal that are looked at. One with more is not looked through, and is not grounded.
MAX_LEAVES = 2_000
#: Characters of texts in one proposal that are looked through.
MAX_TEXT = 65_536

_FREE = Argument(role="free_text")
_LIST = re.compile(r"\s*[,;\n]\s*")


@dataclass(frozen=True, slots=True)
class Sink:
    """One value. pointer: without `/args`. pattern: of the contract's argument that covers it, if one does."""

    pointer: str
    value: Any
    role: ArgumentRole
    argument: Argument
    pattern: str | None

    @property
    def name(self) -> str:
        """Of the innermost member that the value is in."""
        names = [token for token in self.pointer.split("/") if token and not token.isdecimal()]
        return names[-1].replace("~1", "/").replace("~0", "~") if names else ""


class TooMuchError(Exception):
    """The arguments hold more than is looked through; the message says what."""


def sinks(contract: Contract, args: dict[str, Any]) -> Iterator[Sink]:
    """Every value, in the order of the arguments. Raises TooMuchError at the end of what is looked through.

    What the contract gives no role is a text, a number without one is a quantity, true and false are a setting. Names
    of members are texts too where the contract does not know them. Several addresses in one text are several values.
    """
    characters = 0
    names: set[str] = set()
    marks = set(_marks(contract))
    for count, (pointer, value) in enumerate(leaves(args)):
        if count >= MAX_LEAVES:
            raise TooMuchError(f"more than {MAX_LEAVES:,} values")
        if isinstance(value, str):
            characters += len(value)
        if characters > MAX_TEXT:
            raise TooMuchError(f"more than {MAX_TEXT:,} characters of text")
        yield from _names(contract, pointer, names)
        if value is None or value == "" or isinstance(value, dict | list):
            continue
        pattern = _pattern(contract, pointer)
        argument = contract.arguments[pattern] if pattern is not None else _FREE
        role = "free_text" if pattern in marks else _role(argument.role, value)
        if role == "recipient" and isinstance(value, str) and "@" in value and _LIST.search(value):
            parts = [part for part in _LIST.split(value) if part.strip()]
        else:
            parts = [value]
        for part in parts:
            yield Sink(pointer, part, role, argument, pattern)


def _marks(contract: Contract) -> Iterator[str]:
    """Arguments whose value is the writer's own mark, by which the write is found again: nobody else has to name it.

    A setting that the read-back asks for, and for which the schema lists no values; a text like any other.
    """
    asked = contract.read_back.args.values() if contract.read_back else ()
    for pattern, argument in contract.arguments.items():
        if argument.role == "setting" and f"{{{pattern[1:]}}}" in asked:
            allowed = schema.part(contract.input_schema, pattern)
            if allowed.get("type") == "string" and not {"enum", "const"} & allowed.keys():
                yield pattern


def _role(role: ArgumentRole, value: Any) -> ArgumentRole:
    if isinstance(value, bool):
        return "setting"
    if isinstance(value, int | float):
        return "quantity" if role == "free_text" else role
    return role


def _pattern(contract: Contract, pointer: str) -> str | None:
    if pointer in contract.arguments:
        return pointer
    covering = [pattern for pattern in contract.arguments if covers(pattern, pointer)]
    return max(covering, key=lambda pattern: pattern.count("/")) if covering else None


def _names(contract: Contract, pointer: str, seen: set[str]) -> Iterator[Sink]:
    """Names of members that could carry something: an address is no name that a contract would give."""
    for token in pointer.split("/")[1:]:
        if token in seen or token.isdecimal() or token.replace("_", "").isalnum():
            continue
        seen.add(token)
        if not any(token in pattern.split("/") for pattern in contract.arguments):
            yield Sink(pointer, token.replace("~1", "/").replace("~0", "~"), "free_text", _FREE, None)
