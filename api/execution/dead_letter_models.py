"""Dead letters as the API shows them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Environment, Reason, Strict


class DeadLetter(BaseModel):
    """What was not done. summary: what, for how much, and why not, in one line. tries: how many attempts there were."""

    id: UUID
    environment: Environment
    workflow: str
    run_id: UUID
    tool: str
    effect: str
    summary: str
    error: str | None
    tries: int
    dead_since: datetime
    created_at: datetime


class DeadLetterDetail(DeadLetter):
    """One dead letter with what is needed to decide about it.

    attempts: each with the request and the response as they are kept, without credentials. moved: what has changed
    since it was decided, as {what, was, is, message}. options.requeue.how: `as_is`, `again` (through the gate, as a
    new action) or `not`.
    """

    digest: str
    args: dict[str, Any]
    rationale: str
    proposed_by: dict[str, Any]
    moved: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    requeues: list[dict[str, Any]]
    options: dict[str, dict[str, Any]]


class RequeueMany(Strict):
    """Dead letters to requeue, for one reason: at most 100."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=100)]
    reason: Reason


class RequeueResult(BaseModel):
    """What came of one of them: `action_id` goes on in `status`, or `code` and `detail` say why none does."""

    id: UUID
    ok: bool
    status: str | None = None
    action_id: UUID | None = None
    code: str | None = None
    detail: str | None = None


class RequeuedMany(BaseModel):
    results: list[RequeueResult]
