"""What every route needs: the database, the keys, who is asking, and the answer to a sign-in."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request
from psycopg import Connection
from psycopg_pool import ConnectionPool

from . import sessions, users
from .errors import AuthError
from .records import Session, User
from .sessions import Caller, Refreshed
from .tokens import AccessTokens

_ADMIN_ROLES = frozenset({"service_role", "supabase_admin"})


@dataclass(frozen=True)
class Auth:
    """The running service. `public_url` is the origin that clients know as SUPABASE_URL.

    `mail_link` is the link of the mail templates, None for the one that leads to this service.
    """

    pool: ConnectionPool
    tokens: AccessTokens
    state: Path
    public_url: str
    site_url: str
    mail_link: str | None
    anon_key: str
    service_key: str

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        # Opened here and not by the first statement: where that is itself in a `conn.transaction()`, which is
        # meant as a savepoint, its end would commit.
        with self.pool.connection() as conn, conn.transaction():
            yield conn

    def answer(self, conn: Connection, refreshed: Refreshed, now: datetime) -> dict[str, Any]:
        """The access token response (RFC 6749 section 5.1) with the user in it."""
        user = users.get(conn, refreshed.user.id)
        amr = sessions.methods(conn, refreshed.session.id)
        token, expires_at = self.tokens.issue(user, refreshed.session, amr, now)
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": self.tokens.seconds,
            "expires_at": expires_at,
            "refresh_token": refreshed.refresh_token,
            "user": users.to_json(conn, user),
        }

    def sign_in(self, conn: Connection, user: User, method: str, caller: Caller, now: datetime) -> dict[str, Any]:
        """Opens a session for `user` (whose lock the caller holds) and answers its tokens."""
        user = users.update(conn, user, now, {"last_sign_in_at": now})
        return self.answer(conn, sessions.start(conn, user, method, caller, now), now)

    def allowed_redirect(self, wanted: str | None) -> str:
        """`wanted` when it leads to the site or to this machine, else the site: no open redirects."""
        target = urlsplit(wanted or "")
        site = urlsplit(self.site_url)
        local = target.scheme in {"http", "https"} and target.hostname in {"127.0.0.1", "localhost"}
        same_site = (target.scheme, target.netloc) == (site.scheme, site.netloc)
        return wanted if wanted and (local or same_site) else self.site_url


def now() -> datetime:
    return datetime.now(UTC)


def _auth(request: Request) -> Auth:
    auth = request.app.state.auth
    if not isinstance(auth, Auth):
        raise TypeError("the application was not started")
    return auth


Service = Annotated[Auth, Depends(_auth)]


def _caller(request: Request) -> Caller:
    host = request.client.host if request.client else "127.0.0.1"
    return Caller(host, request.headers.get("user-agent"))


From = Annotated[Caller, Depends(_caller)]


class GatewayRefusalError(Exception):
    """The refusal of Supabase's API gateway, which stands in front of Auth and checks `apikey`."""


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def require_api_key(request: Request, auth: Service) -> None:
    """Lets through who presents one of the two API keys in the header (or the query) `apikey`."""
    key = request.headers.get("apikey") or request.query_params.get("apikey")
    if key is None:
        raise GatewayRefusalError("No API key found in request")
    if not _same(key, auth.anon_key) and not _same(key, auth.service_key):
        raise GatewayRefusalError("Invalid API key")


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AuthError(401, "no_authorization", "This endpoint requires a Bearer token")
    return token


def _claims(request: Request, auth: Auth) -> Mapping[str, Any]:
    # The gateway exchanges an API key in Authorization for a token with the key's role and without a subject.
    token = _bearer(request)
    if _same(token, auth.service_key):
        return {"role": "service_role"}
    if _same(token, auth.anon_key):
        return {"role": "anon"}
    return auth.tokens.claims(token)


@dataclass(frozen=True)
class SignedIn:
    """Whose access token the request carries. The database decides whether it still stands."""

    user_id: UUID
    session_id: UUID

    def load(self, conn: Connection, *, lock: bool = True) -> tuple[User, Session]:
        """The user, locked, and the session. `user_not_found`, `session_not_found` (403) once they are gone:
        this is how signing out ends an access token before it expires."""
        user = users.find(conn, self.user_id, lock=lock)
        if user is None:
            message = "User from sub claim in JWT does not exist"
            raise AuthError(403, "user_not_found", message)
        session = sessions.find(conn, self.session_id)
        if session is None or session.user_id != user.id:
            message = "Session from session_id claim in JWT does not exist"
            raise AuthError(403, "session_not_found", message)
        return user, session


def _signed_in(request: Request, auth: Service) -> SignedIn:
    claims = _claims(request, auth)
    if "sub" not in claims:
        raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
    return SignedIn(UUID(claims["sub"]), UUID(claims["session_id"]))


Me = Annotated[SignedIn, Depends(_signed_in)]


def require_admin(request: Request, auth: Service) -> None:
    """Lets through the secret key and users with an administrative role; others get `not_admin` (403)."""
    if _claims(request, auth).get("role") not in _ADMIN_ROLES:
        raise AuthError(403, "not_admin", "User not allowed")


def parse_id(text: str, name: str) -> UUID:
    """A UUID from a path; Supabase Auth answers 404 to anything else."""
    try:
        return UUID(text)
    except ValueError:
        raise AuthError(404, "validation_failed", f"{name} must be an UUID") from None
