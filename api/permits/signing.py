"""Permits as signed tokens (JWS, Ed25519), and the public keys that verify them.

A permit says what the database has recorded; nothing is signed that was not claimed there. The signature is
deterministic, so that the same claim gives the same permit.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from api.config import settings
from api.errors import Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPE = "countersign-permit+jwt"
ALGORITHM = "EdDSA"
CLAIMS = (
    "iss",
    "aud",
    "sub",
    "jti",
    "iat",
    "nbf",
    "exp",
    "digest",
    "tool",
    "contract_version",
    "environment",
    "tenant",
)


def _encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _jwk(key: "Ed25519PrivateKey") -> dict[str, str]:
    """The public half, named by its thumbprint (RFC 7638, RFC 8037)."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _encoded(key.public_key().public_bytes_raw())}
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    return jwk | {"kid": _encoded(thumbprint), "alg": ALGORITHM, "use": "sig"}


@lru_cache(maxsize=4)
def _keys(seeds: tuple[bytes, ...]) -> dict[str, "Ed25519PrivateKey"]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
    return {_jwk(key)["kid"]: key for key in keys}


def keys() -> dict[str, "Ed25519PrivateKey"]:
    """By id, the first one signs. Raises Problem 503 when this deployment has none."""
    found = _keys(settings().signing_keys)
    if not found:
        raise Problem(
            503,
            "signing_keys_missing",
            "This deployment has no keys to sign permits with; its operator sets COUNTERSIGN_SIGNING_KEYS.",
        )
    return found


def key_set() -> dict[str, Any]:
    """The public keys (RFC 7517), those that sign no more included for as long as they are configured."""
    return {"keys": [_jwk(key) for key in keys().values()]}


def audience(tenant: str, tool: str) -> str:
    """Whom a permit is for: one tool of one tenant."""
    return f"urn:countersign:{tenant}:{tool}"


def sign(claimed: dict[str, Any], args_digest: str) -> str:
    """The permit for what was claimed: a compact JWS."""
    import jwt

    key_id, key = next(iter(keys().items()))
    issued = int(datetime.fromisoformat(claimed["issued_at"]).timestamp())
    claims = {
        "iss": settings().public_url,
        "aud": audience(claimed["tenant_id"], claimed["tool"]),
        "sub": claimed["action_id"],
        "jti": claimed["attempt_id"],
        "iat": issued,
        "nbf": issued,
        "exp": int(datetime.fromisoformat(claimed["expires_at"]).timestamp()),
        "tenant": claimed["tenant_id"],
        "environment": claimed["environment"],
        "tool": claimed["tool"],
        "contract_version": claimed["contract_version"],
        "digest": claimed["digest"],
        "args_digest": args_digest,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id, "typ": TYPE})


def verified(permit: str) -> dict[str, Any]:
    """The claims of a permit of ours, expired or not: until when it is reported on is the database's to say.

    Raises Problem 422 `invalid_permit` for anything that no key of ours signed as a permit.
    """
    import jwt

    refused = Problem(422, "invalid_permit", "This is no permit of ours; send the one that was issued, unchanged.")
    known = keys()
    try:
        header = jwt.get_unverified_header(permit)
        key = known.get(str(header.get("kid")))
        if key is None or header.get("typ") != TYPE:
            raise refused
        options: Any = {"require": list(CLAIMS), "verify_exp": False, "verify_aud": False}
        claims: dict[str, Any] = jwt.decode(
            permit, key.public_key(), algorithms=[ALGORITHM], issuer=settings().public_url, options=options
        )
    except jwt.InvalidTokenError:
        raise refused from None
    if claims["aud"] != audience(claims["tenant"], claims["tool"]):
        raise refused
    return claims


def sign_statement(text: str) -> tuple[str, str] | None:
    """The id of the key that signs now, and its signature (Ed25519, base64url) over a text; None without keys."""
    for key_id, key in _keys(settings().signing_keys).items():
        return key_id, _encoded(key.sign(text.encode()))
    return None


def signed_statement(text: str, key_id: str, signature: str) -> bool | None:
    """Whether the key of this id signed the text; None when this deployment has (or has kept) no such key."""
    from cryptography.exceptions import InvalidSignature

    key = _keys(settings().signing_keys).get(key_id)
    if key is None:
        return None
    try:
        key.public_key().verify(urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
