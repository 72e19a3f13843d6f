"""Authorization codes and tokens: what is stored, what is single use, what revokes what.

Only SHA-256 digests of codes and tokens are stored. A *grant* is one consent; every code and token that comes
from it belongs to its family, and revoking the grant ends all of them at once.
"""

import base64
import hashlib
import math
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from hmac import compare_digest

from sandbox.oauth.database import Database

CODE_SECONDS = 60
REFRESH_SECONDS = 30 * 24 * 3600

SCHEMA = """
create table if not exists oauth_grants (
    id text primary key, client_id text not null, username text not null, scope text not null,
    created_at integer not null, revoked_at integer, revoked_because text
);
create table if not exists oauth_codes (
    code_hash text primary key, grant_id text not null references oauth_grants (id),
    redirect_uri text not null, code_challenge text not null, expires_at integer not null, used_at integer
);
create table if not exists oauth_tokens (
    token_hash text primary key, grant_id text not null references oauth_grants (id),
    kind text not null check (kind in ('access', 'refresh')), scope text not null,
    issued_at integer not null, expires_at integer not null, used_at integer, revoked_at integer
);
"""


class TokenError(Exception):
    """An error of the token endpoint; `code` is one of RFC 6749 section 5.2."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclass(frozen=True)
class Issued:
    """A fresh pair of tokens. `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    scope: str
    expires_in: int


@dataclass(frozen=True)
class Token:
    """A live token. Times are seconds since the epoch."""

    kind: str
    grant_id: str
    client_id: str
    username: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int


class Grants:
    """Every method is one transaction, so two requests with the same code or token cannot both succeed."""

    def __init__(self, database: Database, *, access_seconds: int) -> None:
        self._database = database
        self._access_seconds = access_seconds

    def issue_code(self, *, client_id: str, username: str, scope: str, redirect_uri: str, code_challenge: str) -> str:
        """Record a consent and return its authorization code: single use, good for `CODE_SECONDS`."""
        code, grant_id, now = secrets.token_urlsafe(32), secrets.token_hex(16), math.ceil(time.time())
        with self._database.write() as connection:
            connection.execute(
                "insert into oauth_grants (id, client_id, username, scope, created_at) values (?, ?, ?, ?, ?)",
                (grant_id, client_id, username, scope, now),
            )
            connection.execute(
                "insert into oauth_codes (code_hash, grant_id, redirect_uri, code_challenge, expires_at)"
                " values (?, ?, ?, ?, ?)",
                (digest(code), grant_id, redirect_uri, code_challenge, now + CODE_SECONDS),
            )
        return code

    def redeem_code(self, *, client_id: str, code: str, redirect_uri: str, verifier: str) -> Issued:
        """Exchange a code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

        A second use revokes everything the first one gave (RFC 6749 section 4.1.2). Raises `TokenError`.
        """
        with self._database.write() as connection:
            row = connection.execute(
                "select * from oauth_codes join oauth_grants on id = grant_id where code_hash = ?",
                (digest(code),),
            ).fetchone()
            problem = _problem_with_code(row, client_id, redirect_uri, verifier)
            if problem is None:
                connection.execute(
                    "update oauth_codes set used_at = ? where code_hash = ?", (int(time.time()), digest(code))
                )
                return self._issue(connection, row["grant_id"], row["scope"], row["scope"])
            if row is not None and row["client_id"] == client_id and row["used_at"] is not None:
                _revoke_grant(connection, row["grant_id"], "its authorization code was used twice")
        # Raised outside the transaction: the revocation has to be committed, not undone by the refusal.
        raise TokenError("invalid_grant", problem)

    def refresh(self, *, client_id: str, refresh_token: str, scope: str | None) -> Issued:
        """Rotate a refresh token (RFC 9700 section 4.14.2); reuse of an old one revokes the whole family.

        `scope` may narrow the new access token; the refresh token keeps what was granted (RFC 6749 section
        6). Raises `TokenError`.
        """
        now = int(time.time())
        with self._database.write() as connection:
            row = _find(connection, refresh_token, "refresh")
            if row is None or row["client_id"] != client_id:
                raise TokenError("invalid_grant", "The refresh token is not known.")
            if row["grant_revoked_at"] is not None or row["revoked_at"] is not None:
                raise TokenError("invalid_grant", "The grant has been revoked.")
            if row["used_at"] is None:
                if row["expires_at"] <= now:
                    raise TokenError("invalid_grant", "The refresh token has expired.")
                narrowed = row["scope"] if scope is None else scope
                if not narrowed or not set(narrowed.split()) <= set(row["scope"].split()):
                    raise TokenError("invalid_scope", "More was asked for than was granted.")
                connection.execute(
                    "update oauth_tokens set used_at = ? where token_hash = ?", (now, digest(refresh_token))
                )
                return self._issue(connection, row["grant_id"], narrowed, row["scope"])
            _revoke_grant(connection, row["grant_id"], "a refresh token was used twice")
        raise TokenError("invalid_grant", "The refresh token was used before; its grant is now revoked.")

    def revoke(self, *, client_id: str, token: str) -> None:
        """End an access token, or with a refresh token the whole grant (RFC 7009 section 2.1).

        An unknown token is no error (section 2.2).
        """
        with self._database.write() as connection:
            row = _find(connection, token)
            if row is None or row["client_id"] != client_id:
                return
            if row["kind"] == "refresh":
                _revoke_grant(connection, row["grant_id"], "revoked by the client")
            else:
                connection.execute(
                    "update oauth_tokens set revoked_at = ? where token_hash = ? and revoked_at is null",
                    (int(time.time()), digest(token)),
                )

    def live(self, token: str, kind: str | None = None) -> Token | None:
        """What `token` stands for now, or None if it is unknown, used, expired or revoked."""
        with self._database.read() as connection:
            row = _find(connection, token, kind)
        if row is None or row["grant_revoked_at"] is not None or row["expires_at"] <= time.time():
            return None
        if row["revoked_at"] is not None or row["used_at"] is not None:
            return None
        return Token(
            kind=row["kind"],
            grant_id=row["grant_id"],
            client_id=row["client_id"],
            username=row["username"],
            scopes=frozenset(row["scope"].split()),
            issued_at=row["issued_at"],
            expires_at=row["expires_at"],
        )

    def _issue(self, connection: sqlite3.Connection, grant_id: str, access_scope: str, refresh_scope: str) -> Issued:
        now = math.ceil(time.time())  # rounded up: a token never lives shorter than it was promised
        access, refresh = f"sat_{secrets.token_urlsafe(32)}", f"srt_{secrets.token_urlsafe(32)}"
        connection.executemany(
            "insert into oauth_tokens (token_hash, grant_id, kind, scope, issued_at, expires_at)"
            " values (?, ?, ?, ?, ?, ?)",
            [
                (digest(access), grant_id, "access", access_scope, now, now + self._access_seconds),
                (digest(refresh), grant_id, "refresh", refresh_scope, now, now + REFRESH_SECONDS),
            ],
        )
        return Issued(access, refresh, access_scope, self._access_seconds)


def digest(secret: str) -> str:
    """How a code or token is stored. They carry 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _problem_with_code(row: sqlite3.Row | None, client_id: str, redirect_uri: str, verifier: str) -> str | None:
    if row is None or row["client_id"] != client_id:
        return "The authorization code is not known."
    if row["used_at"] is not None:
        return "The authorization code was used before; what it gave is now revoked."
    if row["revoked_at"] is not None or row["expires_at"] <= time.time():
        return "The authorization code has expired."
    if row["redirect_uri"] != redirect_uri:
        return "The redirect_uri is not the one the code was sent to."
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        return "The code_verifier is malformed."
    if not compare_digest(s256(verifier), row["code_challenge"]):
        return "The code_verifier does not match the code_challenge."
    return None


def _find(connection: sqlite3.Connection, token: str, kind: str | None = None) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "select t.*, g.client_id, g.username, g.revoked_at as grant_revoked_at"
        " from oauth_tokens t join oauth_grants g on g.id = t.grant_id"
        " where t.token_hash = ? and (? is null or t.kind = ?)",
        (digest(token), kind, kind),
    ).fetchone()
    return row


def _revoke_grant(connection: sqlite3.Connection, grant_id: str, because: str) -> None:
    connection.execute(
        "update oauth_grants set revoked_at = ?, revoked_because = ? where id = ? and revoked_at is null",
        (int(time.time()), because, grant_id),
    )
