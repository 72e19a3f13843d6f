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

    data_key, nonce = AESGCM.generate_key(256), os.urandom(12)
    data = nonce + AESGCM(data_key).encrypt(nonce, json.dumps(value).encode(), bound_to)
    return json.dumps({"v": 1, **_wrap(data_key, bound_to), "data": base64.b64encode(data).decode()})


def _wrap(data_key: bytes, bound_to: bytes) -> dict[str, str]:
    """The members of an envelope that say under which key its data key is wrapped: the first one."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, kek = next(iter(settings().kek.items()))
    nonce = os.urandom(12)
    return {"kek": key_id, "key": base64.b64encode(nonce + AESGCM(kek).encrypt(nonce, data_key, bound_to)).decode()}


def unseal(envelope: str, bound_to: bytes) -> dict[str, Any]:
    """The value of an envelope.

    Raises SealError without saying what was in it.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        document = json.loads(envelope)
        sealed = base64.b64decode(document["data"])
        data_key = _unwrap(document, bound_to)
        value: dict[str, Any] = json.loads(AESGCM(data_key).decrypt(sealed[:12], sealed[12:], bound_to))
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise SealError("The sealed credential does not open here.") from None
    return value


def rewrap(envelope: str, bound_to: bytes) -> str:
    """The same sealed value with its data key wrapped under the first key-encryption key; the value is not opened.

    Raises SealError as `unseal`.
    """
    from cryptography.exceptions import InvalidTag

    try:
        document = json.loads(envelope)
        return json.dumps(document | _wrap(_unwrap(document, bound_to), bound_to))
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise SealError("The sealed credential does not open here.") from None


def _unwrap(document: dict[str, Any], bound_to: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    wrapped = base64.b64decode(document["key"])
    return AESGCM(settings().kek[document["kek"]]).decrypt(wrapped[:12], wrapped[12:], bound_to)
