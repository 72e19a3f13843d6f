"""Reading a tenant's schema for every value that it has a place for."""

import json
import time
from typing import Any

import pytest

from api.tools.input_schema import MAX_PATTERN, InputSchema

TEXT = {"type": "string"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def values(schema: dict[str, Any]) -> dict[str, set[str]]:
    read = InputSchema(schema)
    assert read.mistakes == []
    return read.values


def messages(schema: dict[str, Any]) -> dict[str, str]:
    return {mistake["pointer"]: mistake["message"] for mistake in InputSchema(schema).mistakes}


def test_every_value_has_a_pointer_and_types() -> None:
    line = an_object(sku=TEXT, pieces={"type": "integer"})
    schema = an_object(
        to={"type": "array", "items": TEXT},
        lines={"type": "array", "items": line},
        note={"type": ["string", "null"]},
        headers={"type": "object", "additionalProperties": TEXT},
        kind={"enum": ["a", 1]},
        always={"const": True},
        pair={"type": "array", "prefixItems": [TEXT, {"type": "number"}], "items": False},
    )
    assert values(schema) == {
        "/to/*": {"string"}, "/lines/*/sku": {"string"}, "/lines/*/pieces": {"integer"}, "/note": {"string"},
        "/headers/*": {"string"}, "/kind": {"string", "integer"}, "/always": {"boolean"},
        "/pair/*": {"string", "number"},
    }  # fmt: skip


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_branches_and_references_hide_no_value(keyword: str) -> None:
    schema = an_object(to={"$ref": "#/$defs/recipient"}) | {
        "$defs": {"recipient": {keyword: [TEXT, {"type": "array", "items": an_object(bcc=TEXT)}]}},
        "allOf": [{"properties": {"hidden": TEXT}}],
    }
    assert set(values(schema)) == {"/to", "/to/*/bcc", "/hidden"}


def test_a_schema_without_arguments_is_one() -> None:
    assert values({"type": "object"}) == {}
    assert values(an_object()) == {}


def test_it_notes_objects_that_take_what_is_not_named() -> None:
    schema = {"type": "object", "properties": {"inner": {"type": "object", "properties": {"a": TEXT}}, "b": TEXT}}
    assert InputSchema(schema).open == ["", "/inner"]
    assert InputSchema(an_object(b=TEXT)).open == []


@pytest.mark.parametrize(
    ("schema", "pointer", "told"),
    [
        ({}, "/type", "the schema's type is object"),
        ({"type": "array"}, "/type", "the schema's type is object"),
        ({"type": "objekt"}, "/type", "is not valid"),
        (an_object(a={"type": "string", "minLength": -1}), "/properties/a/minLength", "less than the minimum"),
        (an_object(a={}), "/properties/a", "Say the type"),
        (an_object(a=True), "/properties/a", "says nothing of the value"),
        (an_object(a={"type": "array"}), "/properties/a", "items"),
        (an_object(a={"type": "array", "items": True}), "/properties/a", "items"),
        (an_object(a={"type": "object"}), "/properties/a", "members"),
        (an_object(a={"type": "object", "additionalProperties": True}), "/properties/a", "members"),
        (an_object(a={"type": "string", "pattern": "("}), "/properties/a/pattern", "regular expression"),
        (an_object() | {"patternProperties": {"^x": TEXT}}, "/patternProperties", "not read here"),
        (an_object() | {"if": {}, "then": an_object(x=TEXT)}, "/then", "not read here"),
        (an_object() | {"dependentSchemas": {"a": an_object(x=TEXT)}}, "/dependentSchemas", "not read here"),
        (an_object() | {"unevaluatedProperties": TEXT}, "/unevaluatedProperties", "not read here"),
        (an_object() | {"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "2020-12"),
        (an_object(a={"$ref": "#/properties/a"}), "/properties/a/$ref", "#/$defs/"),
        (an_object(аmount=TEXT), "/properties", "ASCII"),
        (an_object(**{"a/b": TEXT}), "/properties", "ASCII"),
    ],
)  # fmt: skip
def test_what_could_hide_a_value_is_refused_with_its_place(schema: dict[str, Any], pointer: str, told: str) -> None:
    found = messages(schema)
    assert pointer in found
    assert told in found[pointer]


@pytest.mark.parametrize(
    "reference", ["https://example.com/schema", "file:///etc/passwd", "other.json", "//example.com/x", "#/$defs/none"]
)
def test_no_reference_leads_out_of_the_schema(reference: str) -> None:
    assert messages(an_object(a={"$ref": reference}))
    assert messages(an_object(a={"$dynamicRef": reference}))


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?>a)b", "(a{1000}){1000}", "((a{99}){99}){99}"],
)
def test_a_pattern_that_could_go_back_or_explode_is_refused(pattern: str) -> None:
    found = messages(an_object(a={"type": "string", "pattern": pattern}))
    assert "linear time" in found["/properties/a/pattern"]


def test_a_pattern_is_bounded_and_a_common_one_is_fine() -> None:
    assert messages(an_object(a={"type": "string", "pattern": "a" * (MAX_PATTERN + 1)}))
    assert values(an_object(a={"type": "string", "pattern": r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$"})) == {"/a": {"string"}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = an_object(a=TEXT)
    for _ in range(levels):
        schema = an_object(a=schema)
    return schema


def doubling(levels: int) -> dict[str, Any]:
    """Each definition refers to the next one twice."""
    branches = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return an_object(a={"$ref": "#/$defs/d0"}) | {"$defs": branches | {f"d{levels}": TEXT}}


ENDLESS = {
    "itself": an_object(a={"$ref": "#/$defs/a"}) | {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, TEXT]}}},
    "a list of itself": an_object(a={"$ref": "#/$defs/a"})
    | {"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
    "a wide tree of itself": an_object(a={"$ref": "#/$defs/a"})
    | {"$defs": {"a": an_object(**{f"x{n}": {"$ref": "#/$defs/a"} for n in range(30)})}},
    "deep": nested(11),
    "wide": an_object(**{f"a{n}": TEXT for n in range(2_500)}),
    "doubling": doubling(40),
    "large": an_object(a=TEXT) | {"$comment": "x" * 60_000},
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_is_refused_in_no_time(what: str) -> None:
    assert json.dumps(ENDLESS[what])
    begun = time.thread_time()
    assert messages(ENDLESS[what])
    assert time.thread_time() - begun < 2


def test_ten_levels_are_enough_for_anybody() -> None:
    assert list(values(nested(9))) == ["/a" * 10]
