"""A running Auth server and the people who use it."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from supabase_auth.errors import AuthApiError

from sandbox.auth.keys import anon_key, service_key
from sandbox.auth.totp import totp
from supabase import Client, ClientOptions, create_client

# A client would load the machine's certificates for itself, which takes longer than what it is used for.
TRANSPORT = httpx.Client()
ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """Somebody who has just signed up, and the client they did it with."""

    client: Client
    email: str

    @property
    def id(self) -> str:
        user = self.client.auth.get_user()
        assert user is not None
        return user.user.id

    @property
    def access_token(self) -> str:
        session = self.client.auth.get_session()
        assert session is not None
        return session.access_token

    @property
    def refresh_token(self) -> str:
        session = self.client.auth.get_session()
        assert session is not None
        return session.refresh_token

    def enrol(self, name: str = "") -> tuple[str, str]:
        """A new, unverified factor: its id and its secret."""
        enrolled = self.client.auth.mfa.enroll({"factor_type": "totp", "friendly_name": name})
        assert enrolled.totp is not None
        return enrolled.id, enrolled.totp.secret

    def challenge(self, factor_id: str) -> str:
        return self.client.auth.mfa.challenge({"factor_id": factor_id}).id

    def answer(self, factor_id: str, code: str) -> None:
        """Opens a challenge and answers it."""
        self.client.auth.mfa.challenge_and_verify({"factor_id": factor_id, "code": code})

    def with_factor(self) -> tuple[str, str]:
        """Enrols and verifies, so that the session is `aal2`; the code of the current step is used up."""
        factor_id, secret = self.enrol()
        self.answer(factor_id, totp(secret, time.time()))
        return factor_id, secret


@dataclass(frozen=True)
class Stack:
    """One server: its origin, its state directory and its database."""

    url: str
    state: Path
    database_url: str

    def client(self, key: str | None = None) -> Client:
        """The official client, with the publishable key unless told otherwise, and without timers."""
        return create_client(
            self.url,
            key or anon_key(self.state),
            ClientOptions(auto_refresh_token=False, httpx_client=TRANSPORT),
        )

    def admin(self) -> Client:
        return self.client(service_key(self.state))

    def stands(self, access_token: str) -> bool:
        """Whether the access token still leads to its user; any refusal but `session_not_found` is raised."""
        try:
            return self.client().auth.get_user(access_token) is not None
        except AuthApiError as error:
            if (error.status, error.code) != (403, "session_not_found"):
                raise
            return False

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Looks into, or tampers with, the database behind the server's back."""
        with psycopg.connect(self.database_url) as conn:
            cursor = conn.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def person(self) -> Person:
        person = Person(self.client(), new_email())
        person.client.auth.sign_up({"email": person.email, "password": PASSWORD})
        return person

    def again(self, person: Person) -> Person:
        """The same person on another device."""
        other = Person(self.client(), person.email)
        other.client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})
        return other


def new_email() -> str:
    return f"{secrets.token_hex(6)}@example.com"


@contextmanager
def running(state: Path, database_url: str, *arguments: str) -> Iterator[Stack]:
    """`python -m sandbox.auth` in a process of its own."""
    command = [sys.executable, "-m", "sandbox.auth", "--state", str(state), "--database-url", database_url]
    command += arguments
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox auth: http://"), line
        yield Stack(line.removeprefix("sandbox auth: ").strip(), state, database_url)
    finally:
        process.terminate()
        process.wait(timeout=60)
