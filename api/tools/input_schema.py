"""Reads a JSON Schema for every value that it has a place for, and refuses what cannot be read so.

A value that nobody gave a role is one that nobody checks. So a schema is written in the keywords that lead to values
plainly; what could hide one (patternProperties, if, $dynamicRef and the like) is refused.
"""

import re
from collections.abc import Iterator
from typing import Any

from api.gate.arguments import size
from api.gate.pointer import escape

MAX_SIZE = 50_000
#: Levels of arguments, and parts of a schema with every reference followed.
MAX_LEVELS, MAX_PARTS = 10, 2_000
MAX_PATTERN = 500
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAME = re.compile(r"[A-Za-z0-9_.$@:-]{1,100}")  # ASCII, so that no name looks like another
_REFERENCE = re.compile(r"#/\$defs/([A-Za-z0-9_.-]{1,100})")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_KNOWN = {
    "$schema", "$defs", "$ref", "$comment", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "type", "enum", "const", "format", "pattern", "minLength", "maxLength", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "items", "prefixItems", "minItems", "maxItems",
    "uniqueItems", "properties", "additionalProperties", "required", "dependentRequired", "minProperties",
    "maxProperties", *_BRANCHES,
}  # fmt: skip
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
_TREE = {"object", "array", "null"}

Mistake = dict[str, str]
Part = tuple[dict[str, Any], str]


class _Endless(Exception):  # noqa: N818 - it ends a walk
    """The schema is too much to read, or has no end."""


class InputSchema:
    """What a schema says of arguments.

    values: for the pointer of every value (`*` for any item or member) the types that it may have. open: objects that
    take members that are not named. mistakes: what is wrong, with pointers into the schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.values: dict[str, set[str]] = {}
        self.places: set[str] = set()
        self.open: list[str] = []
        self.mistakes: list[Mistake] = list(_invalid(schema))
        self._schema, self._parts_read = schema, 0
        if not self.mistakes:
            self._read()

    def _read(self) -> None:
        if self._schema.get("type") != "object":
            self._mistake("/type", "Arguments are an object: the schema's type is object.")
            return
        try:
            self._value(list(self._parts(self._schema, "", frozenset())), "", 0)
        except _Endless as endless:
            self.mistakes = [{"pointer": "", "message": str(endless)}]

    def _mistake(self, place: str, message: str) -> None:
        self.mistakes.append({"pointer": place, "message": message})

    def _parts(self, schema: Any, place: str, followed: frozenset[str]) -> Iterator[Part]:
        """A schema with all that it refers to and branches into: each of them may describe the same value."""
        self._parts_read += 1
        if self._parts_read > MAX_PARTS:
            raise _Endless(f"The schema has more than {MAX_PARTS:,} parts when every reference is followed.")
        if schema is True:
            self._mistake(place, "This says nothing of the value; describe it.")
        if not isinstance(schema, dict):
            return
        for keyword in sorted(schema.keys() - _KNOWN):
            self._mistake(f"{place}/{escape(keyword)}", f"{keyword[:60]} is not read here; say it with properties, "
                          "items, anyOf, oneOf or allOf.")  # fmt: skip
        yield schema, place
        if "$ref" in schema:
            yield from self._referred(schema["$ref"], place, followed)
        for keyword in _BRANCHES:
            for number, branch in enumerate(schema.get(keyword, [])):
                yield from self._parts(branch, f"{place}/{keyword}/{number}", followed)

    def _referred(self, reference: str, place: str, followed: frozenset[str]) -> Iterator[Part]:
        found = _REFERENCE.fullmatch(reference)
        definitions = self._schema.get("$defs", {})
        if found is None or found[1] not in definitions:
            self._mistake(f"{place}/$ref", "A reference leads to #/$defs/... of this schema, and nowhere else.")
        elif reference in followed:
            raise _Endless("The schema refers to itself without end.")
        else:
            yield from self._parts(definitions[found[1]], f"/$defs/{found[1]}", followed | {reference})

    def _value(self, parts: list[Part], at: str, level: int) -> None:
        """Notes the values at a pointer and below it."""
        if level > MAX_LEVELS:
            raise _Endless(f"Arguments are nested deeper than {MAX_LEVELS} levels, or without end.")
        if not parts:
            return  # nothing is allowed there
        self.places.add(at)
        place, types, below = parts[0][1], _types(parts), self._below(parts)
        if types - _TREE:
            self.values.setdefault(at, set()).update(types - _TREE)
        elif not types:
            self._mistake(place, "Say the type of this value.")
        if "array" in types and "*" not in below and not _closed(parts, "items"):
            self._mistake(place, "This says nothing of the items; describe them under items.")
        if "object" in types and not _closed(parts, "additionalProperties"):
            if below or not at:
                self.open.append(at)
            else:
                self._mistake(place, "This says nothing of the members; describe them under properties.")
        for name, described in below.items():
            self._value(described, f"{at}/{name}", level + 1)

    def _below(self, parts: list[Part]) -> dict[str, list[Part]]:
        """What is said of members and items, by the token that leads there."""
        found: dict[str, list[Part]] = {}

        def add(token: str, schema: Any, place: str) -> None:
            found.setdefault(token, []).extend(self._parts(schema, place, frozenset()))

        for part, place in parts:
            for name, schema in part.get("properties", {}).items():
                if _NAME.fullmatch(name):
                    add(escape(name), schema, f"{place}/properties/{escape(name)}")
                else:
                    self._mistake(f"{place}/properties", f"{name[:60]!r}: names are ASCII letters, digits and _.$@:-")
            if isinstance(part.get("additionalProperties"), dict):
                add("*", part["additionalProperties"], f"{place}/additionalProperties")
            if isinstance(part.get("items"), dict):
                add("*", part["items"], f"{place}/items")
            for number, schema in enumerate(part.get("prefixItems", [])):
                add("*", schema, f"{place}/prefixItems/{number}")
        return found


def _types(parts: list[Part]) -> set[str]:
    found: set[str] = set()
    for part, _ in parts:
        named = part.get("type", [])
        found |= {named} if isinstance(named, str) else set(named)
        values = [*part.get("enum", []), *([part["const"]] if "const" in part else [])]
        found |= {_TYPES.get(type(value), "null") for value in values}
        found |= {"object"} if "properties" in part or isinstance(part.get("additionalProperties"), dict) else set()
        found |= {"array"} if isinstance(part.get("items"), dict) or "prefixItems" in part else set()
    return found


def _closed(parts: list[Part], keyword: str) -> bool:
    return any(part.get(keyword, True) is not True for part, _ in parts)


def _invalid(schema: dict[str, Any]) -> Iterator[Mistake]:
    """What keeps a document from being a JSON Schema that can be checked offline and in linear time."""
    if size(schema) > MAX_SIZE:
        yield {"pointer": "", "message": f"The schema is larger than {MAX_SIZE:,} characters."}
        return
    if str(schema.get("$schema", DIALECT)).rstrip("#") != DIALECT:
        yield {"pointer": "/$schema", "message": f"Schemas are of JSON Schema 2020-12: {DIALECT}"}
        return
    yield from _patterns(schema, "")
    import jsonschema_rs

    try:
        # This engine of regular expressions never goes back, so it knows no look-around and no back-references.
        engine = jsonschema_rs.RegexOptions(size_limit=1_000_000)
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True, offline=True, pattern_options=engine)
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{escape(str(token))}" for token in error.instance_path)
        message = error.message[:300]
        if place.endswith("/pattern"):
            message = "This is no regular expression that takes linear time: leave out look-around, back-references "
            message += "and large repetitions of repetitions."
        yield {"pointer": place, "message": message}
    except Exception as error:  # its other errors have no class of their own in common
        yield {"pointer": "", "message": f"This is no JSON Schema that can be checked: {str(error)[:300]}"}


def _patterns(schema: Any, place: str) -> Iterator[Mistake]:
    if isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and len(pattern) > MAX_PATTERN:
            yield {"pointer": f"{place}/pattern", "message": f"A pattern has at most {MAX_PATTERN} characters."}
        for name, part in schema.items():
            yield from _patterns(part, f"{place}/{escape(name)}")
    elif isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from _patterns(part, f"{place}/{number}")
