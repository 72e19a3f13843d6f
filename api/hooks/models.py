"""Webhook triggers as the API takes and shows them. A provider's own secret goes in and never comes out."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from api.gate.models import Environment, Slug, Strict


def _printable(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a secret is printable ASCII without spaces")
    return secret


#: The secret that a provider chose itself. Where it is left out, one is made here.
Given = Annotated[SecretStr, Field(min_length=20, max_length=300), AfterValidator(_printable)]


class NewWebhookTrigger(Strict):
    """Where a provider will send its events for a workflow; which of them start runs, the workflow's loop says."""

    workflow: Slug
    provider: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
    secret: Given | None = None


class WebhookRotation(Strict):
    """A new secret. overlap_hours: how long the one before stays good; 0 ends it at once."""

    secret: Given | None = None
    overlap_hours: int = Field(default=24, ge=0, le=168)


class WebhookTrigger(BaseModel):
    """An address for a provider's events.

    secret: only in the first answer of what made one here. previous_until: until when the secret before is good.
    """

    id: UUID
    url: str
    environment: Environment
    workflow: str
    provider: str
    status: Literal["active", "revoked"]
    secret_generation: int
    previous_until: datetime | None
    secret: str | None = None
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class Received(BaseModel):
    """What became of a delivery: a run was started, or had been by this event before, or nobody asked for its type."""

    outcome: Literal["started", "known", "ignored"]
