"""The keys of one run: what is read, written and thought in it is sealed under them, and is gone when they are.

AES-256-GCM. A run has one random key for each bucket: `args` (what reads ask for), `observation:<class of data>`,
`payload` (what a loop keeps of its own), `prompt` (what went to a model and came back). Each is wrapped by the
key-encryption key; both layers name tenant, run and bucket, so that nothing opens in another place.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from api.config import settings
from api.errors import BrokenError
from api.gate.data_classes import NAMES

Keys = Mapping[str, Any]
"""{tenant_id, run_id, keys: {bucket: {kek, key}}}: as the database keeps them, without those that were destroyed."""

_KEK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

BUCKETS = ("args", "payload", "prompt", *sorted(f"observation:{name}" for name in NAMES))


class KeyGoneError(RuntimeError):
    """The key of this bucket was destroyed, or never made: nothing can be sealed under it any more."""


class SealBrokenError(BrokenError):
    """What was sealed does not open: another key, another place, or changed bytes. Nothing is decided on it."""

    code = "seal_broken"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.told = (
            f"What was read in this run does not open, so nothing is decided on it: {why} Whoever runs this deployment:"
            " docs/runbook.md, “When a seal does not open”."
        )


def new(tenant_id: object, run_id: object) -> dict[str, dict[str, str]]:
    """A fresh key for every bucket, wrapped by the first key-encryption key: {bucket: {kek, key}}."""
    return {bucket: _wrap(os.urandom(32), _bound(tenant_id, run_id, bucket)) for bucket in BUCKETS}


def seal(keys: Keys, bucket: str, value: Any, bound_to: str) -> str:
    """The value (any JSON) under the run's key of this bucket, as base64; `bound_to` names what it is a part of.

    Raises KeyGoneError when there is no such key.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = _key(keys, bucket)
    if key is None:
        raise KeyGoneError(f"The run's key for {bucket} is gone; nothing more can be kept in this run.")
    nonce, plain = os.urandom(12), json.dumps(value, ensure_ascii=False).encode()
    sealed = AESGCM(key).encrypt(nonce, plain, _place(keys, bucket, bound_to))
    return base64.b64encode(nonce + sealed).decode()


def unseal(keys: Keys, bucket: str, sealed: str, bound_to: str) -> Any:
    """The value again, or None when the key was destroyed.

    Raises SealBrokenError when it was sealed elsewhere or its bytes were changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = _key(keys, bucket)
    if key is None:
        return None
    try:
        data = base64.b64decode(sealed, validate=True)
        return json.loads(AESGCM(key).decrypt(data[:12], data[12:], _place(keys, bucket, bound_to)))
    except (InvalidTag, ValueError):
        raise SealBrokenError("Its bytes were changed, or belong to another place.") from None


def require_open(keys: Keys) -> None:
    """Raises SealBrokenError when a key of the run does not open."""
    for bucket in keys["keys"]:
        _key(keys, bucket)


def rewrap(keys: Keys) -> dict[str, dict[str, str]]:
    """The same keys under the first key-encryption key. Raises SealBrokenError when one does not open."""
    tenant_id, run_id, wrapped = keys["tenant_id"], keys["run_id"], keys["keys"]
    return {bucket: _wrap(_unwrap(one, _bound(tenant_id, run_id, bucket)), _bound(tenant_id, run_id, bucket))
            for bucket, one in wrapped.items()}  # fmt: skip


def _key(keys: Keys, bucket: str) -> bytes | None:
    wrapped = (keys["keys"] or {}).get(bucket)
    return None if wrapped is None else _unwrap(wrapped, _bound(keys["tenant_id"], keys["run_id"], bucket))


def _bound(tenant_id: object, run_id: object, bucket: str) -> bytes:
    return f"run_key|{tenant_id}|{run_id}|{bucket}".encode()


def _place(keys: Keys, bucket: str, bound_to: str) -> bytes:
    return _bound(keys["tenant_id"], keys["run_id"], bucket) + f"|{bound_to}".encode()


def _wrap(key: bytes, bound: bytes) -> dict[str, str]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, kek = next(iter(settings().kek.items()))
    nonce = os.urandom(12)
    return {"kek": key_id, "key": base64.b64encode(nonce + AESGCM(kek).encrypt(nonce, key, bound)).decode()}


def _unwrap(wrapped: Mapping[str, str], bound: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        kek = settings().kek.get(wrapped["kek"])
        if kek is None:
            raise SealBrokenError(f"The key-encryption key {_named(wrapped['kek'])} is not in COUNTERSIGN_KEK.")
        data = base64.b64decode(wrapped["key"], validate=True)
        return AESGCM(kek).decrypt(data[:12], data[12:], bound)
    except (InvalidTag, KeyError, TypeError, ValueError):
        named = _named(wrapped.get("kek") if isinstance(wrapped, dict) else None)
        raise SealBrokenError(
            f"The stored key does not open with the key-encryption key {named}: that is another one under this id, or"
            " the stored key was changed."
        ) from None


def _named(kek_id: object) -> str:
    """The id of a key-encryption key as it may be told: what is stored in its place may be anything."""
    return f"“{kek_id}”" if isinstance(kek_id, str) and _KEK_ID.fullmatch(kek_id) else "that it names"
