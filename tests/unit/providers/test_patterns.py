"""What patterns let through: judged by trying texts, not by reading patterns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.providers.patterns import BREAKING, HOST, characters, is_anchored, pins_address


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("^[a-c]{1,20}$", "abc"), ("^a|b$", "ab"), (r"^a\.b$", "a.b"), ("^(x|yz){2}$", "xyz"), ("^(?:a)(?=b)b?$", "ab"),
        (r"^[a\]]$", "a]"), ("^[]a]$", "]a"), (r"^\d$", "0123456789"), ("^a{,3}$", "a"), ("^(?P<n>a)+?$", "a"),
    ],
)  # fmt: skip
def test_the_characters_of_a_pattern(pattern: str, found: str) -> None:
    assert {c for c in characters(pattern) if c.isascii()} == set(found)


@pytest.mark.parametrize("pattern", ["^.*$", r"^\S+$", "^[^a]$", r"^\x22$", r"^(a)\1$", r"^[^\n]$", r"^\W$", "^[!-~]$"])
def test_what_is_wide_or_not_understood_lets_quotes_through(pattern: str) -> None:
    assert '"' in characters(pattern)


ATOMS = st.sampled_from(
    [
        "a",
        "-",
        ",",
        r"\.",
        r"\\",
        r"\d",
        r"\w",
        r"\s",
        ".",
        "[a-f]",
        "[^a-f]",
        r"[\]x]",
        "[]x]",
        "[a|b]",
        r"[^\"\\]",
        '"',
        "'",
        "}",
    ]
)
QUANTIFIED = st.tuples(ATOMS, st.sampled_from(["", "+", "?", "*", "{2}", "{0,2}", "+?"])).map("".join)


def _groups(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    kinds = st.sampled_from(["(", "(?:", "(?P<n>"])
    return st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: kinds.map(lambda kind: kind + "|".join(parts) + ")")
    )


PATTERNS = st.lists(QUANTIFIED | _groups(QUANTIFIED), min_size=1, max_size=3).map("".join)


@given(PATTERNS, st.data())
def test_no_matching_text_has_another_character(pattern: str, data: st.DataObject) -> None:
    try:
        re.compile(pattern)
    except re.error:  # a group's name twice
        return
    alphabet = st.sampled_from("abfxz019.,-|[]{}()\"'\\ \n_?*+^$")
    text = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=alphabet))
    assert set(text) <= characters(pattern)


@pytest.mark.parametrize("pattern", ["^a$", "^(a|b)$", r"^a\\$", "^[|]$", "^[$]$", "^(a(b|c))$"])
def test_anchored(pattern: str) -> None:
    assert is_anchored(pattern)


@pytest.mark.parametrize("pattern", ["a", "^a", "a$", r"^a\$", "^a|b$", "", "^", "^(a)|(b)$"])
def test_not_anchored(pattern: str) -> None:
    assert not is_anchored(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^https://[a-z0-9-]+\.acme\.com$",
        r"^https://[a-z0-9-]+(\.[a-z0-9-]+)*\.acme\.com$",
        r"^https:\/\/(a|b)\.acme\.com$",
    ],
)
def test_an_address_that_is_pinned(pattern: str) -> None:
    assert pins_address(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^https://.*\.acme\.com$", r"^https://[^/]+\.acme\.com$", r"^http://[a-z]+\.acme\.com$", r"^https://[a-z.]+$",
        r"^https://[a-z]+.acme.com$", r"^https://[a-z]+\.com$", r"^https://[a-z]+\.acme\.com", r"^https://[a-z/]+\.acme\.com$",
        r"^https://a|b\.acme\.com$", r"^https://[a-z@]+\.acme\.com$", r"^https://\S+\.acme\.com$", r"^.*\.acme\.com$",
    ],
)  # fmt: skip
def test_an_address_that_could_be_anybodys(pattern: str) -> None:
    assert not pins_address(pattern)


def test_the_sets_are_what_they_are_called() -> None:
    assert {'"', "'", "\\", "\n", "\r", "\0", "\x7f", "`", "\u2028"} <= BREAKING
    assert not HOST & set("/\\@:?#% ")
