"""Connections as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from api.gate.models import Access, Environment, Strict


class NewConnection(Strict):
    provider: str
    environment: Environment
    access: Access
    parameters: dict[str, Annotated[str, StringConstraints(max_length=300)]] = Field(
        default={},
        max_length=20,
        description="What the provider needs to know before the sign-in, as its manifest says.",
    )


class ConnectionStarted(BaseModel):
    """Send the person to `authorize_url`, in the browser that keeps this answer's cookie."""

    id: UUID
    status: str
    authorize_url: str


class Disconnection(BaseModel):
    """How far a disconnect is. The connection is closed from its first step on.

    at_provider: `pending` while the provider has not confirmed; `unsupported` when it has no way to revoke, and
    `failed` when it never confirmed: then somebody has to remove Countersign in the provider's own settings.
    `shared` when revoking would have ended another connection of the account: it is left to the last of them.
    """

    step: Literal["revoking_at_provider", "finished"]
    at_provider: Literal["pending", "confirmed", "unsupported", "failed", "nothing_to_revoke", "shared"]
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    finished_at: datetime | None


class Disconnected(BaseModel):
    """`message` says in a sentence what was done, and what is left for a person to do."""

    id: UUID
    status: Literal["revoked"]
    revoked_at_provider: bool
    disconnect: Disconnection | None
    message: str


class Circuit(BaseModel):
    """Whether calls are made: `closed` is well; `open` makes none; `half_open` makes one at a time, to see.

    since: when it opened. next_call_at: until then no call is made, because it is open or the provider wants a pause.
    """

    state: Literal["closed", "open", "half_open"]
    since: datetime | None
    next_call_at: datetime | None


class UsedLimit(BaseModel):
    """How much is used of a limit that the provider publishes: `requests` calls in `seconds`.

    per: whether this connection's calls count, or those of all of the tenant's connections to the account.
    at_once: of a rate (up to an hour), how many calls may come at once; null for a quota.
    used: of a quota, the calls counted in its window. Of a rate, which keeps no count, how many of the calls that may
    come at once are gone: it shrinks with time, and at `at_once` the next call waits for its turn.
    resets_at: when `used` will be 0 if nothing is called until then; null when it is.
    """

    name: str
    requests: int
    seconds: int
    per: Literal["connection", "account"]
    at_once: int | None
    used: int
    resets_at: datetime | None


class Connection(BaseModel):
    """Times are those of the grant: when the consent ends, when access and refresh token end (null: not, or not known),
    when the tokens were last refreshed, and when a call was last made with them.
    """

    id: UUID
    provider: str
    environment: Environment
    access: Access
    status: str
    status_reason: str | None
    scopes_requested: list[str]
    scopes_granted: list[str]
    account: dict[str, Any]
    parameters: dict[str, str]
    created_by: UUID
    created_at: datetime
    consent_expires_at: datetime | None
    token_expires_at: datetime | None
    refresh_expires_at: datetime | None
    last_refreshed_at: datetime | None
    last_used_at: datetime | None
    refresh_failures: int | None
    disconnect: Disconnection | None
    circuit: Circuit
    limits: list[UsedLimit]
