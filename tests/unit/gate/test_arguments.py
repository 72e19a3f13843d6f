"""Arguments read the same before and after they were stored."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from api.gate.arguments import MAX_DEPTH, MAX_INTEGER, canonical, size
from api.gate.models import Proposal
from tests.unit.gate.world import proposal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def typed(value: Any) -> str:
    """The value with its types: 1, 1.0 and True are three."""
    return repr(value)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_what_is_stored_is_what_was_decided_on(args: dict[str, Any]) -> None:
    proposed = proposal(args)
    stored = json.loads(rfc8785.dumps(proposed.args))
    assert typed(proposal(stored).args) == typed(proposed.args)
    assert typed(canonical(proposed.args)) == typed(proposed.args)
    assert rfc8785.dumps(proposed.args) == rfc8785.dumps(args)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (5.0, 5),
        (-0.0, 0),
        (0.5, 0.5),
        (1e300, 1e300),
        (float(2**53), 2.0**53),
        (2**53 - 1, 2**53 - 1),
        (10**20, 1e20),
        (37093005593985340, 3.709300559398534e16),
        (True, True),
        ("5", "5"),
        ({"b": 1.0, "a": [2.0]}, {"a": [2], "b": 1}),
    ],
)
def test_numbers_are_kept_as_they_will_be_read(value: Any, kept: Any) -> None:
    assert typed(canonical(value)) == typed(kept)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        10**400,
        2**53 + 1,
        -(2**63) - 1,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        b"x",
        {"a", "b"},
        (1, 2),
        nested(MAX_DEPTH + 1),
        nested(100_000),
    ],
    ids=[
        "nan",
        "inf",
        "-inf",
        "10**400",
        "2**53+1",
        "-2**63-1",
        "surrogate",
        "surrogate_name",
        "int_name",
        "bytes",
        "set",
        "tuple",
        "deep",
        "deeper",
    ],
)
def test_what_json_cannot_carry_is_no_proposal(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)
    with pytest.raises(ValueError, match="args"):
        proposal({"a": value})


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="nested deeper"):
        canonical(endless)


def test_the_deepest_value_is_accepted() -> None:
    assert canonical(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    assert proposal({"a": nested(MAX_DEPTH - 1)}).args == {"a": nested(MAX_DEPTH - 1)}


def test_the_subject_is_held_to_the_same() -> None:
    assert typed(proposal(subject={"b": 1.0, "a": 2}).subject) == typed({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="subject"):
        proposal(subject={"tier": float("nan")})


def test_size_counts_characters_and_not_their_escapes() -> None:
    assert size({"a": "é" * 100}) == len('{"a": ""}') + 100


@pytest.mark.parametrize("claimed", [True, False, "0.9", b"0.9", "nan", float("nan"), float("inf"), -0.1, 1.1, []])
def test_only_a_number_between_0_and_1_is_a_confidence(claimed: Any) -> None:
    with pytest.raises(ValueError, match="confidence"):
        proposal(confidence=claimed)


@pytest.mark.parametrize(("claimed", "kept"), [(-0.0, "0.0"), (0, "0.0"), (1, "1.0"), (0.1, "0.1"), (None, "None")])
def test_confidence_is_kept_as_one_reads_it_back(claimed: Any, kept: str) -> None:
    assert repr(proposal(confidence=claimed).confidence) == kept
    again = Proposal.model_validate_json(proposal(confidence=claimed).model_dump_json())
    assert repr(again.confidence) == kept
