"""Backtests and replays as the API shows them."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, field_validator, model_validator

from api.constitution.models import NewConstitution
from api.gate.models import Outcome, Rule, Strict


class Backtest(Strict):
    """Which rules to try on what was decided: `rules`, those of a draft, or those of a version; none: those in force.

    since: the oldest decision to look at. limit: decisions of one answer. cursor: the last answer's `next_cursor`.
    """

    rules: list[Rule] | None = Field(default=None, max_length=200)
    draft_id: UUID | None = None
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    since: AwareDatetime | None = None
    limit: int = Field(default=500, ge=1, le=2000)
    cursor: str | None = Field(default=None, max_length=400)

    @field_validator("rules")
    @classmethod
    def _publishable(cls, rules: list[Rule] | None) -> list[Rule] | None:
        return rules if rules is None else NewConstitution(rules=rules, reason="-", expected_version=1).rules

    @model_validator(mode="after")
    def _one_candidate(self) -> "Backtest":
        if sum(given is not None for given in (self.rules, self.draft_id, self.version)) > 1:
            raise ValueError("give one of rules, draft_id and version")
        return self


class Totals(BaseModel):
    """How many decisions there are of each outcome."""

    allow: int = 0
    escalate: int = 0
    deny: int = 0


class NotReplayed(BaseModel):
    """Decisions that cannot be made again.

    no_basis: from before what a decision rested on was kept. observations_erased: what was read is erased by now.
    unreadable: what is stored cannot be read by this version, or its seal does not open.
    """

    why: Literal["no_basis", "observations_erased", "unreadable"]
    count: int


class Flip(BaseModel):
    """A decision that would have another outcome.

    recorded: as it was made. before: under the rules in force, or as recorded where those are what is tried. after:
    under the candidate. human: what a person made of it. contradicts: a person decided otherwise. rules: what matches
    now and did not before.
    """

    decision_id: UUID
    action_id: UUID | None
    tool: str
    recorded: Outcome
    before: Outcome
    after: Outcome
    human: Literal["approved", "rejected", "edited", "answered"] | None
    contradicts: bool
    rules: list[str]


class Difference(BaseModel):
    """A decision that today's code makes otherwise, on the same facts. findings: `-` is gone, `+` is new."""

    decision_id: UUID
    action_id: UUID | None
    tool: str
    recorded: Outcome
    replayed: Outcome
    findings: list[str]
    members: list[str]


class Report(BaseModel):
    """What a backtest found in the decisions that it looked at, newest first.

    outcomes: as `recorded`; `replayed` by today's code on the same facts; under the rules `in_force`; under the
    `candidate`. complete: there is nothing older to look at; else go on with `next_cursor`.
    """

    examined: int
    not_replayable: list[NotReplayed]
    outcomes: dict[Literal["recorded", "replayed", "in_force", "candidate"], Totals]
    flips_to: Totals
    flips: list[Flip]
    contradictions: list[Flip]
    differences: list[Difference]
    complete: bool
    next_cursor: str | None


class BacktestReport(Report):
    """candidate: what was tried, in words. in_force_version: the constitution that it was compared with."""

    candidate: str
    in_force_version: int
