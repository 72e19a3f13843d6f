"""Signing up and in with a password, and what the answer says."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from sandbox.auth.keys import anon_key
from sandbox.auth.passwords import hash_password, verify_password
from supabase import acreate_client

from .stack import PASSWORD, Stack, new_email


def verified_claims(stack: Stack, token: str) -> dict[str, Any]:
    """What an application that trusts this server learns from a token: PyJWT against the JWKS."""
    keys = jwt.PyJWKClient(f"{stack.url}/auth/v1/.well-known/jwks.json")
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["ES256"],
        audience="authenticated",
        issuer=f"{stack.url}/auth/v1",
        options={"require": ["exp", "iat", "sub", "aud", "iss"]},
    )


def test_sign_up_answers_a_confirmed_user_and_a_session(stack: Stack) -> None:
    email = new_email()
    answer = stack.client().auth.sign_up({"email": email, "password": PASSWORD, "options": {"data": {"name": "Ada"}}})
    assert answer.user is not None
    assert answer.session is not None
    assert answer.user.email == email
    assert answer.user.email_confirmed_at is not None
    assert answer.user.user_metadata["name"] == "Ada"
    assert answer.user.app_metadata == {"provider": "email", "providers": ["email"]}
    assert [identity.provider for identity in answer.user.identities or []] == ["email"]
    assert answer.session.token_type == "bearer"
    assert answer.session.expires_in == 3600
    assert abs((answer.session.expires_at or 0) - time.time() - 3600) < 60


def test_a_token_verifies_against_the_jwks_and_carries_the_real_claims(stack: Stack) -> None:
    person = stack.person()
    claims = verified_claims(stack, person.access_token)
    assert set(claims) == {
        *("iss", "sub", "aud", "exp", "iat", "email", "phone", "app_metadata", "user_metadata", "role"),
        *("aal", "amr", "session_id", "is_anonymous"),
    }
    assert claims["sub"] == person.id
    assert claims["email"] == person.email
    assert claims["aud"] == claims["role"] == "authenticated"
    assert claims["aal"] == "aal1"
    assert [entry["method"] for entry in claims["amr"]] == ["password"]
    assert abs(claims["amr"][0]["timestamp"] - time.time()) < 60
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["is_anonymous"] is False
    assert claims["phone"] == ""
    row = stack.sql("select user_id::text from auth.sessions where id = %s", claims["session_id"])
    assert row == [(person.id,)]
    assert jwt.get_unverified_header(person.access_token)["alg"] == "ES256"


def test_the_clients_own_verification_accepts_the_token(stack: Stack) -> None:
    answer = stack.person().client.auth.get_claims()
    assert answer is not None
    assert answer["headers"]["alg"] == "ES256"


def test_a_changed_token_is_refused(stack: Stack) -> None:
    person = stack.person()
    header, payload, signature = person.access_token.split(".")
    for forged in (f"{header}.{payload}.{signature[::-1]}", f"{header}.{payload[:-2]}AA.{signature}"):
        with pytest.raises(AuthApiError) as refused:
            stack.client().auth.get_user(forged)
        assert (refused.value.status, refused.value.code) == (403, "bad_jwt")


def test_a_token_made_with_a_public_key_as_secret_is_refused(stack: Stack) -> None:
    person = stack.person()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(person.access_token)["kid"]
    for forged in (
        jwt.encode(claims, "", algorithm="none", headers={"kid": kid}),
        jwt.encode(claims, anon_key(stack.state) * 2, algorithm="HS256", headers={"kid": kid}),
    ):
        with pytest.raises(AuthApiError, match="invalid JWT"):
            stack.client().auth.get_user(forged)


def test_sign_in_works_in_any_case_of_the_address_and_opens_a_new_session(stack: Stack) -> None:
    person = stack.person()
    other = stack.client()
    other.auth.sign_in_with_password({"email": person.email.upper(), "password": PASSWORD})
    claims = other.auth.get_claims()
    first = person.client.auth.get_claims()
    assert claims is not None
    assert first is not None
    assert claims["claims"]["sub"] == first["claims"]["sub"]
    assert claims["claims"]["session_id"] != first["claims"]["session_id"]


def test_wrong_password_and_unknown_address_look_the_same(stack: Stack) -> None:
    person = stack.person()
    answers = []
    for email, password in ((person.email, "wrong password"), (new_email(), PASSWORD)):
        with pytest.raises(AuthApiError) as refused:
            stack.client().auth.sign_in_with_password({"email": email, "password": password})
        answers.append((refused.value.status, refused.value.code, refused.value.message))
    assert answers == [(400, "invalid_credentials", "Invalid login credentials")] * 2


def test_an_address_signs_up_once(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError) as refused:
        stack.client().auth.sign_up({"email": person.email.title(), "password": PASSWORD})
    assert (refused.value.status, refused.value.code) == (422, "user_already_exists")


def test_of_simultaneous_sign_ups_with_one_address_one_succeeds(stack: Stack) -> None:
    email = new_email()

    def sign_up(_: int) -> str | None:
        try:
            stack.client().auth.sign_up({"email": email, "password": PASSWORD})
        except AuthApiError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(map(str, pool.map(sign_up, range(4)))) == ["done", *["user_already_exists"] * 3]


def test_a_short_password_is_refused_with_reasons(stack: Stack) -> None:
    with pytest.raises(AuthWeakPasswordError) as refused:
        stack.client().auth.sign_up({"email": new_email(), "password": "short"})
    assert refused.value.reasons == ["length"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"email": "nobody", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a@example.com", "password": "x" * 73}, 400, "validation_failed"),
        ({"email": "a@example.com"}, 400, "validation_failed"),
        ({"phone": "+4912345", "password": PASSWORD}, 400, "phone_provider_disabled"),
        ({"data": {}}, 422, "anonymous_provider_disabled"),
        ({"email": 7, "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a\0@example.com", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a@example.com", "password": PASSWORD, "data": {"a": "\ud800"}}, 400, "validation_failed"),
        ("{not json", 400, "bad_json"),
    ],
)
def test_bad_sign_ups_are_refused(stack: Stack, body: Any, status: int, code: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"apikey": anon_key(stack.state), "Content-Type": "application/json"}
    answer = httpx.post(f"{stack.url}/auth/v1/signup", headers=headers, content=content)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


@pytest.mark.parametrize("grant", ["password", "refresh_token"])
def test_a_grant_with_fields_of_the_wrong_type_is_refused(stack: Stack, grant: str) -> None:
    answer = httpx.post(
        f"{stack.url}/auth/v1/token?grant_type={grant}",
        headers={"apikey": anon_key(stack.state)},
        json={"email": ["a"], "password": {}, "refresh_token": 7},
    )
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")


def test_an_unknown_grant_is_refused(stack: Stack) -> None:
    answer = httpx.post(
        f"{stack.url}/auth/v1/token?grant_type=magic", headers={"apikey": anon_key(stack.state)}, json={}
    )
    assert answer.status_code == 400


def test_errors_have_the_form_of_the_callers_api_version(stack: Stack) -> None:
    url, key = f"{stack.url}/auth/v1/user", anon_key(stack.state)
    old = httpx.get(url, headers={"apikey": key})
    assert old.status_code == 401
    assert old.json() == {
        "code": 401,
        "error_code": "no_authorization",
        "msg": "This endpoint requires a Bearer token",
    }
    new = httpx.get(url, headers={"apikey": key, "X-Supabase-Api-Version": "2024-01-01"})
    assert new.json() == {"code": "no_authorization", "message": "This endpoint requires a Bearer token"}
    assert new.headers["X-Supabase-Api-Version"] == "2024-01-01"


def test_nothing_is_served_without_one_of_the_api_keys(stack: Stack) -> None:
    url = f"{stack.url}/auth/v1/settings"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"apikey": "sb_publishable_guess"}).status_code == 401
    assert httpx.get(url, headers={"apikey": anon_key(stack.state)}).json()["external"]["email"] is True
    with pytest.raises(AuthApiError, match="Invalid API key"):
        stack.client("sb_publishable_guess").auth.sign_up({"email": new_email(), "password": PASSWORD})


def test_a_key_alone_is_nobody(stack: Stack) -> None:
    with pytest.raises(AuthApiError, match="missing sub claim"):
        stack.client().auth.get_user(anon_key(stack.state))


def test_health_and_keys_answer(stack: Stack) -> None:
    headers = {"apikey": anon_key(stack.state)}
    assert httpx.get(f"{stack.url}/auth/v1/health", headers=headers).status_code == 200
    keys = httpx.get(f"{stack.url}/auth/v1/.well-known/jwks.json").json()["keys"]
    assert {key["kty"] for key in keys} == {"EC"}
    assert all("d" not in key for key in keys)
    assert httpx.get(f"{stack.url}/auth/v1/nothing", headers=headers).status_code == 404


def test_the_asynchronous_client_works_too(stack: Stack) -> None:
    async def sign_up() -> str:
        client = await acreate_client(stack.url, anon_key(stack.state))
        answer = await client.auth.sign_up({"email": new_email(), "password": PASSWORD})
        await client.auth.sign_out()
        assert answer.user is not None
        return answer.user.id

    assert uuid.UUID(asyncio.run(sign_up()))


def test_a_password_is_stored_as_a_salted_scrypt_hash(stack: Stack) -> None:
    person = stack.person()
    [(stored,)] = stack.sql("select encrypted_password from auth.users where email = %s", person.email)
    assert isinstance(stored, str)
    assert stored.startswith("$scrypt$ln=14,r=8,p=1$")
    assert verify_password(PASSWORD, stored)
    assert not verify_password(PASSWORD + "x", stored)
    assert hash_password(PASSWORD) != stored
    assert not verify_password("", None)
