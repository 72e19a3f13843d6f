"""What a reasoner is asked and what it answers, whatever thinks: rules or a model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.gate.models import Confidence, Contract, Rule, Strict, ToolName
from api.runs.models import Subject

#: How what must not be kept in the clear is sealed under the run's own key: (value, what it is a part of) to JSON text.
Seal = Callable[[dict[str, Any], bytes], str]


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation. name: the loop's name of it. labels: trust and data class by pattern of pointer."""

    name: str
    id: UUID
    tool: str
    result: Any
    labels: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run knows when it thinks.

    observations: those that succeeded, in that order. tools: granted write tools only, by name. rules: the
    constitution's, to be cited by their ids. missing: names of observations that failed and may.
    """

    run_id: UUID
    workflow: str
    instruction: str
    subject: dict[str, Any] | None
    observations: list[Seen]
    tools: dict[str, Contract]
    rules: list[Rule]
    now: datetime
    missing: list[str] = field(default_factory=list)


class Suggestion(Strict):
    """What becomes a proposed action: citations are ids of the ask's rules, evidence names of its observations."""

    tool: ToolName
    args: dict[str, Any]
    confidence: Confidence
    rationale: str = Field(min_length=1, max_length=10_000)
    citations: list[str] = Field(min_length=1, max_length=50)
    evidence: list[str] = Field(default=[], max_length=50)
    subject: Subject | None = None


#: How a call of a model ended. `unanswered`: it may have been made, and is paid for in full.
CallOutcome = Literal[
    "suggested", "invalid", "refused", "truncated", "malformed", "oversize",
    "rate_limited", "unavailable", "forbidden", "rejected", "unanswered",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model, as it is kept in `app.model_calls`.

    cost: millionths of a unit of the currency. prompt, response: the texts, of which the table has digests only.
    """

    id: UUID
    provider: str
    kind: Literal["anthropic", "openai"]
    model: str
    attempt: int
    input_tokens: int
    output_tokens: int
    cost: int
    currency: str
    prompt_digest: str
    response_digest: str | None
    prompt: str = field(repr=False)
    response: str | None = field(repr=False)
    outcome: CallOutcome
    error: str | None
    system_version: str


@dataclass(frozen=True, slots=True)
class Thought:
    """What was thought. notes: why there is nothing (more) to propose, in the reasoner's words."""

    suggestions: list[Suggestion]
    notes: str
    calls: list[ModelCall] = field(default_factory=list)


#: `budget`: no call was made. `stopped`: a kill switch covers the workflow, or the run is over. `not_configured`: no
#: provider, model or key that may be used here. `rate_limited` and `unavailable` pass by themselves, and say when; the
#: others do not.
ErrorKind = Literal[
    "budget",
    "stopped",
    "not_configured",
    "forbidden",
    "rate_limited",
    "unavailable",
    "refused",
    "truncated",
    "invalid_output",
]


class ReasonerError(Exception):
    """Nothing was thought. The message says why, in words, and holds nothing of a prompt or key."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        retry_at: datetime | None = None,
        calls: list[ModelCall] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_at = retry_at
        self.calls = calls or []
