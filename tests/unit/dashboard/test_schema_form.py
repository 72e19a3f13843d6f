"""A form made from a contract gives back what it was made of, and what a person changed."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dashboard import schema_form
from api.dashboard.schema_form import UNIT, Field
from tests.unit.dashboard.payments import ARGS, CONTRACT, SCHEMA


def sent(fields: list[Field]) -> dict[str, list[str]]:
    """What a browser sends of these fields, unchanged."""
    found: dict[str, list[str]] = {}
    for each in fields:
        if each.kind in ("object", "rows"):
            found |= sent(each.children)
            continue
        found[each.pointer] = [each.value.replace("\n", "\r\n").replace("\r\n", "\n")]
        if each.unit:
            found[f"{UNIT}{each.pointer}"] = [each.unit]
    return found


def flat(fields: list[Field]) -> dict[str, Field]:
    return {each.pointer: each for one in fields for each in (one, *flat(one.children).values())}


def form(args: Any = ARGS, **more: Any) -> dict[str, Field]:
    return flat(schema_form.fields(SCHEMA, args, contract=CONTRACT, **more))


def test_what_is_not_touched_comes_back_as_it_was() -> None:
    fields = schema_form.fields(SCHEMA, ARGS, contract=CONTRACT)
    assert schema_form.taken(SCHEMA, sent(fields), ARGS, CONTRACT) == (ARGS, [])


def test_fields_are_asked_for_as_what_they_are() -> None:
    kinds = {pointer: each.kind for pointer, each in form().items() if pointer.count("/") == 1}
    assert kinds == {
        "/to_iban": "text", "/amount": "money", "/currency": "text", "/reference": "text", "/note": "prose",
        "/due": "date", "/urgent": "yes_no", "/share": "number", "/kind": "choice", "/tags": "lines", "/lines": "rows",
        "/payer": "object", "/extra": "json",
    }  # fmt: skip
    assert form()["/amount"].value == "1299.00"
    assert form()["/amount"].label == "Amount (EUR)"
    assert form()["/amount"].required
    assert not form()["/reference"].required
    assert form()["/lines/2"].label == "Another one"


def test_what_was_changed_is_marked_with_what_it_was() -> None:
    fields = form(ARGS | {"amount": 5, "reference": "INV-9", "tags": ["a"]}, before=ARGS)
    was = {pointer: each.was for pointer, each in fields.items() if each.was is not None}
    assert was == {"/amount": "1299.00", "/reference": "INV-1042", "/tags": "a\nb"}


def test_errors_stand_at_their_fields() -> None:
    fields = form(
        errors=[{"pointer": "/args/amount", "message": "Too much."}, {"pointer": "/lines/0/n", "message": "No."}]
    )
    assert fields["/amount"].error == "Too much."
    assert fields["/lines/0/n"].error == "No."


@pytest.mark.parametrize(
    ("currency", "typed", "unit", "amount"),
    [("EUR", "10", "major", 1000), ("EUR", "10.5", "major", 1050), ("JPY", "10", "major", 10),
     ("KWD", "1.234", "major", 1234),
     ("EUR", "129900", "minor", 129900), ("EUR", "1 299.00", "major", 129900)],
)  # fmt: skip
def test_amounts_are_typed_as_people_write_them(currency: str, typed: str, unit: str, amount: int) -> None:
    fields = {"/amount": [typed], "/currency": [currency], f"{UNIT}/amount": [unit]}
    args, errors = schema_form.taken(SCHEMA, fields, {}, CONTRACT)
    assert (args["amount"], errors) == (amount, [])


@pytest.mark.parametrize(
    "typed", ["1,299.00", "1.299,00", "ten", "1e5", "0.001", "NaN", "Infinity", "--1", "٣", "1" * 30]
)
def test_an_amount_that_may_mean_two_things_is_refused(typed: str) -> None:
    args, errors = schema_form.taken(SCHEMA, {"/amount": [typed], "/currency": ["EUR"]}, {}, CONTRACT)
    assert "amount" not in args
    assert [error["pointer"] for error in errors] == ["/args/amount"]


def test_a_corrected_currency_does_not_change_what_the_number_counts() -> None:
    """The form was shown with cents, because the currency was none; with a right one it still counts cents."""
    wrong = ARGS | {"currency": "eur"}
    fields = sent(schema_form.fields(SCHEMA, wrong, contract=CONTRACT)) | {"/currency": ["EUR"]}
    assert schema_form.taken(SCHEMA, fields, wrong, CONTRACT)[0]["amount"] == 129900
    fields = sent(schema_form.fields(SCHEMA, ARGS, contract=CONTRACT)) | {"/currency": ["eur"]}
    args, errors = schema_form.taken(SCHEMA, fields, ARGS, CONTRACT)
    assert "amount" not in args
    assert "three capital letters" in errors[0]["message"]


def test_what_is_emptied_is_left_out_and_what_is_added_is_there() -> None:
    fields = sent(schema_form.fields(SCHEMA, ARGS, contract=CONTRACT))
    fields |= {
        "/reference": [""],
        "/urgent": ["true"],
        "/lines/0/text": [""],
        "/lines/0/n": [""],
        "/lines/2/text": ["new"],
    }
    args, errors = schema_form.taken(SCHEMA, fields, ARGS, CONTRACT)
    assert errors == []
    assert "reference" not in args
    assert args["urgent"] is True
    assert args["lines"] == [{"text": "y"}, {"text": "new"}]


def test_what_cannot_be_read_is_said_at_its_field() -> None:
    args, errors = schema_form.taken(
        SCHEMA, {"/extra": ["{"], "/lines/0/n": ["1.5"], "/lines/0/text": ["x"]}, {}, CONTRACT
    )
    assert args == {"lines": [{"text": "x"}]}
    assert {error["pointer"] for error in errors} == {"/args/extra", "/args/lines/0/n"}


def test_what_the_form_has_no_field_for_stays() -> None:
    before = ARGS | {"unlisted": 1}
    fields = sent(schema_form.fields(SCHEMA, before, contract=CONTRACT))
    assert schema_form.taken(SCHEMA, fields, before, CONTRACT)[0] == before


@pytest.mark.parametrize("text", ["tab\there", "bell\x07", "\ud800", "a\rb", "\nfirst", " space ", "\u202e"])
def test_no_character_is_lost_on_the_way(text: str) -> None:
    before = ARGS | {"reference": text}
    fields = sent(schema_form.fields(SCHEMA, before, contract=CONTRACT))
    json.dumps(fields).encode()
    assert schema_form.taken(SCHEMA, fields, before, CONTRACT)[0] == before


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": ["object", "null"]}, {"type": "object"}, {"$ref": "#/$defs/none"}, {"$ref": "#"},
     {"type": "object", "properties": {"a": {"$ref": "#"}}}, {"type": "object", "properties": {"a": True}},
     {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}}],
)  # fmt: skip
@pytest.mark.parametrize("value", [{}, {"a": {"a": {"a": 1}}}, {"a": [{"a": []}]}, {"b": "x"}])
def test_any_schema_gives_a_form_that_gives_it_back(schema: dict[str, Any], value: dict[str, Any]) -> None:
    fields = schema_form.fields(schema, value)
    args, errors = schema_form.taken(schema, sent(fields), value)
    assert errors == []
    assert args == value or args == {key: each for key, each in value.items() if each != {"a": {}}}


_TEXT, _SHORT = st.text(max_size=20), st.text(max_size=5)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    _TEXT,
    st.lists(_SHORT),
    st.dictionaries(_SHORT, st.integers()),
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), _VALUES, max_size=6),
    st.dictionaries(_TEXT, st.lists(_TEXT, min_size=1, max_size=2), max_size=5),
)
def test_nothing_that_is_proposed_or_sent_breaks_it(args: dict[str, Any], hostile: dict[str, list[str]]) -> None:
    kept = copy.deepcopy(args)
    fields = schema_form.fields(SCHEMA, args, before=ARGS, contract=CONTRACT)
    schema_form.taken(SCHEMA, sent(fields) | {f"/{k}": v for k, v in hostile.items()}, args, CONTRACT)
    assert args == kept
