"""The nine controls over the whole organisation, as the API shows them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from api.gate.models import Environment


class TenantName(BaseModel):
    id: UUID
    name: str


class ChainHead(BaseModel):
    """Where the audit log stood when this was looked at: the number and the hash of its last event.

    verified_at, verified_to: when the whole of it last verified by schedule, and to which event; null before the first
    time. broken_at: the first event that does not fit, if the log is broken; found_at: since when that is known.
    """

    seq: int
    hash: str
    verified_at: datetime | None = None
    verified_to: int | None = None
    broken_at: int | None = None
    found_at: datetime | None = None


class Evidence(BaseModel):
    """What the log of the last 30 days has of one type of event; `capped`: there are at least so many."""

    type: str
    meaning: str
    count: int
    capped: bool


class Checked(BaseModel):
    """What was looked at for one control in one live workflow, and what was found."""

    slug: str
    title: str
    version: int
    environment: Environment
    verified: bool
    evidence: list[str]
    missing: list[str]


class ControlOverall(BaseModel):
    """One of the nine controls: verified when it is in every live workflow, and there is one at all."""

    control: int
    name: str
    meaning: str
    verified: bool
    workflows_verified: int
    workflows: list[Checked]
    events: list[Evidence]


class Controls(BaseModel):
    """All nine, looked at now. more: live workflows beyond the hundred that were looked at; they verify nothing."""

    tenant: TenantName
    checked_at: datetime
    since: datetime
    chain: ChainHead | None
    verified: bool
    more: int
    controls: list[ControlOverall]
