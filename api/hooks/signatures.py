"""Whether a delivery was signed with a secret, as its provider's manifest says that it signs."""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Iterator, Mapping

from api.providers.manifest import Webhook

#: Seconds that a signed time may be away from ours, as Stripe and Standard Webhooks have it.
TOLERANCE = 300
#: A delivery that carries more signatures than this is nobody's: a provider rotates between two secrets.
MAX_SIGNATURES = 10


def signer(
    webhook: Webhook,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Iterable[tuple[int, str]],
    now: float | None = None,
) -> int | None:
    """The generation of the secret that the body was signed with; None when it was with none of them, or too long ago.

    headers: by lower-case name. Every secret and every signature is compared, each in constant time.
    """
    signed = _signed(webhook, headers, body)
    if signed is None:
        return None
    content, sent_at, given = signed
    if sent_at is not None and abs((time.time() if now is None else now) - sent_at) > TOLERANCE:
        return None
    found = None
    for generation, secret in secrets:
        digest = hmac.new(_key(webhook, secret), content, hashlib.sha256).digest()
        for one in given:  # and on, so that how long it takes does not say which was right
            if hmac.compare_digest(digest, one):
                found = generation
    return found


def _key(webhook: Webhook, secret: str) -> bytes:
    """Standard Webhooks write their key in base64 after `whsec_`; elsewhere the secret's own bytes are the key."""
    if webhook.scheme != "standard-webhooks":
        return secret.encode()
    return base64.b64decode(secret.removeprefix("whsec_"))


def _signed(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> tuple[bytes, int | None, list[bytes]] | None:
    """What was signed, the time in it, and the signatures; None when the headers are not the scheme's."""
    if webhook.scheme == "standard-webhooks":
        message, at = headers.get("webhook-id", ""), _time(headers.get("webhook-timestamp", ""))
        pairs = list(_pairs(headers.get("webhook-signature", ""), " ", ","))
        if not re.fullmatch(r"[A-Za-z0-9_:-]{1,200}", message) or at is None:
            return None
        return f"{message}.{at}.".encode() + body, at, _decoded(pairs, "v1", "base64")
    if webhook.scheme == "stripe":
        pairs = list(_pairs(headers.get("stripe-signature", ""), ",", "="))
        times = [value for name, value in pairs if name == "t"]
        at = _time(times[0]) if len(times) == 1 else None
        return None if at is None else (f"{at}.".encode() + body, at, _decoded(pairs, "v1", "hex"))
    text = headers.get(webhook.header, "")
    given = (
        _decoded([("", text.removeprefix(webhook.prefix))], "", webhook.encoding)
        if text.startswith(webhook.prefix)
        else []
    )
    if webhook.timestamp_header is None:
        return body, None, given
    at = _time(headers.get(webhook.timestamp_header, ""))
    return None if at is None else (f"{at}.".encode() + body, at, given)


def _time(text: str) -> int | None:
    """Seconds since 1970, in the one way of writing them that is signed as it was sent."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,11}", text) else None


def _pairs(text: str, between: str, within: str) -> Iterator[tuple[str, str]]:
    for part in text.split(between):
        name, _, value = part.partition(within)
        yield name, value


def _decoded(pairs: Iterable[tuple[str, str]], version: str, encoding: str) -> list[bytes]:
    """The signatures of this version, at most MAX_SIGNATURES; what is no signature is left out."""
    found: list[bytes] = []
    for name, value in pairs:
        if name == version and len(found) < MAX_SIGNATURES:
            try:
                found.append(bytes.fromhex(value) if encoding == "hex" else base64.b64decode(value, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found
