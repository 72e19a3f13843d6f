"""Invitations and other one-time links."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from supabase_auth.errors import AuthApiError

from sandbox.auth.mailbox import Mail, received

from .stack import PASSWORD, Stack, new_email


def invite(stack: Stack, email: str) -> Mail:
    user = (
        stack.admin()
        .auth.admin.invite_user_by_email(email, {"data": {"team": "ops"}, "redirect_to": "http://127.0.0.1:9/welcome"})
        .user
    )
    assert user.invited_at is not None
    assert user.email_confirmed_at is None
    assert user.user_metadata == {"team": "ops"}
    [*_, mail] = received(stack.state, email)
    assert (mail.kind, mail.to) == ("invite", email)
    return mail


def fragment(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 303
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).fragment).items()}


def test_an_invited_person_follows_the_link_sets_a_password_and_stays(stack: Stack) -> None:
    email = new_email()
    answer = httpx.get(invite(stack, email).action_link)
    assert answer.headers["Location"].startswith("http://127.0.0.1:9/welcome#")
    session = fragment(answer)
    assert session["type"] == "invite"
    client = stack.client()
    client.auth.set_session(session["access_token"], session["refresh_token"])
    updated = client.auth.update_user({"password": PASSWORD}).user
    assert updated.email_confirmed_at is not None
    claims = client.auth.get_claims()
    assert claims is not None
    assert [entry["method"] for entry in claims["claims"]["amr"]] == ["otp"]
    stack.client().auth.sign_in_with_password({"email": email, "password": PASSWORD})


@pytest.mark.parametrize("typed", [True, False])
def test_an_invitation_is_accepted_through_the_client_once(stack: Stack, typed: bool) -> None:
    mail, client = invite(stack, new_email()), stack.client()

    def accept() -> str | None:
        if typed:
            answer = client.auth.verify_otp({"type": "invite", "email": mail.to, "token": mail.email_otp})
        else:
            answer = client.auth.verify_otp({"type": "invite", "token_hash": mail.hashed_token})
        return answer.user.email if answer.user else None

    assert accept() == mail.to
    with pytest.raises(AuthApiError) as refused:
        accept()
    assert (refused.value.status, refused.value.code) == (403, "otp_expired")
    assert fragment(httpx.get(mail.action_link))["error_code"] == "otp_expired"


def test_an_invitation_lasts_a_day(stack: Stack) -> None:
    mail = invite(stack, new_email())
    stack.sql(
        "update auth.one_time_tokens set created_at = created_at - interval '25 h' where relates_to = %s",
        mail.to,
    )
    assert fragment(httpx.get(mail.action_link))["error_code"] == "otp_expired"
    assert "access_token" in fragment(httpx.get(invite(stack, mail.to).action_link))


def test_a_second_invitation_replaces_the_first(stack: Stack) -> None:
    email = new_email()
    first, second = invite(stack, email), invite(stack, email)
    assert "error" in fragment(httpx.get(first.action_link))
    assert "access_token" in fragment(httpx.get(second.action_link))


def test_a_link_is_only_good_for_its_own_kind(stack: Stack) -> None:
    mail = invite(stack, new_email())
    for kind in ("recovery", "email_change", "nonsense", ""):
        with pytest.raises(AuthApiError, match="invalid or has expired"):
            stack.client().auth.verify_otp({"type": kind, "token_hash": mail.hashed_token})  # type: ignore[typeddict-item]


def test_a_code_is_only_good_for_its_own_address(stack: Stack) -> None:
    mail = invite(stack, new_email())
    with pytest.raises(AuthApiError, match="invalid or has expired"):
        stack.client().auth.verify_otp({"type": "invite", "email": new_email(), "token": mail.email_otp})


def test_who_has_an_account_is_not_invited(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError) as refused:
        stack.admin().auth.admin.invite_user_by_email(person.email)
    assert (refused.value.status, refused.value.code) == (422, "email_exists")
    assert list(received(stack.state, person.email)) == []


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "javascript:alert(1)", "//elsewhere.example"])
def test_a_link_never_leads_elsewhere(stack: Stack, target: str) -> None:
    email = new_email()
    stack.admin().auth.admin.invite_user_by_email(email, {"redirect_to": target})
    [mail] = received(stack.state, email)
    assert mail.redirect_to == stack.url
    link = mail.action_link.rpartition("&redirect_to=")[0]
    answer = httpx.get(link, params={**parse_qs(urlsplit(link).query), "redirect_to": target})
    assert answer.headers["Location"].startswith(f"{stack.url}#")


def test_generated_links_sign_in_without_any_mail(stack: Stack) -> None:
    admin, person = stack.admin().auth.admin, stack.person()
    for kind in ("magiclink", "recovery"):
        link = admin.generate_link({"type": kind, "email": person.email})  # type: ignore[misc, arg-type]
        assert link.user.email == person.email
        assert link.properties.verification_type == kind
        answer = stack.client().auth.verify_otp({"type": kind, "token_hash": link.properties.hashed_token})
        assert answer.session is not None
    assert list(received(stack.state, person.email)) == []


def test_generated_sign_up_and_invite_links_create_the_user(stack: Stack) -> None:
    admin = stack.admin().auth.admin
    signup = admin.generate_link({"type": "signup", "email": new_email(), "password": PASSWORD})
    assert signup.user.email_confirmed_at is None
    assert "access_token" in fragment(httpx.get(signup.properties.action_link))
    assert signup.user.email is not None
    stack.client().auth.sign_in_with_password({"email": signup.user.email, "password": PASSWORD})
    invited = admin.generate_link({"type": "invite", "email": new_email()})
    assert "access_token" in fragment(httpx.get(invited.properties.action_link))


def test_links_for_nobody_and_of_unknown_kinds_are_refused(stack: Stack) -> None:
    admin = stack.admin().auth.admin
    with pytest.raises(AuthApiError) as unknown:
        admin.generate_link({"type": "magiclink", "email": new_email()})
    assert (unknown.value.status, unknown.value.code) == (404, "user_not_found")
    with pytest.raises(AuthApiError, match="Invalid email action link type"):
        admin.generate_link({"type": "telepathy", "email": new_email()})  # type: ignore[misc, arg-type]
    with pytest.raises(AuthApiError, match="valid password"):
        admin.generate_link({"type": "signup", "email": new_email(), "password": ""})


def test_a_banned_user_gets_no_session_from_a_link(stack: Stack) -> None:
    admin, person = stack.admin().auth.admin, stack.person()
    link = admin.generate_link({"type": "magiclink", "email": person.email})
    admin.update_user_by_id(person.id, {"ban_duration": "1h30m"})
    assert fragment(httpx.get(link.properties.action_link))["error_code"] == "user_banned"


def test_the_mailbox_is_private(stack: Stack) -> None:
    invite(stack, new_email())
    assert (stack.state / "auth" / "mailbox.jsonl").stat().st_mode & 0o777 == 0o600
