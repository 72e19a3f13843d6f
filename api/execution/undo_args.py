"""The arguments of an undo, made from what an action did and what was there before. Pure."""

import json
import re
from dataclasses import dataclass
from typing import Any

from api.gate.models import Contract
from api.gate.pointer import resolve

#: `{argument}`, or a place in what was answered (`result`), read before (`before`), or read just now (`now`).
PLACEHOLDER = re.compile(r"{(\w+|(?:result|before|now)(?:/[^{}/]+)+)}")


class UnmadeError(ValueError):
    """A value that the undo needs is not known; the message says which, for a person."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an undo is made from. None: nothing was read, or nothing is kept.

    names: every argument that the tool has. before, now: the state as it was read before the action, and just now.
    """

    args: dict[str, Any]
    names: frozenset[str]
    result: Any = None
    before: Any = None
    now: Any = None


_MISSING = {
    "result": "The provider's answer did not say it, or it is not kept",
    "before": "It was not read before the change, or it is not kept any more",
    "now": "It cannot be read now",
}


def undo_args(template: dict[str, Any], known: Known) -> dict[str, Any]:
    """A contract's `compensate.args` with their values.

    A member that puts back an argument's former value (`title = "{before/title}"`) is left out where the action did
    not give that argument: what it did not change stays as it is. Raises UnmadeError for a value that is not known.
    """
    made = {}
    for name, part in template.items():
        unchanged = name in known.names and name not in known.args
        if unchanged and isinstance(part, str) and part.startswith("{before/"):
            continue
        value = _fill(part, known)
        if value is not _ABSENT:
            made[name] = value
    return made


def names_of(contract: Contract) -> frozenset[str]:
    """Every argument that a tool has."""
    return frozenset(contract.input_schema.get("properties", {}))


def strings(template: Any) -> list[str]:
    """Every text in a template."""
    if isinstance(template, str):
        return [template]
    parts = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return [text for part in parts for text in strings(part)]


def read_args(template: dict[str, Any], known: Known) -> dict[str, Any]:
    """The arguments with which a contract's `state` is read; UnmadeError where one of them is not known (yet)."""
    return {name: value for name, part in template.items() if (value := _fill(part, known)) is not _ABSENT}


def places(contract: Contract) -> dict[str, str]:
    """By argument: where the state shows what that argument says. What it shows otherwise is not in here.

    An undo by the same tool says it (`email = "{before/properties/email}"`); else it is the member of the same name.
    """
    names, fields, undo = names_of(contract), contract.state.fields if contract.state else [], contract.compensate
    found = {field[1:]: field for field in fields if field[1:] in names}
    for name, part in undo.args.items() if undo is not None and undo.tool == contract.name else ():
        whole = PLACEHOLDER.fullmatch(part) if isinstance(part, str) else None
        pointer = whole[1].removeprefix("before") if whole and whole[1].startswith("before/") else None
        if pointer in fields and name in names:
            found[name] = pointer
    return found


def left_behind(contract: Contract, args: dict[str, Any], before: Any) -> dict[str, Any] | None:
    """What a change leaves behind by what it was asked for: for when nobody read it. None where that cannot be told."""
    left: dict[str, Any] = {}
    by_field = {field: name for name, field in places(contract).items()}
    for field in contract.state.fields if contract.state else []:
        name = by_field.get(field)
        if name is None or "/*" in field:
            return None
        for _, value in [("", args[name])] if name in args else resolve(before, field):
            *above, last = field[1:].split("/")
            parent = left
            for step in above:
                parent = parent.setdefault(step, {})
            parent[last] = value
    return left


_ABSENT = object()


def _fill(part: Any, known: Known) -> Any:
    if isinstance(part, dict):
        members = {name: _fill(inner, known) for name, inner in part.items()}
        return {name: value for name, value in members.items() if value is not _ABSENT}
    if isinstance(part, list):
        return [value for value in (_fill(inner, known) for inner in part) if value is not _ABSENT]
    if not isinstance(part, str):
        return part
    whole = PLACEHOLDER.fullmatch(part)
    if whole:
        return _value(whole[1], known)
    return PLACEHOLDER.sub(lambda found: _text(_value(found[1], known)), part)


def _value(name: str, known: Known) -> Any:
    source, slash, pointer = name.partition("/")
    if not slash:
        if name in known.args:
            return known.args[name]
        if name in known.names:
            return _ABSENT
        raise UnmadeError(f"The action has no argument named {name}.")
    found = [value for _, value in resolve(getattr(known, source), f"/{pointer}")]
    if not found or found[0] is None:
        raise UnmadeError(f"What the undo needs is not known: {name}. {_MISSING[source]}.")
    return found[0]


def _text(value: Any) -> str:
    if value is _ABSENT:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def differences(fields: list[str], wanted: Any, found: Any) -> list[str]:
    """The pointers at which two states of the same thing differ, of those that count; what is empty is as not there."""
    return [field for field in fields if _at(wanted, field) != _at(found, field)]


def _at(document: Any, pointer: str) -> list[tuple[str, Any]]:
    return [(at, value) for at, value in resolve(document, pointer) if value not in ("", None)]
