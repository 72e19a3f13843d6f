"""Asking for a link to sign in with, through the official client."""

from __future__ import annotations

import pytest
from supabase_auth.errors import AuthApiError

from sandbox.auth.mailbox import received

from .stack import Stack, new_email


def ask(stack: Stack, email: str, *, create: bool) -> None:
    stack.client().auth.sign_in_with_otp({"email": email, "options": {"should_create_user": create}})


def test_a_known_person_is_mailed_a_link_that_signs_in_once(stack: Stack) -> None:
    person = stack.person()
    ask(stack, person.email.upper(), create=False)
    [mail] = received(stack.state, person.email)
    assert mail.kind == "magiclink"
    client = stack.client()
    signed_in = client.auth.verify_otp({"type": "magiclink", "token_hash": mail.hashed_token})
    assert signed_in.user is not None
    assert signed_in.user.id == person.id
    with pytest.raises(AuthApiError) as used:
        stack.client().auth.verify_otp({"type": "magiclink", "token_hash": mail.hashed_token})
    assert used.value.code == "otp_expired"


def test_a_stranger_gets_none_unless_he_is_to_be_created(stack: Stack) -> None:
    email = new_email()
    with pytest.raises(AuthApiError) as refused:
        ask(stack, email, create=False)
    assert (refused.value.status, refused.value.code) == (422, "otp_disabled")
    assert list(received(stack.state, email)) == []
    ask(stack, email, create=True)
    [mail] = received(stack.state, email)
    assert mail.kind == "signup"
    made = stack.client().auth.verify_otp({"type": "signup", "token_hash": mail.hashed_token})
    assert made.user is not None
    assert made.user.email_confirmed_at is not None


@pytest.mark.parametrize("email", ["nobody", " ", "a b@example.com"])
def test_a_link_needs_an_address(stack: Stack, email: str) -> None:
    with pytest.raises(AuthApiError) as refused:
        ask(stack, email, create=False)
    assert refused.value.status == 400
