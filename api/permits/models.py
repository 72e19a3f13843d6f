"""Permits, and what clients report of them, as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Strict


class Permit(BaseModel):
    """Leave to execute one action once.

    permit: the signed token (JWS) that whatever executes verifies first; expires_at: until when it may begin;
    report_by: until when it says what came of it; idempotency_key: for the system that acts, the same at each try.
    """

    permit: str
    id: UUID
    action_id: UUID
    tool: str
    contract_version: int
    environment: str
    digest: str
    args: dict[str, Any]
    args_digest: str
    idempotency_key: str
    issued_at: datetime
    expires_at: datetime
    report_by: datetime


class NewOutcome(Strict):
    """What came of a permit. `failed` says that nothing was done; who does not know says `unknown`.

    result: what the system answered; of it only what the tool's contract labels trusted is kept, and a digest of all.
    """

    permit: str = Field(min_length=1, max_length=4096)
    outcome: Literal["succeeded", "failed", "unknown"]
    result: Any = None
    error: str | None = Field(default=None, min_length=1, max_length=2000)


class Reported(BaseModel):
    """status: the action's now. late: after `report_by`; settled: whether this report decided the status."""

    id: UUID
    status: str
    outcome: str
    late: bool
    settled: bool


class PublicKey(BaseModel):
    """An Ed25519 public key as a JWK (RFC 8037); kid is its thumbprint (RFC 7638)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class PublicKeys(BaseModel):
    keys: list[PublicKey]
