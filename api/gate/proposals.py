"""What an agent proposes."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.gate.vocabulary import Arguments, Confidence, Lenient


class Proposer(Lenient):
    """Who proposes: kind `user`, `service` or `system`, and its id."""

    kind: Literal["user", "service", "system"]
    id: UUID | None


class Proposal(Lenient):
    """One proposed tool call, as the agent made it (or as a person edited it).

    moved: of one that is proposed again, what has changed since it was decided: {what, message, was, is} each, and for
    what was read (`what` is `read`) also the tool and the pointer.
    """

    run_id: UUID
    tool: str
    args: Arguments
    confidence: Confidence | None = None
    rationale: str = ""
    citations: list[str] = []
    evidence: list[dict[str, Any]] = []
    subject: Arguments | None = None
    principal: Proposer
    edited_by: UUID | None = None
    moved: list[dict[str, Any]] | None = Field(default=None, exclude_if=lambda value: value is None)
