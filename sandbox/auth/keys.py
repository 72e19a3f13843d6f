"""The secrets of the stand-in: its two API keys and its token signing keys, in the state directory.

Files are created with mode 0600 in `<state>/auth` (0700) on first use and survive restarts. Whoever comes
first creates them, so that the server and the programs that talk to it can start in any order.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import string
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sandbox.state import private_dir, write_private

_BASE62 = string.ascii_letters + string.digits


def state_directory(state: Path) -> Path:
    """`<state>/auth`, created with mode 0700."""
    return private_dir(state / "auth")


def _create_once(path: Path, content: object) -> None:
    # A link fails when the name exists, and the file behind it is complete: of two processes that start at
    # once one wins, and the other reads the winner's keys.
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(scratch, json.dumps(content, indent=2))
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(scratch)
    scratch.unlink()


def _api_key(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_BASE62) for _ in range(32))


def _api_keys(state: Path) -> dict[str, str]:
    path = state_directory(state) / "api_keys.json"
    if not path.exists():
        keys = {"publishable": _api_key("sb_publishable_"), "secret": _api_key("sb_secret_")}
        _create_once(path, keys)
    loaded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def anon_key(state: Path) -> str:
    """The publishable key (`sb_publishable_...`): may sign people up and in, never administer."""
    return _api_keys(state)["publishable"]


def service_key(state: Path) -> str:
    """The secret key (`sb_secret_...`): administers users. It belongs on a server."""
    return _api_keys(state)["secret"]


@dataclass(frozen=True)
class SigningKey:
    """An ES256 key pair and the `kid` that tokens name it by."""

    kid: str
    private: ec.EllipticCurvePrivateKey

    def jwk(self) -> dict[str, Any]:
        """The public half as a JWK (RFC 7517 section 4)."""
        public: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": True}


def _new_signing_key() -> dict[str, str]:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "kid": str(uuid.uuid4()),
        "private": pem.decode(),
        "created_at": datetime.now(UTC).isoformat(),
    }


def _signing_keys_file(state: Path) -> Path:
    path = state_directory(state) / "signing_keys.json"
    if not path.exists():
        _create_once(path, {"keys": [_new_signing_key()]})
    return path


def rotate_signing_key(state: Path) -> str:
    """Makes a new signing key current and answers its `kid`.

    The key before it stays in the JWKS, so tokens it signed stay valid until they expire; the one before
    that is dropped. A running server follows at its next request.
    """
    path = _signing_keys_file(state)
    keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
    new = _new_signing_key()
    write_private(path, json.dumps({"keys": [new, *keys[:1]]}, indent=2))
    return new["kid"]


class SigningKeys:
    """The signing keys as they are on disk now; thread-safe. The first is current."""

    def __init__(self, state: Path) -> None:
        self._path = _signing_keys_file(state)
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._keys: list[SigningKey] = []

    def _load(self) -> list[SigningKey]:
        stat = self._path.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        with self._lock:
            if version != self._version:
                stored = json.loads(self._path.read_text(encoding="utf-8"))["keys"]
                self._keys = [_signing_key(item["kid"], item["private"]) for item in stored]
                self._version = version
            return self._keys

    def current(self) -> SigningKey:
        return self._load()[0]

    def find(self, kid: str) -> SigningKey | None:
        return next((key for key in self._load() if key.kid == kid), None)

    def jwks(self) -> dict[str, Any]:
        """The JWK Set (RFC 7517 section 5), public keys only."""
        return {"keys": [key.jwk() for key in self._load()]}


def _signing_key(kid: str, pem: str) -> SigningKey:
    private = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"signing key {kid} is not an elliptic curve key")
    return SigningKey(kid, private)
