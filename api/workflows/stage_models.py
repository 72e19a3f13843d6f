"""What a workflow's stage held back, and what people said of it, as the API shows it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class ToolRecord(BaseModel):
    """What the proposals of one tool would have come to if the workflow were autonomous.

    alone: nothing but the stage objected, so it would have been done without a person; asks: people would have been
    asked all the same; refused: it would have been denied. judged: how many of these a person decided; agreed: how
    many of those were approved as proposed.
    """

    tool: str
    proposed: int
    alone: int
    asks: int
    refused: int
    alone_judged: int
    alone_agreed: int
    asks_judged: int
    asks_agreed: int


class Disagreement(BaseModel):
    """A proposal that the stage alone stopped, and that people did not approve as it was."""

    action_id: UUID
    exception_id: UUID
    tool: str
    summary: str
    status: str
    reason: str | None
    decided_at: datetime


class StageRecord(BaseModel):
    """By tool, of the newest `limit` proposals of so many days; stage: of the live version, null where none is live."""

    slug: str
    stage: Literal["shadow", "supervised", "autonomous"] | None
    days: int
    limit: int
    tools: list[ToolRecord]
    disagreements: list[Disagreement]
