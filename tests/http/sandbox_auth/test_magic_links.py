"""Asking for a link to sign in with, through the official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from supabase_auth.errors import AuthApiError

from sandbox.auth.mailbox import received

from .stack import Stack, new_email, running


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


@pytest.fixture(scope="module")
def templated(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server whose operator has set the mail templates to lead to a page of the site."""
    link = "{site_url}/auth/confirm?token_hash={token_hash}&type={type}&next={redirect_to}"
    arguments = ("--site-url", "https://site.example", "--mail-link", link)
    with running(tmp_path_factory.mktemp("templated"), database_url, *arguments) as started:
        yield started


def mailed(stack: Stack, email: str) -> dict[str, str]:
    """The parameters of the link in the last mail, which has to lead to the site's page."""
    [*_, mail] = received(stack.state, email)
    link = urlsplit(mail.action_link)
    assert (link.scheme, link.netloc, link.path) == ("https", "site.example", "/auth/confirm")
    parameters = dict(parse_qsl(link.query, strict_parsing=True))
    assert parameters["token_hash"] == mail.hashed_token
    return parameters


def test_the_links_of_mail_templates_lead_to_the_site_and_are_redeemed_by_its_server(templated: Stack) -> None:
    person, stranger, guest = templated.person(), new_email(), new_email()
    back = "https://site.example/exceptions?of=me&by=age"
    templated.client().auth.sign_in_with_otp({"email": person.email, "options": {"email_redirect_to": back}})
    templated.admin().auth.admin.invite_user_by_email(guest)
    ask(templated, stranger, create=True)
    expected = {
        person.email: ("magiclink", back),
        guest: ("invite", "https://site.example"),
        stranger: ("email", "https://site.example"),
    }
    for email, (kind, arrival) in expected.items():
        link = mailed(templated, email)
        assert (link["type"], link["next"]) == (kind, arrival)
        proof: Any = {"type": link["type"], "token_hash": link["token_hash"]}
        answer = templated.client().auth.verify_otp(proof)
        assert answer.user is not None
        assert answer.user.email == email


def test_a_forgotten_password_is_chosen_anew_from_a_mail(templated: Stack) -> None:
    person = templated.person()
    templated.client().auth.reset_password_for_email(person.email)
    link = mailed(templated, person.email)
    assert link["type"] == "recovery"
    client = templated.client()
    client.auth.verify_otp({"type": "recovery", "token_hash": link["token_hash"]})
    client.auth.update_user({"password": "a new horse battery"})
    templated.client().auth.sign_in_with_password({"email": person.email, "password": "a new horse battery"})


def test_a_stranger_who_asks_for_a_new_password_learns_nothing_and_gets_no_mail(templated: Stack) -> None:
    email = new_email()
    templated.client().auth.reset_password_for_email(email)
    assert list(received(templated.state, email)) == []


def test_templates_concern_mails_alone(templated: Stack) -> None:
    made = templated.admin().auth.admin.generate_link({"type": "magiclink", "email": templated.person().email})
    assert made.properties.action_link.startswith(f"{templated.url}/auth/v1/verify?")
