"""Amendments as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from api.gate.models import Currency, Reason, Remark, Rule, Slug, Strict
from api.replay.models import Difference, Flip, NotReplayed, Report, Totals

Status = Literal["proposed", "adopted", "rejected", "withdrawn", "lapsed"]
#: Flips, and differences, that an amendment keeps one by one; contradictions come first.
KEPT = 500


class WantedBounds(Strict):
    """Bounds that are asked for; what is left out is as narrow as can be.

    Tighter than proposed, or looser as far as people's decisions carry: amounts up to the most that was approved in the
    class.
    """

    counterparties: list[Annotated[str, StringConstraints(max_length=400)]] | None = Field(default=None, max_length=200)
    amounts: dict[Currency, tuple[int, int]] | None = None
    tiers: list[Annotated[str, StringConstraints(max_length=100)]] | None = Field(default=None, max_length=50)
    workflows: list[Slug] | None = Field(default=None, max_length=50)


class Narrowest(BaseModel):
    """The rule that a decision speaks for, before anybody proposes it; nothing is recorded, and its id is not yet one.

    most: what its amounts may be raised to, in minor units by currency. latest: the last moment it may end at.
    """

    kind: Literal["loosen", "tighten"]
    rule: Rule
    most: dict[Currency, int]
    latest: datetime


class NewAmendment(Strict):
    """Why the class need not wait for a person again, or must not happen again. expires_at: 90 days if not said."""

    reason: Reason
    bounds: WantedBounds | None = None
    expires_at: AwareDatetime | None = None


class Adoption(Strict):
    """What was read, by its digest.

    acknowledge_contradictions: it allows what people decided against, and that is meant.
    """

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    expected_version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    acknowledge_contradictions: bool = False
    reason: Remark = ""


class Rejection(Strict):
    reason: Reason


class Withdrawal(Strict):
    reason: Remark = ""


class Tried(BaseModel):
    """What the rule would have decided otherwise, beside the rules of `version`, in the decisions that were looked at.

    flips: at most 500, those that go against a person first. contradictions_to_allow: how many flips would allow what a
    person decided against. complete: there was nothing older to look at.
    """

    version: int
    examined: int
    complete: bool
    not_replayable: list[NotReplayed]
    flips_to: Totals
    flips: list[Flip]
    contradictions: int
    contradictions_to_allow: int
    differences: list[Difference]

    @classmethod
    def of(cls, version: int, report: Report) -> "Tried":
        flips = sorted(report.flips, key=lambda flip: not flip.contradicts)
        return cls(
            version=version,
            examined=report.examined,
            complete=report.complete,
            not_replayable=report.not_replayable,
            flips_to=report.flips_to,
            flips=flips[:KEPT],
            contradictions=len(report.contradictions),
            contradictions_to_allow=sum(flip.after == "allow" for flip in report.contradictions),
            differences=report.differences[:20],
        )


class AmendmentSummary(BaseModel):
    """A proposed rule. kind: it lets more happen without a person, or less."""

    id: UUID
    status: Status
    kind: Literal["loosen", "tighten"]
    environment: str
    exception_id: UUID
    class_key: str
    rule: Rule
    digest: str
    reason: str
    proposed_by: UUID
    contradictions: int
    acknowledged: bool
    decided_by: UUID | None
    decided_at: datetime | None
    decision_reason: str | None
    constitution_version: int | None
    created_at: datetime


class Amendment(AmendmentSummary):
    """contradictions: flips to allow that a person decided against; acknowledged: whoever adopted it knew of them."""

    backtest: Tried
    exception_class: dict[str, Any] | None = None
