"""Channels and deliveries as the API takes and shows them. What opens a channel goes in, or is shown once."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, StringConstraints

from api.gate.models import LINE, Environment, Reason, Strict

Kind = Literal["email", "slack", "webhook"]
Severity = Literal["info", "warning", "critical"]
ChannelStatus = Literal["unverified", "active", "disabled", "deleted"]
DeliveryStatus = Literal["pending", "delivered", "dead", "cancelled"]
ChannelName = Annotated[str, StringConstraints(min_length=1, max_length=100), LINE]


class NewChannel(Strict):
    """Where alerts are told. environment: null is both. owner_id: only alerts that this member answers for.

    target: a mail address; the https address of a webhook, without user and query; Slack's incoming-webhook URL, which
    is a secret and never shown.
    """

    kind: Kind
    name: ChannelName
    target: SecretStr = Field(min_length=3, max_length=1500)
    environment: Environment | None = None
    least_severity: Severity = "warning"
    owner_id: UUID | None = None


class ChannelChange(Strict):
    """What is named is changed. Where a channel leads does not change: make another one."""

    name: ChannelName | None = None
    environment: Environment | None = None
    least_severity: Severity | None = None
    owner_id: UUID | None = None


class Verification(Strict):
    """code: the eight digits that were mailed; without it a new code is mailed, or a message sent."""

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")] | None = None


class ChannelRotation(Strict):
    """A new secret. overlap_hours: how long a webhook's secret before signs as well; url: Slack's new address."""

    overlap_hours: int = Field(default=24, ge=0, le=168)
    url: SecretStr | None = Field(default=None, max_length=1500)


class Disabling(Strict):
    reason: Reason


class Channel(BaseModel):
    """A place where alerts are told. target: of Slack only its host. secret: in the first answer of what made it.

    mail: whether the code was mailed, in the first answer to a new mail address.
    """

    id: UUID
    environment: Environment | None
    kind: Kind
    name: str
    target: str
    least_severity: Severity
    owner_id: UUID | None
    owner_name: str | None
    status: ChannelStatus
    status_reason: str | None
    secret_generation: int | None
    previous_until: datetime | None
    verified_at: datetime | None
    etag: str
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    secret: str | None = None
    mail: Literal["sent", "failed"] | None = None


class Delivery(BaseModel):
    """One thing that a channel is told. attempts: tries so far. last_error: of the last try, in our words."""

    id: UUID
    channel_id: UUID
    environment: Environment | None
    event: str
    alert_id: UUID | None
    severity: Severity
    title: str | None
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


class ChannelDetail(Channel):
    """With the last ten of its deliveries."""

    deliveries: list[Delivery]


class ChannelCheck(BaseModel):
    """What came of proving or trying a channel. sent: null when this is the answer to a repeated request."""

    verified: bool
    sent: bool | None
    error: str | None
    channel: Channel
