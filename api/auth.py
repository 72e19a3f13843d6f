"""Who is calling: verifies tokens of people and reads API keys. Whether they still may is the database's to say.

A person's token is a Supabase Auth access token, verified here (issuer, audience, algorithm, expiry, role).
A service account's key is opaque: its hash goes to the database, which knows whether it is active.
"""

import asyncio
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.certificates import trusted
from api.config import settings
from api.errors import CHALLENGE, Problem

_KEY = re.compile(r"cs_(sandbox|live)_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever acts. `claims` is what the database verifies; it holds no secret, only a key's hash."""

    claims: dict[str, Any]
    request_id: str | None = None
    email: str | None = field(default=None, compare=False)

    @property
    def kind(self) -> str:
        return str(self.claims["kind"])

    @property
    def cache_key(self) -> tuple[str, ...]:
        """Names the credential: what was learnt with it may be reused with it only."""
        claims = self.claims
        if self.kind == "service":
            return ("service", claims["key_id"], claims["key_hash"])
        return (self.kind, str(claims.get("sub")), str(claims.get("tenant_id")))

    def to_claims(self) -> str:
        """The JSON that becomes `request.jwt.claims` for one transaction."""
        return json.dumps(self.claims | {"request_id": self.request_id})


def system(tenant_id: uuid.UUID | str, function: str, on_behalf_of: dict[str, Any] | None = None) -> Principal:
    """A scheduled or internal function, always inside one tenant."""
    claims: dict[str, Any] = {"kind": "system", "tenant_id": str(tenant_id), "function": function}
    return Principal(claims | ({"on_behalf_of": on_behalf_of} if on_behalf_of else {}))


class _KeySet:
    """The issuer's public keys, cached. A key announced a moment ago is found; made-up ids cost little.

    An unknown id is looked up once, by a fetch that begins after it was asked for, and not again for `floor`
    seconds. Fetches begin at least `pause` seconds apart, however many ids are made up, and one answers everybody
    who waits for it.
    """

    floor: ClassVar[float] = 30.0
    pause: ClassVar[float] = 1.0
    #: Ids that are remembered as unknown; beyond these the oldest are forgotten, and cost a fetch again.
    remembered: ClassVar[int] = 1000

    def __init__(self) -> None:
        self._keys: dict[str, Any] = {}
        self._missing: dict[str, float] = {}
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> Any:
        asked = time.monotonic()
        if key_id not in self._keys and asked - self._missing.get(key_id, float("-inf")) > self.floor:
            async with self._lock:
                if key_id not in self._keys and self._fetched < asked:
                    await asyncio.sleep(self._fetched + self.pause - time.monotonic())
                    await self._fetch()
            if key_id not in self._keys:
                self._missing.pop(key_id, None)
                self._missing[key_id] = time.monotonic()
                while len(self._missing) > self.remembered:
                    del self._missing[next(iter(self._missing))]
        if key_id not in self._keys:
            raise Problem(401, "invalid_token", "The token was signed with a key that its issuer does not publish.")
        return self._keys[key_id]

    async def _fetch(self) -> None:
        import httpx
        import jwt

        self._fetched = time.monotonic()
        try:
            async with httpx.AsyncClient(timeout=5, verify=trusted()) as client:
                answer = await client.get(f"{settings().auth_issuer}/.well-known/jwks.json")
                answer.raise_for_status()
                keys = jwt.PyJWKSet.from_dict(answer.json())
        except (httpx.HTTPError, jwt.PyJWTError, ValueError) as error:
            self._fetched = float("-inf")  # an outage must not lock everyone out for longer than it lasts
            raise Problem(
                503,
                "identity_unavailable",
                "The identity provider did not answer.",
                headers={"Retry-After": "2"},
            ) from error
        self._keys = {key.key_id: key.key for key in keys.keys if key.key_id and key.algorithm_name in _ALGORITHMS}


_ALGORITHMS = ("ES256", "RS256")
_key_set = _KeySet()


async def verify_token(token: str) -> dict[str, Any]:
    """The verified claims of a Supabase Auth access token.

    Raises Problem 401: malformed, expired, of another issuer or audience, unsigned, anonymous, or with a role
    other than `authenticated` (the `service_role` key is no person). `user_metadata` is never used.
    """
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in _ALGORITHMS or not isinstance(header.get("kid"), str):
            raise Problem(401, "invalid_token", "The token is not signed as Supabase Auth signs.")
        claims: dict[str, Any] = jwt.decode(
            token,
            await _key_set.find(header["kid"]),
            algorithms=list(_ALGORITHMS),
            audience="authenticated",
            issuer=settings().auth_issuer,
            leeway=5,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
        uuid.UUID(str(claims["sub"]))
    except jwt.ExpiredSignatureError:
        raise Problem(401, "token_expired", "The token has expired; sign in again.") from None
    except (jwt.PyJWTError, ValueError, TypeError):  # the last: the key that is named is another algorithm's
        raise Problem(401, "invalid_token", "The token is not valid here.") from None
    if claims.get("role") != "authenticated" or claims.get("is_anonymous"):
        raise Problem(401, "invalid_token", "The token does not belong to a signed-in person.")
    return claims


def read_key(token: str) -> dict[str, Any]:
    """The claims of an API key: its id, the SHA-256 of its secret, and the environment that it calls itself by."""
    match = _KEY.fullmatch(token)
    if match is None:
        raise Problem(401, "invalid_key", "The API key is malformed.")
    return {
        "kind": "service",
        "key_id": str(uuid.UUID(match[2])),
        "key_hash": hashlib.sha256(match[3].encode()).hexdigest(),
        "key_environment": "production" if match[1] == "live" else "sandbox",
    }


_bearer = HTTPBearer(
    auto_error=False, description="A Supabase Auth access token (a person) or an API key `cs_...` (a service account)."
)


async def authenticate(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    x_tenant_id: Annotated[uuid.UUID | None, Header(description="Which tenant, for a person in several.")] = None,
) -> Principal:
    """The principal of a request.

    Raises Problem 401 with `WWW-Authenticate` (RFC 6750 section 3) when there is no valid credential.
    """
    token = credentials.credentials if credentials else ""
    if not token or len(token) > 8192:
        raise Problem(
            401, "unauthenticated", "Send Authorization: Bearer with a token or an API key.",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    request_id = request.state.request_id
    try:
        if token.startswith("cs_"):
            return Principal(read_key(token), request_id)
        claims = await verify_token(token)
    except Problem as problem:
        if problem.status_code == 401:
            problem.headers = CHALLENGE
        raise
    return Principal(
        {
            "kind": "user",
            "sub": str(uuid.UUID(claims["sub"])),
            "tenant_id": str(x_tenant_id) if x_tenant_id else None,
            "aal": claims.get("aal", "aal1"),
            "session_id": claims.get("session_id"),
        },
        request_id,
        claims.get("email"),
    )


Caller = Annotated[Principal, Depends(authenticate)]
