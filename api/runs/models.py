"""Runs and observations as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from api.gate.models import Environment, Reason, Slug, Strict, ToolName

#: Characters that a call adds to the instruction of a loop at most.
MAX_CALLED = 9_000


class Subject(Strict):
    """The triggering record."""

    type: str = Field(min_length=1, max_length=100)
    id: str = Field(min_length=1, max_length=200)
    tier: str | None = Field(default=None, max_length=100)


class NewRun(Strict):
    """`instruction` is the person's or the schedule's own words, and trusted.

    drive: `client`, who observes and proposes in it; or `loop`: what the workflow's live version declares drives it. A
    loop has an instruction of its own, which one that is given here comes after.
    """

    workflow: Slug
    trigger: Literal["call", "schedule", "webhook"] = "call"
    instruction: str | None = Field(default=None, min_length=1, max_length=20_000)
    subject: Subject | None = None
    drive: Literal["client", "loop"] = "client"

    @model_validator(mode="after")
    def _is_told_what_to_do(self) -> "NewRun":
        if self.drive == "client" and self.instruction is None:
            raise ValueError("a run that a client drives has an instruction")
        if self.drive == "loop" and self.trigger != "call":
            raise ValueError("a loop that is started here is started by a call")
        if self.drive == "loop" and len(self.instruction or "") > MAX_CALLED:
            raise ValueError(f"beside the loop's own instruction there is room for {MAX_CALLED} characters")
        return self


class Ending(Strict):
    """Why a run is cancelled."""

    reason: Reason


class Restart(Strict):
    """Why a failed run runs again, in words without anybody's data: they stay in the audit log."""

    reason: str = Field(min_length=1, max_length=500)


class RunSummary(BaseModel):
    """A run in a list. driven_by: its `client`, or the workflow's `loop`."""

    id: UUID
    status: str
    status_reason: str | None
    workflow: str
    workflow_version: int
    environment: Environment
    trigger: str
    driven_by: str
    created_at: datetime
    finished_at: datetime | None


class RunEnded(BaseModel):
    id: UUID
    status: str


class Run(BaseModel):
    id: UUID
    status: str
    workflow: str
    workflow_version: int
    environment: Environment
    trigger: str
    instruction: str
    subject: dict[str, Any] | None


class NewObservation(Strict):
    """Without `result` Countersign reads; with it the client says what it read itself."""

    tool: ToolName
    args: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | list[Any] | None = None


class Observation(BaseModel):
    """`labels` gives, by JSON pointer, the trust and the data class of each part of `result`.

    `erased_at`, `erased_classes`: what of it is gone because its time to be kept is over.
    """

    id: UUID
    run_id: UUID
    tool: str
    contract_version: int
    source: Literal["gateway", "client_asserted"]
    status: Literal["reading", "succeeded", "failed"]
    args: dict[str, Any]
    result: Any
    labels: dict[str, Any] | None
    digest: str | None
    error: str | None
    created_at: datetime
    erased_at: datetime | None = None
    erased_classes: list[str] = []


class RunTrace(Run):
    """A run with everything that hangs off it, each list in order of time.

    steps: of a loop, each with its duration in seconds. observations: with `purpose` and `action_id` where one was read
    for an action, as what a write found `before` and `after`. actions: each with `why` (the findings that did not
    allow, one line each), the approvals and the attempts. audit: the first and last number in the audit log.
    """

    trigger_detail: dict[str, Any] | None
    driven_by: str
    status_reason: str | None
    started_by: dict[str, Any]
    deadline_at: datetime | None
    finished_at: datetime | None
    steps: list[dict[str, Any]]
    observations: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    model_calls: list[dict[str, Any]]
    audit: dict[str, Any]
    created_at: datetime
