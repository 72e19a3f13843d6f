"""Time-based one-time passwords (RFC 6238): SHA-1, six digits, thirty-second steps."""

from __future__ import annotations

import base64
import hmac
import os
from datetime import datetime
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP_SECONDS = 30
_DIGITS = 6


def new_secret() -> str:
    """160 random bits (RFC 4226 section 4, R6) in base32 without padding."""
    return base64.b32encode(os.urandom(20)).decode()


def totp(secret_base32: str, at: datetime | float) -> str:
    """The code an authenticator shows for `secret_base32` at `at` (an aware time, or Unix seconds).

    The server accepts a code once and one step early or late, so whoever has just used a code can
    answer at once with the code of `at + 30 s`. Raises `ValueError` for a secret that is not base32.
    """
    seconds = at.timestamp() if isinstance(at, datetime) else at
    text = secret_base32.replace(" ", "").upper()
    key = base64.b32decode(text + "=" * (-len(text) % 8))
    # HMAC-SHA-1 is RFC 6238's default, and many authenticator apps ignore any other choice.
    sha1 = SHA1()  # noqa: S303
    return TOTP(key, _DIGITS, sha1, STEP_SECONDS, enforce_key_length=False).generate(int(seconds)).decode()


def matching_step(secret_base32: str, code: str, at: datetime) -> int | None:
    """The time step (RFC 6238 section 4.2's T) whose code this is, within one step of `at`, or None."""
    now = int(at.timestamp()) // STEP_SECONDS
    found = None
    for step in (now, now - 1, now + 1):
        expected = totp(secret_base32, step * STEP_SECONDS)
        if hmac.compare_digest(expected.encode(), code.encode()) and found is None:
            found = step
    return found


def provisioning_uri(secret_base32: str, account: str, issuer: str) -> str:
    """The `otpauth://` address that authenticator apps read from a QR code."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='@')}"
    query = {
        "algorithm": "SHA1",
        "digits": _DIGITS,
        "issuer": issuer,
        "period": STEP_SECONDS,
        "secret": secret_base32,
    }
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"
