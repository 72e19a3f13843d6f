"""What a contract's schema says of one argument by itself: the values that nobody has to choose."""

from typing import Any

_MAX_STEPS = 64


def part(schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """The schema of the argument at an exact pointer; empty where the contract's schema does not say in plain terms."""
    here: Any = schema
    for token in pointer.split("/")[1:]:
        here = _step(_resolved(here, schema), token.replace("~1", "/").replace("~0", "~"))
        if not isinstance(here, dict):
            return {}
    found = _resolved(here, schema)
    return found if isinstance(found, dict) else {}


def _resolved(here: Any, root: dict[str, Any]) -> Any:
    for _ in range(_MAX_STEPS):
        if not isinstance(here, dict) or not isinstance(here.get("$ref"), str):
            return here
        target: Any = root
        for token in here["$ref"].removeprefix("#").split("/")[1:]:
            target = target.get(token.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        here = target
    return None


def _step(here: Any, token: str) -> Any:
    if not isinstance(here, dict):
        return None
    properties = here.get("properties")
    if isinstance(properties, dict) and token in properties:
        return properties[token]
    if token.isdecimal() and isinstance(here.get("items"), dict):
        return here["items"]
    for group in ("allOf", "anyOf", "oneOf"):
        for branch in here.get(group) or [] if isinstance(here.get(group), list) else []:
            if (found := _step(branch, token)) is not None:
                return found
    return here.get("additionalProperties")


def settled(schema: dict[str, Any], value: Any) -> str | None:
    """Why nobody has to choose the value: it is the contract's default, or the only one that there is."""
    if "default" in schema and type(schema["default"]) is type(value) and schema["default"] == value:
        return "the contract's default"
    only = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(only, list) and len(only) == 1 and type(only[0]) is type(value) and only[0] == value:
        return "the only value that the contract allows"
    return None
