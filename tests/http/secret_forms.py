"""Finds a secret in whatever was emitted, however it was written down there."""

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

#: Half of a secret that is at least so long is nothing that turns up by chance.
HALVED = 32


def forms(secret: str) -> dict[str, bytes]:
    """How a secret could be written down; of a key its random part counts, the rest is its name.

    Base64 depends on where in the encoded text the secret begins, so there are three of it (and of its URL-safe
    alphabet); the characters at either end, which depend on the neighbours, are left out.
    """
    text = secret[-43:] if secret.startswith("cs_") else secret
    raw = {"": text.encode()}
    if _is_hex(text):
        raw[" of its bytes"] = bytes.fromhex(text)
    found = {
        "as it is": text.encode(),
        "in upper case": text.upper().encode(),
        "in lower case": text.lower().encode(),
        "escaped for an address": quote(text, safe="").encode(),
        "escaped for a form": quote_plus(text).encode(),
    }
    for name, value in raw.items():
        found[f"in hex{name}"] = value.hex().encode()
        found[f"in upper-case hex{name}"] = value.hex().upper().encode()
        found[f"as Python shows it{name}"] = repr(value)[2:-1].encode()
        for shift in range(3):
            found |= {f"in {how}{name}, shifted by {shift}": form for how, form in _base64(value, shift).items()}
    if " of its bytes" in raw:
        found["as bytes"] = raw[" of its bytes"]
    if len(text) >= HALVED and text.count(".") != 2:  # the first part of a JWT is everybody's
        found |= {"its first half": text[: len(text) // 2].encode(), "its second half": text[len(text) // 2 :].encode()}
    return found


def _base64(value: bytes, shift: int) -> dict[str, bytes]:
    encoded = b64encode(b"\0" * shift + value).rstrip(b"=")
    # A character holds six bits: of the first and the last, some may be a neighbour's.
    inner = encoded[0 if shift == 0 else shift + 1 : len(encoded) - (1 if (shift + len(value)) % 3 else 0)]
    return {"Base64": inner, "URL-safe Base64": inner.translate(bytes.maketrans(b"+/", b"-_"))}


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and all(character in "0123456789abcdef" for character in text)


def found(secrets: Mapping[str, str], haystack: bytes) -> list[str]:
    """Which secrets are in it, and how they are written there."""
    return [
        f"{name} {how}" for name, secret in secrets.items() for how, form in forms(secret).items() if form in haystack
    ]
