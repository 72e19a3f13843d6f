"""Runs and observations as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Environment, Slug, Strict, ToolName


class Subject(Strict):
    """The triggering record."""

    type: str = Field(min_length=1, max_length=100)
    id: str = Field(min_length=1, max_length=200)
    tier: str | None = Field(default=None, max_length=100)


class NewRun(Strict):
    """`instruction` is the person's or the schedule's own words, and trusted."""

    workflow: Slug
    trigger: Literal["call", "schedule", "webhook"] = "call"
    instruction: str = Field(min_length=1, max_length=20_000)
    subject: Subject | None = None


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
    """A run with everything that hangs off it, in order of time."""

    observations: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    created_at: datetime
