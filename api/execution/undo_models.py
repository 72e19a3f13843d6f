"""Undoing, as the API shows it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.actions.models import Proposed


class ProposedUndo(Proposed):
    """The undo, an action like any other, and the action that it undoes."""

    compensates: UUID


class PlannedUndo(BaseModel):
    """A run that is being undone; follow it at `GET /v1/runs/{id}/compensation`."""

    id: UUID
    run_id: UUID
    status: Literal["running", "finished"]


class UndoStep(BaseModel):
    """One write of the run, the last first.

    status: `waiting` for the writes after it, `proposed`, or `settled`. code: `undone`, the status in which the undo
    ended, or why there is none; `reason` says it in words. undo: the action that undoes it, and its status.
    """

    position: int
    action: dict[str, Any]
    status: Literal["waiting", "proposed", "settled"]
    code: str | None
    reason: str | None
    undo: dict[str, Any] | None


class PreviewedStep(BaseModel):
    """One write of the run, the last first: the tool that would undo it, or a code and a reason why nothing does."""

    position: int
    action: dict[str, Any]
    can: bool
    tool: str | None
    code: str | None
    reason: str | None


class UndoPreview(BaseModel):
    """What undoing a run would do. under_way: the plan that does so already. writes: how many; 200 steps are told.

    Whether somebody changed a record since is not known before it is undone; what was changed is left as it is.
    """

    run_id: UUID
    under_way: UUID | None
    writes: int
    steps: list[PreviewedStep]


class UndoReport(BaseModel):
    """What became of undoing a run. counts: how many steps have which code, or which status while they have none."""

    id: UUID
    run_id: UUID
    status: Literal["running", "finished"]
    reason: str
    requested_by: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None
    steps: list[UndoStep]
    counts: dict[str, int] = Field(default={})
