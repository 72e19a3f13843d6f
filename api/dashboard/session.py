"""The session of a person in a browser: the tokens of Supabase Auth in one encrypted cookie, and nothing on our side.

The cookie is HttpOnly and SameSite=Lax, and Secure wherever the deployment is reached over HTTPS. It is sealed with
AES-256-GCM under a key that follows from COUNTERSIGN_KEK, so that neither a script nor whoever finds it reads a token.
"""

import base64
import hashlib
import hmac
import json
import os
import time
import zlib
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request, Response

from api.config import settings

#: How old an access token may be before it is asked for anew, in seconds. That a session was ended elsewhere does not
#: wait for it: the database says so of the very next request (private.session_over).
RENEW_AFTER = 300
#: A browser that stays away for so long signs in again, in seconds.
LIFETIME = 7 * 86400
#: What browsers keep of one cookie (RFC 6265 section 6.1).
MAX_COOKIE = 4096
_INFO = b"countersign dashboard session 1"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in here. id: names this browser's session; issued: when the access token came, in Unix seconds."""

    access_token: str
    refresh_token: str
    id: str
    issued: int
    tenant_id: str | None = None

    @property
    def stale(self) -> bool:
        return time.time() - self.issued > RENEW_AFTER

    def renewed(self, access_token: str, refresh_token: str) -> "Session":
        """The same session with newer tokens."""
        return replace(self, access_token=access_token, refresh_token=refresh_token, issued=int(time.time()))

    def at(self, tenant_id: str | None) -> "Session":
        """The same session, looking at another tenant."""
        return replace(self, tenant_id=tenant_id)

    @property
    def csrf(self) -> str:
        """What every form of this session carries. It says nothing, and only this deployment can make it."""
        kek = next(iter(settings().kek.values()))
        return hmac.new(_key(kek), f"csrf {self.id}".encode(), hashlib.sha256).hexdigest()


def begun(access_token: str, refresh_token: str, tenant_id: str | None = None) -> Session:
    """A session that begins now."""
    return Session(access_token, refresh_token, os.urandom(16).hex(), int(time.time()), tenant_id)


def cookie_name() -> str:
    """`__Host-` binds a cookie to this host and to HTTPS (RFC 6265bis section 4.1.3.2); on plain loopback it cannot."""
    return "__Host-countersign" if _secure() else "countersign"


def read(request: Request) -> Session | None:
    """The session of the request's cookie; None for none, for one of other keys, and for a changed or old one."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, _, sealed = request.cookies.get(cookie_name(), "").partition(".")
    kek = settings().kek.get(key_id)
    if kek is None or not sealed:
        return None
    try:
        box = base64.urlsafe_b64decode(sealed)
        # The last character holds bits that the decoder skips, and it skips what is no character of it.
        if base64.urlsafe_b64encode(box).decode() != sealed:
            return None
        plain = AESGCM(_key(kek)).decrypt(box[:12], box[12:], _bound_to())
        document: dict[str, Any] = json.loads(zlib.decompress(plain))
        session = Session(**document)
    except (InvalidTag, TypeError, ValueError, zlib.error):
        return None
    return session if time.time() - session.issued < LIFETIME else None


def write(response: Response, session: Session | None) -> None:
    """Sets the cookie to a session, or takes it away. Raises ValueError for a session that no browser would keep."""
    if session is None:
        response.delete_cookie(cookie_name(), path="/", secure=_secure(), httponly=True, samesite="lax")
        return
    value = _sealed(session)
    if len(value) > MAX_COOKIE - 100:
        raise ValueError("the tokens of Supabase Auth are too large for a cookie; take claims out of them")
    response.set_cookie(
        cookie_name(), value, max_age=LIFETIME, path="/", secure=_secure(), httponly=True, samesite="lax"
    )


def _sealed(session: Session) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, kek = next(iter(settings().kek.items()))
    document = {name: getattr(session, name) for name in Session.__slots__}
    nonce = os.urandom(12)
    box = nonce + AESGCM(_key(kek)).encrypt(nonce, zlib.compress(json.dumps(document).encode(), 9), _bound_to())
    return f"{key_id}.{base64.urlsafe_b64encode(box).decode()}"


def _key(kek: bytes) -> bytes:
    """A key of our own purpose from the deployment's: HKDF-Expand for one block (RFC 5869 section 2.3)."""
    return hmac.new(kek, _INFO + b"\x01", hashlib.sha256).digest()


def _bound_to() -> bytes:
    """A cookie of one deployment is none in another, should both have one key."""
    return settings().public_url.encode()


def _secure() -> bool:
    return settings().public_url.startswith("https://")
