"""What closes an action whose end is open, or takes it up again."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from api.gate.models import Reason, Strict


class Reconciliation(Strict):
    """Without `outcome` the provider is asked through the tool's read-back; with it a person says what is so."""

    outcome: Literal["succeeded", "failed"] | None = None
    reason: Reason


class Compensation(Strict):
    """Why something is undone; the approvers of the undo read it."""

    reason: Reason


class Requeue(Strict):
    reason: Reason


class Requeued(BaseModel):
    """The action that goes on: the same one, or the new one that took its place (`supersedes`) and was decided anew."""

    id: UUID
    status: str
    supersedes: UUID | None = None
    digest: str | None = None
    exception: dict[str, Any] | None = None
