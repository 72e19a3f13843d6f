"""Refresh token rotation and the detection of reuse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from supabase_auth.errors import AuthApiError

from .stack import Stack


def refresh(stack: Stack, token: str) -> str:
    """Refreshes with `token` on a client of its own; answers the next refresh token."""
    session = stack.client().auth.refresh_session(token).session
    assert session is not None
    return session.refresh_token


def age(stack: Stack, token: str, seconds: int) -> None:
    """Makes it longer ago that `token` was rotated."""
    stack.sql(
        "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => %s) where token = %s",
        seconds,
        token,
    )


def refused(stack: Stack, token: str) -> tuple[int, str | None]:
    with pytest.raises(AuthApiError) as error:
        refresh(stack, token)
    return error.value.status, error.value.code


def test_a_refresh_gives_new_tokens_for_the_same_session(stack: Stack) -> None:
    person = stack.person()
    before = person.client.auth.get_claims()
    first = person.refresh_token
    person.client.auth.refresh_session()
    after = person.client.auth.get_claims()
    assert before is not None
    assert after is not None
    assert person.refresh_token != first
    assert after["claims"]["session_id"] == before["claims"]["session_id"]
    assert after["claims"]["amr"] == before["claims"]["amr"]


def test_a_token_just_rotated_answers_the_active_one(stack: Stack) -> None:
    first = stack.person().refresh_token
    second = refresh(stack, first)
    third = refresh(stack, second)
    age(stack, first, 9)
    assert refresh(stack, first) == third


def test_the_predecessor_of_the_active_token_answers_it_even_late(stack: Stack) -> None:
    # The client that never got the answer to its refresh must not lose its session.
    first = stack.person().refresh_token
    second = refresh(stack, first)
    age(stack, first, 3600)
    assert refresh(stack, first) == second


def test_reuse_after_the_interval_ends_the_session_and_all_its_tokens(stack: Stack) -> None:
    person = stack.person()
    access_token, first = person.access_token, person.refresh_token
    other = stack.again(person)
    second = refresh(stack, first)
    third = refresh(stack, second)
    age(stack, first, 11)
    assert refused(stack, first) == (400, "refresh_token_already_used")
    assert refused(stack, third) == (400, "refresh_token_not_found")
    assert refused(stack, second) == (400, "refresh_token_not_found")
    assert not stack.stands(access_token)
    # The person's other device is another family.
    assert refresh(stack, other.refresh_token)


def test_an_unknown_token_is_refused(stack: Stack) -> None:
    assert refused(stack, "no such token") == (400, "refresh_token_not_found")


def test_simultaneous_refreshes_agree_on_one_successor(stack: Stack) -> None:
    first = stack.person().refresh_token
    with ThreadPoolExecutor(6) as pool:
        successors = set(pool.map(lambda _: refresh(stack, first), range(6)))
    assert len(successors) == 1
    assert successors != {first}
    [(active,)] = stack.sql(
        "select count(*) from auth.refresh_tokens t where not t.revoked and t.session_id ="
        " (select session_id from auth.refresh_tokens where token = %s)",
        first,
    )
    assert active == 1


def test_a_banned_user_cannot_refresh_or_sign_in(stack: Stack) -> None:
    person = stack.person()
    token, user_id, admin = person.refresh_token, person.id, stack.admin().auth.admin
    admin.update_user_by_id(user_id, {"ban_duration": "24h"})
    assert refused(stack, token) == (400, "user_banned")
    with pytest.raises(AuthApiError, match="User is banned"):
        stack.again(person)
    admin.update_user_by_id(user_id, {"ban_duration": "none"})
    assert refresh(stack, token)


def test_a_session_past_its_end_cannot_be_refreshed(stack: Stack) -> None:
    person = stack.person()
    stack.sql("update auth.sessions set not_after = now() - interval '1 s' where user_id = %s", person.id)
    assert refused(stack, person.refresh_token) == (400, "session_expired")


def test_the_session_remembers_when_it_was_refreshed(stack: Stack) -> None:
    person = stack.person()
    user_id = person.id
    assert stack.sql("select refreshed_at from auth.sessions where user_id = %s", user_id) == [(None,)]
    refresh(stack, person.refresh_token)
    age_of_refresh = "select now() at time zone 'utc' - refreshed_at < interval '1 min'"
    assert stack.sql(f"{age_of_refresh} from auth.sessions where user_id = %s", user_id) == [(True,)]
