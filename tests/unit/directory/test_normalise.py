"""What people write, and what is compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.directory.matching import account_key
from api.gate import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("solstice.example", "solstlce.example"),
        ("harbour.example", "h\u0430rbour.example"),  # with a Cyrillic a
        ("modern.example", "modem.example"),
        ("willow.example", "vvillow.example"),
        ("acme.example", "acmé.example"),
        ("google.example", "g00gle.example"),
    ],
)
def test_domains_that_look_the_same_have_one_skeleton(one: str, other: str) -> None:
    assert normalise.domain(one) != normalise.domain(other)
    assert normalise.looks_of_domain(normalise.domain(one)) == normalise.looks_of_domain(normalise.domain(other))


def test_a_domain_is_compared_as_it_goes_over_the_wire() -> None:
    assert normalise.domain("BÜCHER.example.") == normalise.domain("xn--bcher-kva.example") == "xn--bcher-kva.example"
    assert normalise.email("Jo@Bücher.example") == "jo@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("northwind", "northwind", True),
        ("northwind", "norhtwind", True),
        ("northwind", "northwin", True),
        ("northwind", "northwindy", True),
        ("northwind", "southwind", False),
        ("northwind", "northwlnq", False),
        ("abc", "abd", False),
        ("", "", True),
    ],
)
def test_one_character_of_difference(one: str, other: str, expected: bool) -> None:
    assert normalise.alike(one, other) is normalise.alike(other, one) is expected


@given(st.text("abcdxy", min_size=5, max_size=12), st.integers(0, 11), st.sampled_from("abcdxy"))
def test_every_single_edit_is_seen(word: str, place: int, letter: str) -> None:
    place = min(place, len(word))
    assert normalise.alike(word, word[:place] + letter + word[place:])
    assert normalise.alike(word, word[:place] + word[place + 1 :])
    assert normalise.alike(word, word[:place] + letter + word[place + 1 :])


@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_what_is_alike_begins_or_ends_the_same(one: str, other: str) -> None:
    """By which the database leaves out what cannot be alike (match.sql)."""
    part = max((len(one) - 3) // 2, 0)
    if normalise.alike(one, other):
        assert one[:part] == other[:part] or one[len(one) - part :] == other[len(other) - part :]


@given(st.text())
def test_a_skeleton_is_its_own(text: str) -> None:
    assert normalise.looks(normalise.looks(text)) == normalise.looks(text)


@given(st.text(max_size=40))
def test_whatever_is_written_is_normalised_or_refused(text: str) -> None:
    for key in (normalise.iban, normalise.email, normalise.domain, normalise.phone, normalise.number, account_key,
                normalise.routing_number, normalise.bic):  # fmt: skip
        try:
            found = key(text)
        except ValueError:
            continue
        assert key(found.removeprefix("iban:")) == found


def test_accounts_have_one_key() -> None:
    assert account_key("de89 3704 0044 0532 0130 00") == "iban:DE89370400440532013000"
    assert account_key("021000021/12 34-5") == account_key("us:021000021/1234-5") == "us:021000021/1234-5"
    assert account_key("other:BSB062000/123") == "other:BSB062000/123"
    for wrong in ("DE88370400440532013000", "021000022/1", "12345", ""):
        with pytest.raises(ValueError, match=r"this is no|an account"):
            account_key(wrong)
