"""The human queue as the API shows it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator

from api.gate.classes import ExceptionClass
from api.gate.models import Decision, Reason, Remark, Strict

Sort = Literal["created_at", "expires_at", "severity", "amount"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Filters of the queue; None asks for everything.

    status: one of an exception's, or `decided` for every one but `open`. assigned: `me`, `none`, or a member's id.
    sort: newest first, first to end, most severe, or largest amount (in minor units, whichever the currency) first.
    of_others: only what this person has neither answered, nor proposed, nor edited.
    """

    status: str | None = None
    kind: str | None = None
    class_key: str | None = None
    severity: str | None = None
    workflow: str | None = None
    assigned: str | UUID | None = None
    created_before: datetime | None = None
    sort: Sort = "created_at"
    ids: list[UUID] | None = None
    of_others: UUID | None = None


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom one exception goes to. It may be one party in several ways, such as a name and an account.

    known: names of the directory's entries; cooling: those of them that are not trusted yet. unknown: what is not in
    the directory, as (`account`, `email`, `domain` or `name`, the text). account: one of the accounts is in it. left:
    how many more ways there are.
    """

    known: list[str] = field(default_factory=list)
    cooling: list[str] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    account: bool = False
    left: int = 0

    def told(self, *, objection: bool) -> "Recipients":
        """Without a name that the directory spells differently, where it knows the account and the gate did not object.

        objection: whether the check of counterparties is among what stopped it.
        """
        if objection or not self.account:
            return self
        others = [each for each in self.unknown if each[0] != "name"]
        return Recipients(self.known, self.cooling, others, self.account, self.left)


class Verdict(Strict):
    """A person's verdict on the payload whose digest they saw. `args` with `edit` only: the whole new arguments.

    provider_reference: of what was done by hand, where it is found there; with `answer` to a `manual` exception only.
    """

    verdict: Literal["approve", "reject", "edit", "answer"]
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    args: dict[str, Any] | None = None
    reason: Remark = ""
    provider_reference: str | None = Field(default=None, min_length=1, max_length=300)

    @model_validator(mode="after")
    def _fits(self) -> "Verdict":
        if (self.verdict == "edit") != (self.args is not None):
            raise ValueError("args goes with edit, and edit with args")
        if self.verdict != "approve" and not self.reason:
            raise ValueError("say why: a reason is needed for every verdict but approve")
        if self.provider_reference is not None and self.verdict != "answer":
            raise ValueError("a provider_reference is of what was done by hand: it goes with answer")
        return self


class Item(Strict):
    """An exception, and the digest of the payload that was shown of it."""

    id: UUID
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class Verdicts(Strict):
    """One verdict, with one reason, on several open exceptions of one class, each by the digest that was shown."""

    class_key: str = Field(pattern="^[0-9a-f]{64}$")
    items: list[Item] = Field(min_length=1, max_length=50)
    verdict: Literal["approve", "reject"]
    reason: Reason

    @model_validator(mode="after")
    def _once_each(self) -> "Verdicts":
        if len({item.id for item in self.items}) != len(self.items):
            raise ValueError("an exception is decided once: name each once")
        return self


class Repropose(Strict):
    """Proposes again what a kill switch stopped, as a person who saw the payload of this digest."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Reason


class Assignment(Strict):
    user_id: UUID | None


class NewComment(Strict):
    """What a person says about an exception to the others who decide."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class Comment(BaseModel):
    """name: null of who has left. text: empty once it is erased, at `erased_at`."""

    id: UUID
    exception_id: UUID
    user_id: UUID
    name: str | None
    text: str
    digest: str
    created_at: datetime
    erased_at: datetime | None


class Decided(BaseModel):
    """`approvals` counts those given of those required; the exception stays open until all are given."""

    id: UUID
    status: str
    action: dict[str, Any]
    approvals: dict[str, int] | None = None
    superseded_by: dict[str, Any] | None = None


class Refused(BaseModel):
    """Why nothing was changed."""

    status: int
    code: str
    detail: str


class Amount(BaseModel):
    """amount: minor units."""

    amount: int
    currency: str


class Counts(BaseModel):
    """Open exceptions: all, those assigned to who asks, and those assigned to nobody."""

    open: int
    mine: int
    unassigned: int


class DecidedOne(BaseModel):
    """What became of one of several: `decided`, or the `problem` for which nothing was changed of it."""

    id: UUID
    decided: Decided | None
    problem: Refused | None


class DecidedTogether(BaseModel):
    """One entry for each item, in the order in which they were sent."""

    items: list[DecidedOne]


class ExceptionSummary(BaseModel):
    """kind: `approval` waits for a verdict; `manual` was stopped by a kill switch and is done by hand, if at all.

    amount: where it is of one currency. stopped_by: the checks that stopped it. digest: of the payload to decide on.
    """

    id: UUID
    kind: str
    status: str
    severity: str
    summary: str
    action_id: UUID
    run_id: UUID
    workflow: str
    tool: str
    class_key: str | None
    assigned_to: UUID | None
    assigned_name: str | None
    effect: str
    digest: str
    amount: Amount | None
    stopped_by: list[str]
    expires_at: datetime
    created_at: datetime
    decided_at: datetime | None


class Recurrence(BaseModel):
    """How often a class of exceptions came within some days, this one included, and what people made of it."""

    days: int
    count: int
    open: int
    approved: int
    rejected: int
    edited: int
    answered: int
    expired: int
    first_seen: datetime
    last_seen: datetime


class ExceptionDetail(ExceptionSummary):
    """Everything needed to decide: the payload, why the gate stopped it, and what was observed, with trust labels.

    class: what it has in common with others; recurrence: of its class. Both are null of exceptions of before classes.
    """

    environment: str
    digest: str
    args: dict[str, Any]
    confidence: float | None
    rationale: str
    citations: list[str]
    subject: dict[str, Any] | None
    decision: Decision
    instruction: str
    observations: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    supersedes: UUID | None
    proposed_by: dict[str, Any]
    edited_by: UUID | None
    decided_by: UUID | None
    reason: str | None
    class_: ExceptionClass | None = Field(alias="class")
    recurrence: Recurrence | None
    kill_switch_id: UUID | None
    provider_reference: str | None
    reproposed_as: UUID | None


class Rate(BaseModel):
    """How often a class came within some days; per_week counts them as a week at least."""

    count: int
    days: float
    per_week: float


class Covering(BaseModel):
    """The amendment of a class that was adopted last, or else the one that is proposed.

    in_force: its rule is in the constitution of now and has not ended. before, after: how often the class came before
    that was adopted and since; null of what is proposed.
    """

    id: UUID
    kind: str
    status: str
    adopted_at: datetime | None
    constitution_version: int | None
    rule_id: str
    expires_at: datetime | None
    in_force: bool
    before: Rate | None
    after: Rate | None


class ClassSummary(BaseModel):
    """A class of exceptions and how often it came within the window; the most frequent come first."""

    class_: ExceptionClass = Field(alias="class")
    recurrence: Recurrence
    amendment: Covering | None


class Classes(BaseModel):
    """has_more: there are classes that came less often than all of these."""

    days: int
    items: list[ClassSummary]
    has_more: bool
