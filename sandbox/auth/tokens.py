"""Access tokens: ES256 JWTs with the claims Supabase Auth gives them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import jwt

from .errors import AuthError
from .keys import SigningKeys
from .records import Session, User
from .users import AUDIENCE


class AccessTokens:
    """Signs and verifies access tokens that live `seconds` and name `issuer`."""

    def __init__(self, keys: SigningKeys, issuer: str, seconds: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self.seconds = seconds

    def issue(self, user: User, session: Session, amr: Sequence[dict[str, Any]], now: datetime) -> tuple[str, int]:
        """The token and its expiry in Unix seconds."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "sub": str(user.id),
            "aud": user.aud,
            "exp": issued_at + self.seconds,
            "iat": issued_at,
            "email": user.email or "",
            "phone": "",
            "app_metadata": user.raw_app_meta_data,
            "user_metadata": user.raw_user_meta_data,
            "role": user.role,
            "aal": session.aal,
            "amr": list(amr),
            "session_id": str(session.id),
            "is_anonymous": user.is_anonymous,
        }
        key = self._keys.current()
        token = jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.kid})
        return token, issued_at + self.seconds

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token this service signed and that has not expired, or `bad_jwt` (403).

        The issuer is not compared, as in the real service: it follows the server's address.
        """
        refusal = "invalid JWT: unable to parse or verify signature"
        try:
            key = self._keys.find(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise AuthError(403, "bad_jwt", f"{refusal}, unrecognized JWT kid")
            return jwt.decode(
                token,
                key.private.public_key(),
                algorithms=["ES256"],
                audience=AUDIENCE,
                options={"require": ["exp", "sub", "session_id"]},
            )
        except jwt.InvalidTokenError as error:
            raise AuthError(403, "bad_jwt", f"{refusal}, {error}") from None
