"""User administration with the secret key, and who is kept from it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from supabase_auth.errors import AuthApiError

from sandbox.auth.keys import anon_key, service_key
from sandbox.auth.totp import totp
from supabase import Client

from .stack import PASSWORD, Stack, new_email

NOBODY = str(uuid.uuid4())
CALLS: list[Callable[[Any], object]] = [
    lambda admin: admin.create_user({"email": new_email(), "password": PASSWORD}),
    lambda admin: admin.list_users(),
    lambda admin: admin.get_user_by_id(NOBODY),
    lambda admin: admin.update_user_by_id(NOBODY, {"role": "service_role"}),
    lambda admin: admin.delete_user(NOBODY),
    lambda admin: admin.invite_user_by_email(new_email()),
    lambda admin: admin.generate_link({"type": "magiclink", "email": new_email()}),
    lambda admin: admin.mfa.list_factors({"user_id": NOBODY}),
    lambda admin: admin.mfa.delete_factor({"user_id": NOBODY, "id": NOBODY}),
]


def create(admin: Client, **attributes: Any) -> Any:
    return admin.auth.admin.create_user({"email": new_email(), **attributes}).user  # type: ignore[typeddict-item]


@pytest.mark.parametrize("call", CALLS)
def test_the_publishable_key_administers_nothing(stack: Stack, call: Callable[[Any], object]) -> None:
    with pytest.raises(AuthApiError) as refused:
        call(stack.client().auth.admin)
    assert (refused.value.status, refused.value.code) == (403, "not_admin")


def test_a_persons_token_administers_nothing_even_beside_the_secret_key(stack: Stack) -> None:
    person = stack.person()
    for key in (anon_key(stack.state), service_key(stack.state)):
        answer = httpx.get(
            f"{stack.url}/auth/v1/admin/users",
            headers={"apikey": key, "Authorization": f"Bearer {person.access_token}"},
        )
        assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


def test_a_created_user_signs_in_when_confirmed(stack: Stack) -> None:
    admin = stack.admin()
    user = create(
        admin,
        password=PASSWORD,
        email_confirm=True,
        user_metadata={"name": "Ada"},
        app_metadata={"plan": "pro"},
    )
    assert user.user_metadata["name"] == "Ada"
    assert user.app_metadata == {"plan": "pro", "provider": "email", "providers": ["email"]}
    answer = stack.client().auth.sign_in_with_password({"email": user.email, "password": PASSWORD})
    assert answer.user is not None
    assert answer.user.id == user.id


def test_an_unconfirmed_user_does_not_sign_in_until_confirmed(stack: Stack) -> None:
    admin = stack.admin()
    user = create(admin, password=PASSWORD)
    credentials: Any = {"email": user.email, "password": PASSWORD}
    with pytest.raises(AuthApiError) as refused:
        stack.client().auth.sign_in_with_password(credentials)
    assert (refused.value.status, refused.value.code) == (400, "email_not_confirmed")
    admin.auth.admin.update_user_by_id(user.id, {"email_confirm": True})
    stack.client().auth.sign_in_with_password(credentials)


def test_a_user_without_a_password_cannot_sign_in_with_an_empty_or_any_other(stack: Stack) -> None:
    user = create(stack.admin(), email_confirm=True)
    for password in ("", "x", PASSWORD):
        answer = httpx.post(
            f"{stack.url}/auth/v1/token?grant_type=password",
            headers={"apikey": anon_key(stack.state)},
            json={"email": user.email, "password": password},
        )
        assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_credentials")


def test_the_id_can_be_chosen_once(stack: Stack) -> None:
    admin, chosen = stack.admin(), str(uuid.uuid4())
    assert create(admin, id=chosen).id == chosen
    with pytest.raises(AuthApiError) as refused:
        create(admin, id=chosen)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("attributes", "status", "code"),
    [
        ({"email": None}, 400, "validation_failed"),
        ({"email": "nobody"}, 400, "validation_failed"),
        ({"password_hash": "$2y$10$abc"}, 400, "validation_failed"),
        ({"phone": "+491234"}, 400, "phone_provider_disabled"),
        ({"ban_duration": "soon"}, 400, "validation_failed"),
        ({"ban_duration": "9" * 30 + "h"}, 400, "validation_failed"),
    ],
)
def test_bad_attributes_create_nobody(stack: Stack, attributes: dict[str, Any], status: int, code: str) -> None:
    count = stack.sql("select count(*) from auth.users")
    with pytest.raises(AuthApiError) as refused:
        create(stack.admin(), **attributes)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert stack.sql("select count(*) from auth.users") == count


def test_a_taken_address_is_refused(stack: Stack) -> None:
    person = stack.person()
    with pytest.raises(AuthApiError) as refused:
        create(stack.admin(), email=person.email.upper())
    assert (refused.value.status, refused.value.code) == (422, "email_exists")


def test_users_are_listed_in_pages_newest_first(stack: Stack) -> None:
    admin = stack.admin()
    made = [create(admin).id for _ in range(3)]
    assert [user.id for user in admin.auth.admin.list_users(page=1, per_page=2)] == [made[2], made[1]]
    assert admin.auth.admin.list_users(page=2, per_page=2)[0].id == made[0]
    assert {user.id for user in admin.auth.admin.list_users()} >= set(made)
    assert admin.auth.admin.list_users(page=10_000) == []
    with pytest.raises(AuthApiError, match="Pagination"):
        admin.auth.admin.list_users(page=-1)
    headers = {"apikey": service_key(stack.state), "Authorization": f"Bearer {service_key(stack.state)}"}
    answer = httpx.get(f"{stack.url}/auth/v1/admin/users?per_page=1", headers=headers)
    [(count,)] = stack.sql("select count(*) from auth.users")
    assert answer.headers["X-Total-Count"] == str(count)
    assert 'page=2&per_page=1>; rel="next"' in answer.headers["Link"]


def test_a_user_is_read_changed_and_deleted(stack: Stack) -> None:
    admin, person = stack.admin().auth.admin, stack.person()
    user_id, token, email = person.id, person.access_token, new_email()
    assert admin.get_user_by_id(user_id).user.email == person.email
    changed = admin.update_user_by_id(
        user_id, {"email": email, "password": "another password", "app_metadata": {"plan": "pro"}}
    ).user
    assert (changed.email, changed.app_metadata["plan"], changed.app_metadata["provider"]) == (
        email,
        "pro",
        "email",
    )
    stack.client().auth.sign_in_with_password({"email": email, "password": "another password"})
    admin.delete_user(user_id)
    with pytest.raises(AuthApiError) as gone:
        admin.get_user_by_id(user_id)
    assert (gone.value.status, gone.value.code) == (404, "user_not_found")
    with pytest.raises(AuthApiError) as unknown:
        stack.client().auth.get_user(token)
    assert (unknown.value.status, unknown.value.code) == (403, "user_not_found")
    for table in ("identities", "sessions"):
        assert stack.sql(f"select 1 from auth.{table} where user_id = %s", user_id) == []
    assert stack.sql("select 1 from auth.refresh_tokens where user_id = %s", user_id) == []


def test_a_soft_delete_keeps_an_unrecognisable_row(stack: Stack) -> None:
    admin, person = stack.admin().auth.admin, stack.person()
    user_id, token = person.id, person.access_token
    admin.delete_user(user_id, should_soft_delete=True)
    admin.delete_user(user_id, should_soft_delete=True)
    user = admin.get_user_by_id(user_id).user
    assert user.deleted_at is not None
    assert person.email not in user.model_dump_json()
    assert not stack.stands(token)
    with pytest.raises(AuthApiError, match="Invalid login credentials"):
        stack.again(person)
    stack.client().auth.sign_up({"email": person.email, "password": PASSWORD})


def test_a_lost_factor_is_taken_away(stack: Stack) -> None:
    admin, person = stack.admin().auth.admin, stack.person()
    user_id = person.id
    factor_id, secret = person.enrol("phone")
    person.answer(factor_id, totp(secret, time.time()))
    [factor] = admin.mfa.list_factors({"user_id": user_id})
    assert (factor.id, factor.status) == (factor_id, "verified")
    assert admin.mfa.delete_factor({"user_id": user_id, "id": factor_id}).id == factor_id
    assert admin.mfa.list_factors({"user_id": user_id}) == []
    person.client.auth.refresh_session()
    assert person.client.auth.mfa.get_authenticator_assurance_level().current_level == "aal1"


def test_an_administrator_signs_a_person_out(stack: Stack) -> None:
    person = stack.person()
    token = person.access_token
    stack.admin().auth.admin.sign_out(token)
    assert not stack.stands(token)


def test_a_user_with_an_administrative_role_administers(stack: Stack) -> None:
    # As on Supabase: the role claim decides, and only an administrator can give it.
    user = create(stack.admin(), password=PASSWORD, email_confirm=True, role="service_role")
    client = stack.client()
    session = client.auth.sign_in_with_password({"email": user.email, "password": PASSWORD}).session
    assert session is not None
    headers = {"apikey": anon_key(stack.state), "Authorization": f"Bearer {session.access_token}"}
    answer = httpx.get(f"{stack.url}/auth/v1/admin/users/{user.id}", headers=headers)
    assert answer.json()["role"] == "service_role"
