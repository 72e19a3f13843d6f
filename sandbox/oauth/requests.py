"""Authorization requests between their arrival and the person's answer, and who is signed in where.

A request is bound to the browser it arrived in by a cookie. The CSRF token of its forms is an HMAC of the
request's id under that cookie's value, so another site can neither read nor make one.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from sandbox.oauth.database import Database
from sandbox.oauth.grants import digest

REQUEST_SECONDS = 600
SESSION_SECONDS = 3600
MAX_SIGN_IN_FAILURES = 5

SCHEMA = """
create table if not exists oauth_requests (
    id text primary key, client_id text not null, redirect_uri text not null, scope text not null,
    state text, code_challenge text not null, browser_hash text not null,
    failures integer not null default 0, expires_at integer not null, closed_at integer
);
create table if not exists oauth_sessions (
    browser_hash text primary key, username text not null, expires_at integer not null
);
"""


@dataclass(frozen=True)
class Pending:
    """A valid authorization request that waits for its person."""

    id: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    code_challenge: str


class Requests:
    """The requests and sessions of one authorization server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self,
        *,
        browser: str,
        client_id: str,
        redirect_uri: str,
        scopes: tuple[str, ...],
        state: str | None,
        code_challenge: str,
    ) -> Pending:
        """Keep a validated request for `REQUEST_SECONDS`."""
        pending = Pending(secrets.token_urlsafe(16), client_id, redirect_uri, scopes, state, code_challenge)
        now = int(time.time())
        with self._database.write() as connection:
            connection.execute("delete from oauth_requests where expires_at < ?", (now,))
            connection.execute("delete from oauth_sessions where expires_at < ?", (now,))
            connection.execute(
                "insert into oauth_requests (id, client_id, redirect_uri, scope, state, code_challenge,"
                " browser_hash, expires_at) values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    pending.id,
                    client_id,
                    redirect_uri,
                    " ".join(scopes),
                    state,
                    code_challenge,
                    digest(browser),
                    now + REQUEST_SECONDS,
                ),
            )
        return pending

    def find(self, request_id: str, browser: str) -> Pending | None:
        """The open request, if it arrived in this browser."""
        with self._database.read() as connection:
            row = connection.execute(
                "select * from oauth_requests where id = ? and browser_hash = ? and closed_at is null"
                " and expires_at > ?",
                (request_id, digest(browser), time.time()),
            ).fetchone()
        if row is None:
            return None
        return Pending(
            row["id"],
            row["client_id"],
            row["redirect_uri"],
            tuple(row["scope"].split()),
            row["state"],
            row["code_challenge"],
        )

    def close(self, request_id: str) -> bool:
        """Take the request out; True for exactly one caller."""
        with self._database.write() as connection:
            cursor = connection.execute(
                "update oauth_requests set closed_at = ? where id = ? and closed_at is null",
                (int(time.time()), request_id),
            )
            return cursor.rowcount == 1

    def sign_in(self, request_id: str, old_browser: str, username: str) -> str:
        """Start a session under a new cookie value, which a value planted before the sign-in cannot be."""
        browser = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            connection.execute("delete from oauth_sessions where browser_hash = ?", (digest(old_browser),))
            connection.execute(
                "insert into oauth_sessions (browser_hash, username, expires_at) values (?, ?, ?)",
                (digest(browser), username, int(time.time()) + SESSION_SECONDS),
            )
            connection.execute("update oauth_requests set browser_hash = ? where id = ?", (digest(browser), request_id))
        return browser

    def count_failure(self, request_id: str) -> bool:
        """Note a wrong password; True if there were so many that the request is closed now."""
        with self._database.write() as connection:
            (failures,) = connection.execute(
                "update oauth_requests set failures = failures + 1 where id = ? returning failures",
                (request_id,),
            ).fetchone()
            if failures < MAX_SIGN_IN_FAILURES:
                return False
            connection.execute("update oauth_requests set closed_at = ? where id = ?", (int(time.time()), request_id))
            return True

    def signed_in(self, browser: str) -> str | None:
        """The username whose session this browser carries."""
        with self._database.read() as connection:
            row = connection.execute(
                "select username from oauth_sessions where browser_hash = ? and expires_at > ?",
                (digest(browser), time.time()),
            ).fetchone()
        return None if row is None else str(row["username"])


def csrf_token(browser: str, request_id: str) -> str:
    """The token that a form of this request must carry."""
    return hmac.new(browser.encode(), request_id.encode(), hashlib.sha256).hexdigest()
