"""Constitutions as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from api.actions.models import NewAction
from api.constitution.diff import RuleChange
from api.constitution.rebase import Conflict, Side
from api.constitution.validation import Fault, broken
from api.gate.checks.constitution import MAX_RULES
from api.gate.models import Decision, Reason, Remark, Rule, Strict

DraftStatus = Literal["draft", "in_review", "published", "rejected", "withdrawn"]


class Rules(Strict):
    """The whole of a constitution's rules; how they fit the tenant's tools is looked at where they are saved."""

    rules: list[Rule] = Field(max_length=MAX_RULES)

    @field_validator("rules")
    @classmethod
    def _valid(cls, rules: list[Rule]) -> list[Rule]:
        for fault in broken(rules):
            raise ValueError(f"rule {fault.rule_id}, {fault.pointer.rsplit('/', 1)[-1]}: {fault.message}")
        return rules


class NewConstitution(Rules):
    """The whole next version. `expected_version` is the one it was written against."""

    reason: Reason
    expected_version: int = Field(ge=1)


class NewDraft(Rules):
    """The whole of a next version, written against the version in force, which `base_version` is."""

    reason: Reason
    base_version: int = Field(ge=1)


class Unchecked(Strict):
    """Rules as they are being written: whatever is wrong with them is answered, not refused."""

    rules: list[dict[str, Any]] = Field(max_length=MAX_RULES)


class Verdict(Strict):
    """What was read, by its digest."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Remark = ""


class Rejection(Strict):
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Reason


class Withdrawal(Strict):
    reason: Remark = ""


class Restoration(Strict):
    reason: Reason


class Constitution(BaseModel):
    """One version. draft_id, author, digest and widened are null for versions from before there were drafts."""

    version: int
    rules: list[Rule]
    reason: str
    published_by: UUID | None = None
    published_at: datetime | None = None
    draft_id: UUID | None = None
    author: UUID | None = None
    digest: str | None = None
    widened: bool | None = None


class ConstitutionSummary(BaseModel):
    """One version without its rules. rules: how many it has. author, widened: null from before there were drafts."""

    version: int
    rules: int
    reason: str
    published_by: UUID | None
    published_at: datetime
    author: UUID | None
    widened: bool | None


class RuleAge(BaseModel):
    """The version since which a rule in force says what it says, and when that was published.

    at_least: it may be older; only the newest 30 versions are looked at.
    """

    id: str
    version: int
    published_at: datetime
    at_least: bool


class Draft(BaseModel):
    """A next version on its way.

    digest: of {base_version, rules} in RFC 8785 form; who publishes names it. widens: it may let more happen without a
    person than the version it was written against, so that somebody else than its author publishes it.
    """

    id: UUID
    base_version: int
    rules: list[Rule]
    reason: str
    digest: str
    widens: bool
    status: DraftStatus
    author: UUID
    origin_version: int | None
    amendment_id: UUID | None
    revision: int
    decided_by: UUID | None
    decided_at: datetime | None
    decision_reason: str | None
    version: int | None
    created_at: datetime
    updated_at: datetime


class Difference(BaseModel):
    """What the newer rules (`to`) let happen beyond the older ones (`from`); null where rules have no number yet."""

    from_version: int | None
    to_version: int | None
    widens: bool
    changes: list[RuleChange]


class Rebasing(Strict):
    """to_version: the version in force that was looked at. keep: of each rule in conflict, whose stays."""

    to_version: int = Field(ge=1)
    keep: dict[str, Side] = Field(default={}, max_length=MAX_RULES)


class Rebase(Difference):
    """A draft on top of the version in force, and what it then lets happen beyond that; nothing is written.

    overtaken: another version was published since it was written. since: what that changed. rules: what the draft
    would say, a rule in conflict as it is in force.
    """

    overtaken: bool
    since: list[RuleChange]
    conflicts: list[Conflict]
    rules: list[Rule]


class Validation(Difference):
    """What is wrong with rules, what is odd about them, and how they differ from those in force."""

    valid: bool
    errors: list[Fault]
    warnings: list[Fault]


class Simulation(Strict):
    """A proposal, and the rules to decide it under: given here, or those of a draft."""

    proposal: NewAction
    rules: list[Rule] | None = Field(default=None, max_length=MAX_RULES)
    draft_id: UUID | None = None

    @model_validator(mode="after")
    def _rules_of_one(self) -> "Simulation":
        if (self.rules is None) == (self.draft_id is None):
            raise ValueError("give rules, or the draft_id of a draft")
        for fault in broken(self.rules or []):
            raise ValueError(f"rule {fault.rule_id}: {fault.message}")
        return self


class Simulated(BaseModel):
    """The decision on one proposal under the rules in force and under others. Nothing was recorded."""

    in_force: Decision
    candidate: Decision
    differs: bool
