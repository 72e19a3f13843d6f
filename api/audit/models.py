"""The audit log as the API shows it."""

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
