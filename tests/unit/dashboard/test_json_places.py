"""JSON that a person types: where something is wrong in it, and what is no JSON at all."""

import pytest

from api.dashboard.json_places import places, read, written
from api.errors import Problem

TEXT = """{
  "stage": "sometimes",
  "tools": {
    "a.b": {
      "read_fields": ["/x",
        "y"]
    },
    "c~/d": {}
  }, "limits": [ {"name": "n"},
    [1, -2.5e3, true, null, "\\u007d\\"}"] ]
}"""


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("", 1),
        ("/stage", 2),
        ("/tools/a.b/read_fields/0", 5),
        ("/tools/a.b/read_fields/1", 6),
        ("/tools/c~0~1d", 8),
        ("/limits", 9),
        ("/limits/0/name", 9),
        ("/limits/1/4", 10),
        # What is not there is told of where it should be.
        ("/owner", 1),
        ("/tools/a.b/access", 4),
        ("/stage/literal['shadow']", 2),
    ],
)
def test_an_error_is_told_with_the_line_that_it_is_in(pointer: str, line: int) -> None:
    (place,) = places(TEXT, [{"pointer": pointer, "message": "wrong"}])
    assert place.line == line
    assert place.text == TEXT.split("\n")[line - 1].strip()
    assert (place.pointer, place.message) == (pointer, "wrong")


def test_errors_are_told_from_the_first_line_to_the_last() -> None:
    told = places(TEXT, [{"pointer": at, "message": ""} for at in ("/limits", "/stage", "/tools")])
    assert [place.line for place in told] == [2, 3, 9]


@pytest.mark.parametrize("empty", ["{}", "[]", " { } ", "[ ]", "1", '"text"', '{"a": {}, "b": []}'])
def test_nothing_much_has_places_too(empty: str) -> None:
    assert [place.line for place in places(empty, [{"pointer": "/stage", "message": ""}])] == [1]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', "[NaN]", "[" * 100 + "]" * 100, "\ud800", '"\\u0000"'])
def test_what_two_parsers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read(text)
    assert (refused.value.status_code, refused.value.code) == (422, "invalid_json")


def test_what_is_written_is_read_as_it_was() -> None:
    value = {"purpose": "Rechnungen bezahlen, größer als 0 €", "tools": {"a.b": {"access": "read"}}}
    assert read(written(value)) == value
    assert "größer" in written(value)
