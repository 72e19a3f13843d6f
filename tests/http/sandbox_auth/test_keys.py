"""What survives a restart, and the rotation of the signing key."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest
from supabase_auth.errors import AuthApiError, AuthRetryableError

from sandbox import postgres
from sandbox.auth.keys import SigningKeys, anon_key, rotate_signing_key, service_key
from sandbox.auth.schema import install_schema
from sandbox.auth.totp import totp
from sandbox.bootstrap import bootstrap
from sandbox.ports import Reservation

from .stack import PASSWORD, ROOT, Person, Stack, running


def key_ids(stack: Stack) -> list[str]:
    answer = httpx.get(f"{stack.url}/auth/v1/.well-known/jwks.json")
    return [key["kid"] for key in answer.json()["keys"]]


def key_id(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        anon = set(pool.map(anon_key, [tmp_path] * 8))
        signing = set(pool.map(lambda state: SigningKeys(state).current().kid, [tmp_path] * 8))
    assert len(anon) == len(signing) == 1
    assert anon_key(tmp_path).startswith("sb_publishable_")
    assert service_key(tmp_path).startswith("sb_secret_")
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "auth").iterdir()}
    assert files == {"api_keys.json": 0o600, "signing_keys.json": 0o600}
    assert (tmp_path / "auth").stat().st_mode & 0o777 == 0o700


def test_two_states_share_no_key(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert anon_key(one) != anon_key(other)
    assert service_key(one) != service_key(other)
    assert SigningKeys(one).current().kid != SigningKeys(other).current().kid


def test_state_survives_a_restart(database_url: str, tmp_path: Path) -> None:
    with running(tmp_path, database_url) as first:
        person = first.person()
        factor_id, secret = person.enrol()
        code = totp(secret, time.time())
        person.answer(factor_id, code)
        access_token, refresh_token, kids = person.access_token, person.refresh_token, key_ids(first)
        secret_key = service_key(tmp_path)
    with running(tmp_path, database_url) as second:
        assert key_ids(second) == kids
        assert service_key(tmp_path) == secret_key
        user = second.client().auth.get_user(access_token)
        assert user is not None
        assert user.user.email == person.email
        back = Person(second.client(), person.email)
        back.client.auth.refresh_session(refresh_token)
        assert back.client.auth.mfa.get_authenticator_assurance_level().current_level == "aal2"
        with pytest.raises(AuthApiError, match="Invalid TOTP code"):
            back.answer(factor_id, code)
        second.client().auth.sign_in_with_password({"email": person.email, "password": PASSWORD})


def test_rotation_keeps_the_last_key_and_drops_the_one_before(database_url: str, tmp_path: Path) -> None:
    with running(tmp_path, database_url) as stack:
        person = stack.person()
        first_token = person.access_token
        [first] = key_ids(stack)
        command = [sys.executable, "-m", "sandbox.auth", "rotate-key", "--state", str(tmp_path)]
        rotated = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        second = rotated.stdout.strip()
        assert key_ids(stack) == [second, first]
        assert stack.stands(first_token)
        person.client.auth.refresh_session()
        second_token = person.access_token
        assert (key_id(first_token), key_id(second_token)) == (first, second)
        third = rotate_signing_key(tmp_path)
        assert key_ids(stack) == [third, second]
        assert stack.stands(second_token)
        with pytest.raises(AuthApiError) as refused:
            stack.client().auth.get_user(first_token)
        assert (refused.value.status, refused.value.code) == (403, "bad_jwt")


def test_a_token_ends_when_it_says(database_url: str, tmp_path: Path) -> None:
    with running(tmp_path, database_url, "--token-seconds", "1") as stack:
        session = stack.person().client.auth.refresh_session
        answer = stack.client().auth.sign_in_with_password({"email": stack.person().email, "password": PASSWORD})
        assert answer.session is not None
        assert answer.session.expires_in == 1
        token = answer.session.access_token
        time.sleep(1.1)
        with pytest.raises(AuthApiError) as refused:
            stack.client().auth.get_user(token)
        assert (refused.value.status, refused.value.code) == (403, "bad_jwt")
        assert session().session is not None


def test_a_public_address_is_what_tokens_and_links_name(database_url: str, tmp_path: Path) -> None:
    with Reservation() as held:
        url = f"http://localhost:{held.port}"
        arguments = ("--port", str(held.port), "--public-url", f"{url}/")
        with running(tmp_path, database_url, *arguments) as stack:
            assert stack.url == url
            claims = stack.person().client.auth.get_claims()
            assert claims is not None
            assert claims["claims"]["iss"] == f"{url}/auth/v1"


def test_a_crash_of_the_database_is_worth_a_retry_and_soon_over(tmp_path: Path) -> None:
    with postgres.ephemeral() as server:
        bootstrap(server)
        with running(tmp_path, server.url(user="supabase_auth_admin")) as stack:
            person = stack.person()
            token = person.access_token
            postgres.kill(server.state)
            with pytest.raises(AuthRetryableError) as away:
                person.client.auth.get_user(token)
            assert away.value.status == 503
            postgres.start(server.state)
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert stack.stands(token)
                    break
                except AuthRetryableError:
                    assert time.monotonic() < deadline


def test_the_schema_is_installed_any_number_of_times_and_at_once(stack: Stack) -> None:
    person = stack.person()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(install_schema, [stack.database_url] * 4))
    assert stack.stands(person.access_token)


def test_only_the_owner_and_the_project_see_the_tables(stack: Stack) -> None:
    stack.person()
    with psycopg.connect(stack.database_url) as conn:
        rows = conn.execute(
            "select c.relname, c.relrowsecurity,"
            " has_table_privilege('postgres', c.oid, 'select'),"
            " has_table_privilege('postgres', c.oid, 'references'),"
            " has_table_privilege('authenticated', c.oid, 'select'),"
            " has_table_privilege('anon', c.oid, 'select')"
            " from pg_class c where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r'"
        ).fetchall()
    assert {"users", "sessions", "refresh_tokens", "mfa_factors"} <= {row[0] for row in rows}
    assert all(row[1:] == (True, True, True, False, False) for row in rows)


def test_the_command_line_answers_a_challenge() -> None:
    secret = "JBSWY3DPEHPK3PXP"
    command = [sys.executable, "-m", "sandbox.auth", "totp", secret]
    before = totp(secret, time.time())
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert printed in {before, totp(secret, time.time())}


def test_the_server_needs_a_database() -> None:
    command = [sys.executable, "-m", "sandbox.auth", "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--database-url is required" in ended.stderr
