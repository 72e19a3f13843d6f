"""The audit log as the API shows it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class AuditEvent(BaseModel):
    """`record` holds the exact bytes that were hashed; `hash` = SHA-256 of `prev_hash` and `record`, in hex."""

    seq: int
    type: str
    at: str
    record: str
    prev_hash: str
    hash: str
    event: dict[str, Any]


class Verification(BaseModel):
    """`broken_at`: the first event whose hash, place or predecessor does not fit; null when the chain holds."""

    ok: bool
    events: int
    head: str | None
    broken_at: int | None


class PlacedEvent(AuditEvent):
    """An event with its place in the chain.

    hash_before: of the event before, as it is stored; null when that one is gone. recomputed: SHA-256 of `prev_hash`
    and `record`, now. holds: both fit. signed_at_seq: the first signed head at or after it, if there is one yet.
    """

    hash_before: str | None
    recomputed: str
    holds: bool
    head_seq: int
    signed_at_seq: int | None


class SignedHead(BaseModel):
    """The log as it stood, signed: keep it elsewhere, and nobody can rewrite what came before without it showing.

    signature: Ed25519, base64url, by the key of this id in `/.well-known/jwks.json`, over the text
    `countersign-audit-head <tenant> <seq> <hash>`. hash: of event `seq`, in hex.
    """

    seq: int
    hash: str
    signature: str
    key_id: str
    created_at: datetime


class VerifiedPart(BaseModel):
    """Events after `after` up to `last`, recomputed. done: up to the head. broken_at: the first that does not fit."""

    ok: bool
    after: int
    last: int
    head_seq: int
    head: str | None
    done: bool
    broken_at: int | None
