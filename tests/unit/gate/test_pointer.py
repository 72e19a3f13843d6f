"""JSON pointers: what they reach, what they must not reach."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.gate.pointer import covers, leaves, missing, resolve

DOCUMENT = {
    "a": {"b/c": 1, "d~e": 2, "*": 3},
    "~1": "tilde",
    "list": [{"n": 1}, {"n": 2}, {}],
    "": {"": "empty"},
    "0": "zero",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="a~/*0", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", [("", DOCUMENT)]),
        ("/a/b~1c", [("/a/b~1c", 1)]),
        ("/a/d~0e", [("/a/d~0e", 2)]),
        ("/a/b/c", []),
        ("/~01", [("/~01", "tilde")]),
        ("/a/*", [("/a/b~1c", 1), ("/a/d~0e", 2), ("/a/*", 3)]),
        ("/list/*/n", [("/list/0/n", 1), ("/list/1/n", 2)]),
        ("/list/1/n", [("/list/1/n", 2)]),
        ("/list/3", []),
        ("/list/-", []),
        ("/list/-1", []),
        ("/list/01", []),
        ("/list/\N{ARABIC-INDIC DIGIT ONE}", []),
        ("/list/+1", []),
        ("/list/" + "9" * 5000, []),
        ("/0", [("/0", "zero")]),
        ("//", [("//", "empty")]),
        ("/list/n", []),
        ("/a/b~1c/x", []),
    ],
)
def test_resolve_finds_exactly(pointer: str, found: list[tuple[str, Any]]) -> None:
    assert list(resolve(DOCUMENT, pointer)) == found


@pytest.mark.parametrize(
    ("pointer", "places"),
    [
        ("/a/b~1c", []),
        ("/x", ["/x"]),
        ("/a/x/y", ["/a/x"]),
        ("/list/*/n", ["/list/2/n"]),
        ("/list/*/n/m", ["/list/2/n", "/list/0/n/m", "/list/1/n/m"]),
        ("/list/2/*", ["/list/2/*"]),
        ("/a/*/x", ["/a/b~1c/x", "/a/d~0e/x", "/a/*/x"]),
        ("", []),
    ],
)
def test_missing_names_every_place_that_leads_nowhere(pointer: str, places: list[str]) -> None:
    assert list(missing(DOCUMENT, pointer)) == places


@pytest.mark.parametrize(
    ("pattern", "pointer", "expected"),
    [
        ("", "/anything", True),
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a/b", "/a", False),
        ("/a/b", "/a~1b", False),
        ("/a~1b", "/a~1b", True),
        ("/a~1b", "/a/b", False),
        ("/items/*/id", "/items/0/id", True),
        ("/items/*/id", "/items/0/ID", False),
        ("/items/*/id", "/items/id", False),
        ("/*", "/", True),
        ("/x", "/*", False),
        ("/a", "/\N{CYRILLIC SMALL LETTER A}", False),
        ("/\N{LATIN SMALL LETTER E WITH ACUTE}", "/e\N{COMBINING ACUTE ACCENT}", False),
    ],
)
def test_covers(pattern: str, pointer: str, expected: bool) -> None:
    assert covers(pattern, pointer) is expected


def test_leaves_show_empty_containers_so_that_nothing_hides_in_them() -> None:
    document = {"a": {}, "b": [], "c": [{"d": {}}], "e/f": {"~": None}}
    assert list(leaves(document)) == [("/a", {}), ("/b", []), ("/c/0/d", {}), ("/e~1f/~0", None)]


@given(JSON)
def test_every_leaf_is_found_again_by_its_pointer(document: Any) -> None:
    for pointer, value in leaves(document):
        if "*" in pointer.split("/"):  # as a pattern, that stands for every member
            assert (pointer, value) in list(resolve(document, pointer))
        else:
            assert list(resolve(document, pointer)) == [(pointer, value)]
            assert not list(missing(document, pointer))
        assert covers(pointer, pointer)


@given(JSON)
def test_leaves_hold_the_whole_document(document: Any) -> None:
    """Two documents with the same leaves are the same: no part of one can be smuggled past a list of leaves."""
    texts = [json.dumps(value) for _, value in leaves(document)]
    assert sum(map(len, texts)) <= len(json.dumps(document))
    assert len({pointer for pointer, _ in leaves(document)}) == len(texts)
