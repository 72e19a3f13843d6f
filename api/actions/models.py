"""Actions as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Confidence, Decision, Reason, Slug, Strict
from api.runs.models import Subject


class Evidence(Strict):
    observation_id: UUID


class NewAction(Strict):
    """One proposed tool call. `confidence` is the agent's own, 0 to 1; `citations` are ids of rules."""

    workflow: Slug
    run_id: UUID
    tool: str = Field(min_length=1, max_length=120)
    args: dict[str, Any]
    confidence: Confidence | None = None
    rationale: str = Field(default="", max_length=20_000)
    citations: list[str] = Field(default=[], max_length=50)
    evidence: list[Evidence] = Field(default=[], max_length=100)
    subject: Subject | None = None


class Proposed(BaseModel):
    """The recorded action. A denied or escalated one is a successful call: look at `status`."""

    id: UUID
    status: str
    digest: str
    decision: Decision
    exception: dict[str, Any] | None


class Cancellation(Strict):
    reason: Reason


class Action(BaseModel):
    """An action. moved: what had changed where it was proposed again in place of what it supersedes.

    compensates: what it undoes; compensated_by: its own undo, under way or done. changes: by pointer into what is read
    around its call, what was there before and after (an API key is told the pointers only); not_read: which of the two
    reads failed.
    """

    id: UUID
    status: str
    status_reason: str | None
    digest: str
    environment: str
    run_id: UUID
    workflow: str
    tool: str
    effect: str
    args: dict[str, Any]
    confidence: float | None
    rationale: str
    citations: list[str]
    evidence: list[dict[str, Any]]
    subject: dict[str, Any] | None
    decision: Decision
    exception: dict[str, Any] | None
    approvals: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    supersedes: UUID | None
    moved: list[dict[str, Any]] | None
    compensates: UUID | None
    compensated_by: UUID | None
    changes: list[dict[str, Any]]
    not_read: list[str]
    expires_at: datetime
    created_at: datetime
    updated_at: datetime


class ActionSummary(BaseModel):
    id: UUID
    status: str
    tool: str
    effect: str
    workflow: str
    run_id: UUID
    environment: str
    digest: str
    created_at: datetime
