"""Cursors: pages meet without gaps, and what this API did not give out is 400."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import Problem
from api.pagination import PageRequest

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("0199f7a0-0000-7000-8000-000000000001")


def _cursor(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode()


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"created_at": AT - timedelta(seconds=n // 2), "id": UUID(int=n), "n": n} for n in range(count)]


def test_the_first_page_begins_at_the_beginning() -> None:
    assert PageRequest(limit=20).key() == {"after_at": None, "after_id": None, "limit": 21}
    assert PageRequest().before() is None


def test_a_cursor_comes_back_as_the_key_it_names() -> None:
    page = PageRequest(limit=1).page(
        [{"created_at": AT, "id": ID}, {"created_at": AT, "id": UUID(int=0)}], "created_at", "id"
    )
    assert page["has_more"] is True
    assert page["items"] == [{"created_at": AT, "id": ID}]
    following = PageRequest(limit=1, cursor=page["next_cursor"])
    assert following.key() == {"after_at": AT, "after_id": ID, "limit": 2}


def test_a_numbered_list_goes_by_its_numbers() -> None:
    page = PageRequest(limit=2).page([{"seq": 9}, {"seq": 8}, {"seq": 7}], "seq")
    assert PageRequest(cursor=page["next_cursor"]).before() == 8


@pytest.mark.parametrize(("rows", "limit", "more"), [(0, 5, False), (4, 5, False), (5, 5, False), (6, 5, True)])
def test_has_more_is_told_by_one_row_more(rows: int, limit: int, more: bool) -> None:
    page = PageRequest(limit=limit).page(_rows(rows), "created_at", "id")
    assert (len(page["items"]), page["has_more"]) == (min(rows, limit), more)
    assert (page["next_cursor"] is not None) is more


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 7))
def test_pages_meet_without_gaps_and_repetitions(count: int, limit: int) -> None:
    """Two rows at a time share their moment, so that the id has to decide."""
    stored = sorted(_rows(count), key=lambda row: (row["created_at"], row["id"]), reverse=True)
    seen: list[dict[str, Any]] = []
    cursor = None
    for _ in range(count + 2):
        request = PageRequest(limit=limit, cursor=cursor)
        key = request.key()
        after = (key["after_at"], key["after_id"])
        left = [row for row in stored if cursor is None or (row["created_at"], row["id"]) < after]
        page = request.page(left[: key["limit"]], "created_at", "id")
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == stored


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "====", "%%%", "é", "\ud800", "\x00",
        _cursor(b""), _cursor(b"{"), _cursor(b"\xff\xfe"), _cursor(b"[" * 250), _cursor(b"NaN"),
        *(_cursor(t.encode()) for t in ("null", "0", "1", '""', '"x"', "true", "{}", '{"a": 1}', '{"0": "x"}', "[]")),
    ],
    ids=lambda cursor: repr(cursor)[:24],
)  # fmt: skip
def test_what_is_no_cursor_is_refused_at_once(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        PageRequest(cursor=cursor).key()
    assert (refused.value.status_code, refused.value.code) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "value",
    [
        ["x", str(ID)], [AT.isoformat()], [AT.isoformat(), "x"], [AT.isoformat(), 5], [5, str(ID)], [["x"], {}],
        [True, True], [AT.isoformat(), [str(ID)]], ["9999-99-99T00:00:00+00:00", str(ID)],
        [AT.isoformat(), "\x00"],
    ],
)  # fmt: skip
def test_a_cursor_of_another_list_is_refused(value: Any) -> None:
    with pytest.raises(Problem) as refused:
        PageRequest(cursor=_cursor(value)).key()
    assert (refused.value.status_code, refused.value.code) == (400, "invalid_cursor")


@pytest.mark.parametrize("value", [["x"], [0], [-1], [2**63], [1.5], [True], [None], [[1]], [{"a": 1}], [10**300]])
def test_a_number_that_no_list_has_is_refused(value: Any) -> None:
    with pytest.raises(Problem) as refused:
        PageRequest(cursor=_cursor(value)).before()
    assert (refused.value.status_code, refused.value.code) == (400, "invalid_cursor")


@given(st.text(max_size=60) | st.binary(max_size=40).map(_cursor) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
).map(_cursor))  # fmt: skip
def test_no_text_is_more_than_an_invalid_cursor(cursor: str) -> None:
    for read in ("key", "before"):
        try:
            getattr(PageRequest(cursor=cursor), read)()
        except Problem as problem:
            outcome = (problem.status_code, problem.code)
        else:
            continue
        assert outcome == (400, "invalid_cursor")


@pytest.mark.parametrize("members", ["[{}, []]", '["", ""]', "[null, null]", "[0, 0]", "[]"])
def test_a_cursor_of_empty_members_is_not_the_first_page(members: str) -> None:
    with pytest.raises(Problem) as refused:
        PageRequest(cursor=_cursor(members.encode())).key()
    assert refused.value.status_code == 400
