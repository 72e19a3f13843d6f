"""Workflows and kill switches as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import AccessSpec, Environment, Slug, Strict


class NewWorkflow(Strict):
    slug: Slug
    environment: Environment
    title: str = Field(min_length=1, max_length=200)
    spec: AccessSpec


class NewVersion(Strict):
    spec: AccessSpec


class Approval(Strict):
    reason: str = Field(min_length=1, max_length=2000)


class WorkflowVersion(BaseModel):
    slug: str
    version: int
    status: Literal["draft", "in_review", "live", "superseded"]
    id: UUID | None = None
    environment: Environment | None = None
    spec: AccessSpec | None = None
    author: UUID | None = None
    approved_by: UUID | None = None


class Workflow(BaseModel):
    id: UUID
    slug: str
    environment: Environment
    title: str
    live_version: int | None
    created_at: datetime


class NewKillSwitch(Strict):
    """`target`: id of the workflow, connection or service account, or name of the tool; none for the tenant."""

    scope: Literal["tenant", "workflow", "connection", "tool", "service_account"]
    target: str | None = Field(default=None, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)


class Release(Strict):
    reason: str = Field(min_length=1, max_length=2000)


class KillSwitch(BaseModel):
    """`stopped`: actions that will not start while it is engaged; `in_flight`: those that had started already."""

    id: UUID
    scope: str
    target: str
    status: Literal["engaged", "released"]
    reason: str
    engaged_at: datetime
    released_at: datetime | None
    stopped: list[UUID]
    in_flight: list[UUID]


class AccessSpecDocument(BaseModel):
    """What a reviewer reads: the spec in force or in review, and what follows from it."""

    slug: str
    version: int
    status: str
    environment: Environment
    spec: dict[str, Any]
    can_read: list[str]
    can_write: list[str]
    decides_alone: list[str]
    always_waits: list[str]
