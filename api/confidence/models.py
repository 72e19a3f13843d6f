"""Calibration and thresholds of confidence as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Confidence, Reason, Slug, Strict, ToolName


class NewThreshold(Strict):
    """What the tool's actions are to claim at the least; null is what the access spec says, and no more.

    The gate asks for the larger of this and the access spec's. expected_version: the one that was looked at, 0 when
    there was none; another one in force is a 412.
    """

    workflow: Slug
    tool: ToolName
    threshold: Confidence | None
    reason: Reason
    expected_version: int | None = Field(default=None, ge=0)


class Threshold(BaseModel):
    """One version of what is asked for. set_by: `user` with the person's id, or `system`, whose evidence it holds."""

    id: UUID
    workflow: str
    tool: str
    version: int
    threshold: float | None
    reason: str
    set_by: dict[str, Any]
    evidence: dict[str, Any]
    created_at: datetime


class Unclaimed(BaseModel):
    """Judged actions that claimed no confidence; they count nowhere else."""

    judged: int
    approved: int


class BinOfClaims(BaseModel):
    """Claims from `low` to below `high` (the last bin holds 1). interval: Wilson's, 95 %, of the share approved."""

    low: float
    high: float
    judged: int
    mean_claimed: float | None
    share_approved: float | None
    interval: tuple[float, float]


class ForecastScores(BaseModel):
    """brier = reliability - resolution + uncertainty + within_bins. See docs/confidence.md."""

    judged: int
    mean_claimed: float
    share_approved: float
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float
    expected_calibration_error: float


class ToolCalibration(BaseModel):
    """One tool. Approved is right; rejected, edited and answered by hand is not; what nobody judged does not count.

    in_spec: what the live access spec asks for, null when it does not name the tool. in_force: the threshold that was
    set last. asked_for: what the gate asks for, the larger of both. suggested: the lowest edge of a bin from which on
    people approve 95 % at the least, null when the evidence does not show that or is too thin (fewer than 20 judged).
    """

    tool: str
    in_spec: float | None
    in_force: Threshold | None
    asked_for: float | None
    suggested: float | None
    scores: ForecastScores | None
    bins: list[BinOfClaims]
    unclaimed: Unclaimed


class Calibration(BaseModel):
    """A workflow's tools that write, and those that were judged within the last `days`."""

    workflow: str
    days: int
    tools: list[ToolCalibration]
