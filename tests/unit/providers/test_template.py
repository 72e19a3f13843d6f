"""Templates: each value stands where its placeholder stood, and nowhere else, whatever it is."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.config import ConfigurationError
from api.providers import template
from api.providers.template import ABSENT, Filling, UnsendableError
from tests.unit.providers.acme import KEY, UUID

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def filling(key: str | None = KEY, /, **args: Any) -> Filling:
    return Filling(args, frozenset({*args, "absent"}), {"tenant_id": "t-1"}, key, {"amount": "currency"})


@given(JSON)
def test_a_placeholder_alone_is_its_value_with_its_type(value: Any) -> None:
    assert template.document({"a": ["{x}"]}, filling(x=value)) == {"a": [value]}


@given(st.text(), st.text())
def test_a_value_adds_no_member_and_leaves_no_text(one: str, two: str) -> None:
    """Whatever is put in, the document keeps its shape: the same members, the same number of items, two texts."""
    made = template.document({"a": {"b": "<{x|text}>"}, "c": ["{y}", "z"]}, filling(x=one, y=two))
    assert made == {"a": {"b": f"<{one}>"}, "c": [two, "z"]}


@given(st.text())
def test_what_a_value_says_is_no_template(value: str) -> None:
    """A value is put in once; a placeholder in it stands for itself."""
    assert template.text("{x}{y}", filling(x="{y}{tenant_id}", y=value)) == "{y}{tenant_id}" + value


@given(st.text(min_size=1))
def test_a_value_is_one_segment_of_a_path(value: str) -> None:
    try:
        path = template.path("/a/{x}/b", filling(x=value))
    except (UnsendableError, UnicodeError):
        assert value in (".", "..") or not value.isprintable()
        return
    assert path.startswith("/a/")
    assert path.endswith("/b")
    assert path.count("/") == 3
    assert not set(path) & set("?#\\ \r\n")


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("/a/{x}", {"x": ""}), ("/a/{x}", {"x": "."}), ("/a/{x}", {"x": ".."}), ("/a/.{x}", {"x": "."}),
        ("/a/{x}{y}", {"x": ".", "y": "."}), ("/a/{absent}", {}), ("/a/{x}", {"x": ["b"]}), ("/a/{x}", {"x": None}),
    ],
)  # fmt: skip
def test_a_path_names_the_operation_that_it_was_written_for(path: str, args: dict[str, Any]) -> None:
    with pytest.raises(UnsendableError):
        template.path(path, filling(**args))


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ({"a": "{absent}", "b": 1}, {"b": 1}),
        ({"a": {"b": {"c": "{absent}"}}}, ABSENT),
        ({"a": {"b": "{absent}", "c": 1}}, {"a": {"c": 1}}),
        ({"a": ["{absent}", {"b": "{absent}"}, 2]}, {"a": [2]}),
        ({"a": ["{absent}"], "b": 0}, {"b": 0}),
        ({"a": "for {absent|text}", "b": "x"}, {"b": "x"}),
        ({"a": {}, "b": [], "c": None, "d": False}, {"a": {}, "b": [], "c": None, "d": False}),
        ({"a": "{x}"}, {"a": {}}),
    ],
)
def test_what_holds_only_absent_arguments_is_left_out(written: Any, made: Any) -> None:
    assert template.document(written, filling(x={})) == made


@pytest.mark.parametrize(
    ("amount", "currency", "number", "text"),
    [
        (1250, "EUR", 12.5, "12.50"),
        (1200, "EUR", 12, "12.00"),
        (5, "USD", 0.05, "0.05"),
        (0, "USD", 0, "0.00"),
        (-1250, "EUR", -12.5, "-12.50"),
        (-5, "EUR", -0.05, "-0.05"),
        (500, "JPY", 500, "500"),
        (12345, "KWD", 12.345, "12.345"),
        (12345, "CLF", 1.2345, "1.2345"),
        (100_000_000_000, "EUR", 1_000_000_000, "1000000000.00"),
        (99_999_999_999_999, "EUR", 999_999_999_999.99, "999999999999.99"),
    ],
)
def test_money_in_major_units(amount: int, currency: str, number: float, text: str) -> None:
    made = template.document(["{amount|major}", "{amount|major_text}"], filling(amount=amount, currency=currency))
    assert made == [number, text]
    assert type(made[0]) is type(number)


@given(st.integers(-(10**14), 10**14), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_money_is_exact(amount: int, currency: str) -> None:
    """What is written as JSON, read as a decimal, is the amount to the last minor unit."""
    made = template.document(["{amount|major}", "{amount|major_text}"], filling(amount=amount, currency=currency))
    number, text = json.loads(json.dumps(made), parse_float=Decimal, parse_int=Decimal)
    digits = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}[currency]
    assert number.scaleb(digits) == Decimal(text).scaleb(digits) == amount


def test_money_that_a_number_cannot_say_is_not_sent() -> None:
    with pytest.raises(UnsendableError, match="exactly"):
        template.document("{amount|major}", filling(amount=10**18 + 1, currency="EUR"))
    assert template.document("{amount|major_text}", filling(amount=10**18 + 1, currency="EUR")).endswith(".01")


@pytest.mark.parametrize(
    "args", [{"amount": 1}, {"amount": 1, "currency": "euro"}, {"amount": "1", "currency": "EUR"},
             {"amount": True, "currency": "EUR"}, {"amount": 1.5, "currency": "EUR"}]
)  # fmt: skip
def test_what_is_no_money_is_not_sent(args: dict[str, Any]) -> None:
    with pytest.raises(UnsendableError, match="amount"):
        template.document("{amount|major}", filling(**args))


def test_the_key_and_the_ids_of_the_connection() -> None:
    made = template.document(["{idempotency_key}", "{idempotency_uuid}", "{tenant_id}", "{x|lower}"], filling(x="EUR"))
    assert made == [KEY, UUID, "t-1", "eur"]
    for key in (None, "", "cs_1", "cs_" + "g" * 36):
        with pytest.raises(UnsendableError):
            template.document("{idempotency_uuid}", filling(key))
    with pytest.raises(ConfigurationError, match="connect it again"):
        template.text("{realm_id}", filling())


def test_an_id_as_a_number() -> None:
    assert template.document(["{x|integer}", "n {x|integer}"], filling(x="4620")) == [4620, "n 4620"]
    for value in ("", "1.5", "0x1", "01", "-1", "1" * 20, "a", True, "\u0661"):
        with pytest.raises(UnsendableError):
            template.document("{x|integer}", filling(x=value))


@pytest.mark.parametrize(
    ("value", "texts"),
    [("a", ["a"]), (True, ["true"]), (3, ["3"]), (1.5, ["1.5"]), (["a", 2], ["a", "2"]), ([], [])],
)
def test_the_texts_of_a_parameter(value: Any, texts: list[str]) -> None:
    assert template.texts("{x}", filling(x=value)) == texts
    assert template.texts("{absent}", filling()) == []


@pytest.mark.parametrize("value", [None, {"a": 1}, [["a"]], [None]])
def test_what_is_no_text_is_not_sent_as_one(value: Any) -> None:
    with pytest.raises(UnsendableError):
        template.texts("{x}", filling(x=value))
