"""TOTP factors and the assurance level they give a session."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from supabase_auth.errors import AuthApiError

from sandbox.auth.totp import totp

from .stack import Person, Stack


def level(person: Person) -> str | None:
    return person.client.auth.mfa.get_authenticator_assurance_level().current_level


def other_code(secret: str) -> str:
    """A code that is not good anywhere near now."""
    now = time.time()
    near = {totp(secret, now + 30 * step) for step in range(-4, 5)}
    return next(code for number in range(100) if (code := f"{number:06d}") not in near)


def refusal(person: Person, factor_id: str, code: str) -> tuple[int, str | None]:
    with pytest.raises(AuthApiError) as refused:
        person.answer(factor_id, code)
    return refused.value.status, refused.value.code


FAILED = (422, "mfa_verification_failed")


def test_enrolment_gives_a_secret_and_a_scannable_address(stack: Stack) -> None:
    person = stack.person()
    enrolled = person.client.auth.mfa.enroll(
        {"factor_type": "totp", "friendly_name": "phone", "issuer": "Counter: sign"}
    )
    assert enrolled.totp is not None
    uri = urlsplit(enrolled.totp.uri)
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", f"/Counter%3A%20sign:{person.email}")
    assert parse_qs(uri.query)["secret"] == [enrolled.totp.secret]
    assert parse_qs(uri.query)["issuer"] == ["Counter: sign"]
    assert enrolled.totp.qr_code.startswith("data:image/svg+xml;utf-8,<svg ")
    assert enrolled.friendly_name == "phone"
    listed = person.client.auth.mfa.list_factors()
    assert [(factor.status, factor.friendly_name) for factor in listed.all] == [("unverified", "phone")]
    assert listed.totp == []
    assert level(person) == "aal1"


def test_the_right_code_raises_the_session_to_aal2(stack: Stack) -> None:
    person = stack.person()
    before = person.client.auth.get_claims()
    factor_id, secret = person.enrol()
    challenge = person.client.auth.mfa.challenge({"factor_id": factor_id})
    assert challenge.factor_type == "totp"
    assert 240 < challenge.expires_at - time.time() <= 301
    answer = person.client.auth.mfa.verify(
        {"factor_id": factor_id, "challenge_id": challenge.id, "code": totp(secret, time.time())}
    )
    assert answer.user.factors is not None
    assert [factor.status for factor in answer.user.factors] == ["verified"]
    after = person.client.auth.get_claims()
    assert before is not None
    assert after is not None
    assert (before["claims"]["aal"], after["claims"]["aal"]) == ("aal1", "aal2")
    assert after["claims"]["session_id"] == before["claims"]["session_id"]
    assert [entry["method"] for entry in after["claims"]["amr"]] == ["totp", "password"]
    assert [factor.id for factor in person.client.auth.mfa.list_factors().totp] == [factor_id]


def test_the_level_survives_a_refresh_and_not_a_new_sign_in(stack: Stack) -> None:
    person = stack.person()
    person.with_factor()
    person.client.auth.refresh_session()
    assert level(person) == "aal2"
    other = stack.again(person)
    levels = other.client.auth.mfa.get_authenticator_assurance_level()
    assert (levels.current_level, levels.next_level) == ("aal1", "aal2")


def test_the_refresh_token_from_before_the_factor_does_not_go_back_to_aal1(stack: Stack) -> None:
    person = stack.person()
    old = person.refresh_token
    person.with_factor()
    session = stack.client().auth.refresh_session(old).session
    assert session is not None
    assert session.refresh_token == person.refresh_token


def test_verifying_ends_the_other_sessions_that_have_no_second_factor(stack: Stack) -> None:
    person = stack.person()
    other = stack.again(person)
    token = other.access_token
    person.with_factor()
    assert not stack.stands(token)
    assert stack.stands(person.access_token)


def test_a_wrong_code_changes_nothing(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol()
    assert refusal(person, factor_id, other_code(secret)) == FAILED
    assert refusal(person, factor_id, "12345") == FAILED
    assert refusal(person, factor_id, "\uff11" * 6) == FAILED
    assert level(person) == "aal1"
    assert [factor.status for factor in person.client.auth.mfa.list_factors().all] == ["unverified"]
    person.answer(factor_id, totp(secret, time.time()))
    assert level(person) == "aal2"


def test_codes_are_good_one_step_early_or_late_and_no_further(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol()
    for distance in (-90, 90):
        assert refusal(person, factor_id, totp(secret, time.time() + distance)) == FAILED
    left = 30 - time.time() % 30
    if left < 5:
        time.sleep(left)  # a code one step late must not become two steps late on its way
    person.answer(factor_id, totp(secret, time.time() - 30))
    person.answer(factor_id, totp(secret, time.time() + 30))


def test_a_code_is_good_once(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol()
    used, earlier = totp(secret, time.time()), totp(secret, time.time() - 30)
    person.answer(factor_id, used)
    assert refusal(person, factor_id, used) == FAILED
    assert refusal(stack.again(person), factor_id, used) == FAILED
    # An earlier code that was watched but not used is no better.
    assert refusal(person, factor_id, earlier) == FAILED


def test_a_challenge_is_answered_once_and_only_with_its_own_factor(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol("first")
    second_id, second_secret = person.enrol("second")
    challenge_id = person.challenge(factor_id)
    mfa = person.client.auth.mfa
    with pytest.raises(AuthApiError) as foreign:
        mfa.verify({"factor_id": second_id, "challenge_id": challenge_id, "code": totp(second_secret, time.time())})
    assert foreign.value.code == "mfa_factor_not_found"
    mfa.verify({"factor_id": factor_id, "challenge_id": challenge_id, "code": totp(secret, time.time())})
    with pytest.raises(AuthApiError) as again:
        mfa.verify({"factor_id": factor_id, "challenge_id": challenge_id, "code": totp(secret, time.time() + 30)})
    assert (again.value.status, again.value.code) == (422, "mfa_ip_address_mismatch")


def test_a_challenge_expires(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol()
    challenge_id = person.challenge(factor_id)
    stack.sql(
        "update auth.mfa_challenges set created_at = created_at - interval '301 s' where id = %s",
        challenge_id,
    )
    with pytest.raises(AuthApiError) as refused:
        person.client.auth.mfa.verify(
            {"factor_id": factor_id, "challenge_id": challenge_id, "code": totp(secret, time.time())}
        )
    assert (refused.value.status, refused.value.code) == (422, "mfa_challenge_expired")


def test_a_challenge_belongs_to_the_address_it_was_asked_from(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol()
    challenge_id = person.challenge(factor_id)
    stack.sql("update auth.mfa_challenges set ip_address = '10.0.0.1' where id = %s", challenge_id)
    with pytest.raises(AuthApiError) as refused:
        person.client.auth.mfa.verify(
            {"factor_id": factor_id, "challenge_id": challenge_id, "code": totp(secret, time.time())}
        )
    assert refused.value.code == "mfa_ip_address_mismatch"


def test_another_persons_factor_does_not_exist(stack: Stack) -> None:
    factor_id, _ = stack.person().enrol()
    intruder = stack.person().client.auth.mfa
    for call in (intruder.challenge, intruder.unenroll):
        with pytest.raises(AuthApiError) as refused:
            call({"factor_id": factor_id})
        assert (refused.value.status, refused.value.code) == (404, "mfa_factor_not_found")
    with pytest.raises(AuthApiError, match="must be an UUID"):
        intruder.challenge({"factor_id": "nonsense"})


def test_another_factor_needs_aal2_and_another_name(stack: Stack) -> None:
    person = stack.person()
    factor_id, secret = person.enrol("phone")
    with pytest.raises(AuthApiError) as same_name:
        person.enrol("phone")
    assert (same_name.value.status, same_name.value.code) == (422, "mfa_factor_name_conflict")
    person.answer(factor_id, totp(secret, time.time()))
    person.enrol("tablet")
    with pytest.raises(AuthApiError) as refused:
        stack.again(person).enrol("laptop")
    assert (refused.value.status, refused.value.code) == (403, "insufficient_aal")


def test_there_is_a_limit_to_factors(stack: Stack) -> None:
    person = stack.person()
    for number in range(10):
        person.enrol(f"factor {number}")
    with pytest.raises(AuthApiError) as refused:
        person.enrol("one too many")
    assert refused.value.code == "too_many_enrolled_mfa_factors"
    stack.sql("update auth.mfa_factors set created_at = created_at - interval '6 min' where user_id = %s", person.id)
    person.enrol("after the others were forgotten")
    assert len(person.client.auth.mfa.list_factors().all) == 1


def test_unenrolling_a_verified_factor_needs_aal2_and_lowers_the_session(stack: Stack) -> None:
    person = stack.person()
    factor_id, _ = person.with_factor()
    with pytest.raises(AuthApiError) as refused:
        stack.again(person).client.auth.mfa.unenroll({"factor_id": factor_id})
    assert (refused.value.status, refused.value.code) == (422, "insufficient_aal")
    assert person.client.auth.mfa.unenroll({"factor_id": factor_id}).id == factor_id
    person.client.auth.refresh_session()
    claims = person.client.auth.get_claims()
    assert claims is not None
    assert claims["claims"]["aal"] == "aal1"
    assert [entry["method"] for entry in claims["claims"]["amr"]] == ["password"]
    assert person.client.auth.mfa.list_factors().all == []


@pytest.mark.parametrize("kind", ["phone", "webauthn", "carrier pigeon"])
def test_other_kinds_of_factor_are_refused(stack: Stack, kind: str) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError) as refused:
        person.client.auth.mfa.enroll({"factor_type": kind})  # type: ignore[typeddict-item]
    assert refused.value.status in {400, 422}


def test_an_issuer_too_long_for_a_qr_code_is_refused(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError, match="too long"):
        person.client.auth.mfa.enroll({"factor_type": "totp", "issuer": "x" * 500})
    assert person.client.auth.mfa.list_factors().all == []
