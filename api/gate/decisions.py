"""What the gate answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from api.gate.access_spec import Approvals
from api.gate.contracts import ArgumentRole
from api.gate.vocabulary import Outcome, Role, Strict, cut


class Finding(Strict):
    """What one check contributes: the control it serves (1 to 9), and the rule or setting it rests on.

    A message or pointer that quotes too much of a proposal is cut. liftable: false where no rule lifts it although
    rules lift others of its check, because what it says is a contradiction and no threshold.
    """

    check: str
    outcome: Outcome
    message: Annotated[str, cut(3000)]
    control: int = Field(ge=1, le=9)
    rule_id: str | None = None
    setting: str | None = None
    pointer: Annotated[str | None, cut(300)] = None
    approvals: Approvals | None = Field(default=None, exclude_if=lambda value: value is None)
    liftable: bool = Field(default=True, exclude_if=lambda value: value)


#: Where a value was found, most trusted first; `none`: nowhere that counts.
Source = Literal["instruction", "trusted_record", "directory", "metadata", "derived", "none"]


class Ground(Strict):
    """Where one sink argument's value was found. `where` says it in full: an observation and a pointer, or a sum."""

    pointer: Annotated[str, cut(300)]
    role: ArgumentRole
    source: Source
    where: Annotated[str, cut(500)] = ""


class Signal(Strict):
    """A passage of untrusted text that reads like an instruction; shown to the reviewer, and never the only defence.

    start, end: of the passage, in characters of the text at `pointer` of the observation.
    """

    observation_id: UUID
    pointer: Annotated[str, cut(300)]
    kind: str
    excerpt: Annotated[str, cut(200)]
    start: int
    end: int


class RiskFactor(Strict):
    """One thing that raises the score (points above 0) or lowers it (a mitigation, below 0)."""

    name: str
    points: int
    why: str


class Risk(Strict):
    """The risk score, 0 to 100: the sum of its factors and mitigations, held within those bounds."""

    score: int = Field(ge=0, le=100)
    factors: list[RiskFactor] = []
    mitigations: list[RiskFactor] = []


class LimitClaim(Strict):
    """What this action takes of one limit; reserved when the decision is recorded, unless it is denied.

    over: it does not fit, which the decision knows. exact: the state was read by a rule and must be that of now.
    """

    key: Annotated[str, cut(500)]
    name: str
    window_seconds: int
    currency: str | None
    amount: int
    count: int
    max_amount: int | None
    max_count: int | None
    over: bool
    exact: bool = False
    seen: dict[str, int] | None = None


class RequiredApprovals(Strict):
    """What an action waits for: so many distinct people, of these roles, at this level; 0 people when nobody."""

    count: int = Field(ge=0, le=10)
    roles: list[Role]
    aal: Literal["aal1", "aal2"]


class Decision(Strict):
    """The verdict on one proposal, with every finding and the versions it cites.

    rules_evaluated: every rule in force for the tool, matched or not.
    """

    outcome: Outcome
    findings: list[Finding]
    required_approvals: RequiredApprovals
    risk: Risk | None = None
    grounds: list[Ground] = []
    signals: list[Signal] = []
    limits: list[LimitClaim] = []
    rules_evaluated: list[str]
    rules_matched: list[str]
    constitution_version: int
    workflow_version: int
    contract_version: int | None
    decided_at: datetime
