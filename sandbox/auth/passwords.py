"""Password hashing with scrypt (RFC 7914), and what counts as a password."""

from __future__ import annotations

import base64
import os
import threading

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .errors import AuthError

_LOG2_N, _R, _P = 14, 8, 1
"""RFC 7914 section 2: 16 MiB and about a twentieth of a second, the work of the real service's bcrypt (cost
10). Each hash names its cost, so that a dearer one can follow."""

_MIN_LENGTH, _MAX_BYTES = 6, 72
"""Supabase's defaults. 72 bytes is bcrypt's limit there; more is refused, so it is refused here."""

_at_once = threading.BoundedSemaphore(4)  # each hash holds 16 MiB; the server's thread pool is far larger


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def check_strength(password: str) -> None:
    """Raises `weak_password` (422) when too short and `validation_failed` (400) when too long."""
    if len(password) < _MIN_LENGTH:
        message = f"Password should be at least {_MIN_LENGTH} characters."
        raise AuthError(422, "weak_password", message, reasons=["length"])
    if len(password.encode()) > _MAX_BYTES:
        message = f"Password cannot be longer than {_MAX_BYTES} characters"
        raise AuthError(400, "validation_failed", message)


def hash_password(password: str) -> str:
    """`$scrypt$ln=14,r=8,p=1$salt$hash`, with a new 16-byte salt and 32 bytes of hash."""
    salt = os.urandom(16)
    with _at_once:
        derived = Scrypt(salt=salt, length=32, n=1 << _LOG2_N, r=_R, p=_P).derive(password.encode())
    return f"$scrypt$ln={_LOG2_N},r={_R},p={_P}${_encode(salt)}${_encode(derived)}"


_NOBODYS = f"$scrypt$ln={_LOG2_N},r={_R},p={_P}${_encode(bytes(16))}${_encode(bytes(32))}"


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `password` made `stored`. Takes as long when there is nothing stored, so that the time
    does not tell which addresses have an account."""
    _, scheme, cost, salt, expected = (stored or _NOBODYS).split("$")
    if scheme != "scrypt":
        return False
    parameter = {name: int(value) for name, _, value in (item.partition("=") for item in cost.split(","))}
    kdf = Scrypt(salt=_decode(salt), length=32, n=1 << parameter["ln"], r=parameter["r"], p=parameter["p"])
    try:
        with _at_once:
            kdf.verify(password.encode(), _decode(expected))
    except InvalidKey:
        return False
    return bool(stored)
