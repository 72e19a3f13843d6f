"""Seals token sets before they reach the database, and opens them for one claimed use.

AES-256-GCM with a fresh data key for each seal, wrapped by the key-encryption key. Both layers bind the same
associated data, which names tenant, connection, environment and purpose: an envelope moved elsewhere does not open.
"""

import base64
import json
import os
from typing import Any

from api.config import settings


class SealError(RuntimeError):
    """An envelope does not open: another key, another place, or changed bytes."""


def context(tenant_id: object, connection_id: object, environment: str, purpose: object) -> bytes:
    """The associated data of an envelope; `purpose` is the generation of a token set, or `flow`."""
    return f"{tenant_id}|{connection_id}|{environment}|{purpose}".encode()


def seal(value: dict[str, Any], bound_to: bytes) -> str:
    """The envelope (JSON text) of a value, sealed under the first key-encryption key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, kek = next(iter(settings().kek.items()))
    data_key = AESGCM.generate_key(256)
    wrap_nonce, nonce = os.urandom(12), os.urandom(12)
    parts = {
        "key": wrap_nonce + AESGCM(kek).encrypt(wrap_nonce, data_key, bound_to),
        "data": nonce + AESGCM(data_key).encrypt(nonce, json.dumps(value).encode(), bound_to),
    }
    return json.dumps(
        {"v": 1, "kek": key_id, **{name: base64.b64encode(part).decode() for name, part in parts.items()}}
    )


def unseal(envelope: str, bound_to: bytes) -> dict[str, Any]:
    """The value of an envelope.

    Raises SealError without saying what was in it.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        document = json.loads(envelope)
        wrapped, sealed = base64.b64decode(document["key"]), base64.b64decode(document["data"])
        data_key = AESGCM(settings().kek[document["kek"]]).decrypt(wrapped[:12], wrapped[12:], bound_to)
        value: dict[str, Any] = json.loads(AESGCM(data_key).decrypt(sealed[:12], sealed[12:], bound_to))
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise SealError("The sealed credential does not open here.") from None
    return value
