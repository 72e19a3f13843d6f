"""The person's own account: reading and changing it, signing out."""

from __future__ import annotations

import time

import httpx
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from sandbox.auth.keys import anon_key
from sandbox.auth.mailbox import received
from sandbox.auth.totp import totp

from .stack import PASSWORD, Stack, new_email


def test_metadata_is_merged_and_null_removes_a_key(stack: Stack) -> None:
    person = stack.person()
    person.client.auth.update_user({"data": {"name": "Ada", "team": "ops"}})
    answer = person.client.auth.update_user({"data": {"team": None, "desk": 4}})
    metadata = answer.user.user_metadata
    assert (metadata["name"], metadata["desk"], "team" in metadata) == ("Ada", 4, False)
    person.client.auth.refresh_session()
    claims = person.client.auth.get_claims()
    assert claims is not None
    assert claims["claims"]["user_metadata"]["desk"] == 4  # type: ignore[typeddict-item]


def test_a_new_password_replaces_the_old_and_signs_other_devices_out(stack: Stack) -> None:
    person = stack.person()
    other = stack.again(person)
    other_token = other.access_token
    person.client.auth.update_user({"password": "another password"})
    with pytest.raises(AuthApiError, match="Invalid login credentials"):
        stack.again(person)
    stack.client().auth.sign_in_with_password({"email": person.email, "password": "another password"})
    assert stack.stands(person.access_token)
    assert not stack.stands(other_token)


def test_a_password_must_be_new_and_long_enough(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError) as same:
        person.client.auth.update_user({"password": PASSWORD})
    assert (same.value.status, same.value.code) == (422, "same_password")
    with pytest.raises(AuthWeakPasswordError):
        person.client.auth.update_user({"password": "short"})


def test_nobody_changes_their_own_app_metadata(stack: Stack) -> None:
    person = stack.person()
    headers = {"apikey": anon_key(stack.state), "Authorization": f"Bearer {person.access_token}"}
    answer = httpx.put(f"{stack.url}/auth/v1/user", headers=headers, json={"app_metadata": {"role": "owner"}})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


def test_a_new_address_counts_after_it_was_confirmed(stack: Stack) -> None:
    person, new = stack.person(), new_email()
    pending = person.client.auth.update_user({"email": new}).user
    assert (pending.email, pending.new_email) == (person.email, new)
    [mail] = received(stack.state, new)
    assert mail.kind == "email_change"
    changed = stack.client().auth.verify_otp({"type": "email_change", "token_hash": mail.hashed_token})
    assert changed.user is not None
    assert (changed.user.email, changed.user.new_email) == (new, None)
    assert [identity.identity_data["email"] for identity in changed.user.identities or []] == [new]
    stack.client().auth.sign_in_with_password({"email": new, "password": PASSWORD})


def test_a_taken_address_is_refused(stack: Stack) -> None:
    person, neighbour = stack.person(), stack.person()
    with pytest.raises(AuthApiError) as refused:
        person.client.auth.update_user({"email": neighbour.email})
    assert (refused.value.status, refused.value.code) == (422, "email_exists")


def test_with_a_factor_the_password_needs_aal2(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.with_factor()
    other = stack.again(person)
    for attributes in ({"password": "another password"}, {"email": new_email()}):
        with pytest.raises(AuthApiError) as refused:
            other.client.auth.update_user(attributes)  # type: ignore[arg-type]
        assert (refused.value.status, refused.value.code) == (401, "insufficient_aal")
    other.client.auth.update_user({"data": {"harmless": True}})
    other.answer(factor_id, totp(secret, time.time() + 30))
    other.client.auth.update_user({"password": "another password"})


def test_signing_out_ends_the_refresh_token_and_the_access_token(stack: Stack) -> None:
    person = stack.person()
    access_token, refresh_token = person.access_token, person.refresh_token
    person.client.auth.sign_out({"scope": "local"})
    assert person.client.auth.get_session() is None
    assert not stack.stands(access_token)
    with pytest.raises(AuthApiError) as refused:
        stack.client().auth.refresh_session(refresh_token)
    assert refused.value.message == "Invalid Refresh Token: Refresh Token Not Found"


@pytest.mark.parametrize(
    ("scope", "mine", "others"), [("local", False, True), ("others", True, False), ("global", False, False)]
)
def test_scopes_say_which_sessions_end(stack: Stack, scope: str, mine: bool, others: bool) -> None:
    person = stack.person()
    second = stack.again(person)
    first_token, second_token = person.access_token, second.access_token
    neighbour = stack.person()
    person.client.auth.sign_out({"scope": scope})  # type: ignore[arg-type]
    assert stack.stands(first_token) is mine
    assert stack.stands(second_token) is others
    assert stack.stands(neighbour.access_token)


def test_an_unknown_scope_ends_nothing(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError, match="Unsupported logout scope"):
        person.client.auth.admin.sign_out(person.access_token, "everything")  # type: ignore[arg-type]
    assert stack.stands(person.access_token)


def test_only_bearer_tokens_are_read(stack: Stack) -> None:
    headers = {"apikey": anon_key(stack.state), "Authorization": f"Basic {stack.person().access_token}"}
    assert httpx.get(f"{stack.url}/auth/v1/user", headers=headers).status_code == 401
