"""What one version of a workflow may do: the document that a reviewer approves."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StrictBool, StringConstraints, ValidationInfo, field_validator, model_validator

from api.gate.loop_spec import LoopSpec
from api.gate.vocabulary import (
    PSEUDONYMS,
    Access,
    Currency,
    DataClass,
    Days,
    Pointer,
    Pseudonym,
    Role,
    Slug,
    Strict,
    ToolName,
)


class Approvals(Strict):
    """How many distinct people must approve, with which roles, at which assurance level."""

    count: int = Field(default=1, ge=1, le=10)
    roles: list[Role] = Field(default=["owner", "approver"], min_length=1)
    aal: Literal["aal1", "aal2"] = "aal1"


#: An address, `@domain` for everybody there, or the name of a channel.
Recipient = Annotated[str, StringConstraints(min_length=1, max_length=320)]


class Outbound(Strict):
    """What a reviewer read of the messages that a tool may send to outsiders without a draft being looked at each time.

    recipients: addresses, `@domain` for everybody there, names of channels, or `directory` for everybody whom the
    tenant vouches for. templates: whole texts, with `{placeholder}` for values that are grounded. any_text: to these
    recipients a text need not be a template.
    """

    recipients: list[Recipient] = Field(default=[], max_length=500)
    templates: list[Annotated[str, StringConstraints(min_length=1, max_length=5000)]] = Field(default=[], max_length=50)
    any_text: bool = False


class ToolGrant(Strict):
    """What a workflow may do with one tool.

    read_fields: JSON pointers (`*` matches any item) of the answer that may be kept; empty keeps nothing.
    arguments: which arguments may be given; None means all that the contract has.
    records: for an argument (JSON pointer), the only values allowed.
    data_classes: of a tool that writes: the classes of data that may be sent there.
    irreversible_alone: it may do without a person what cannot be undone; said here, so that a reviewer reads it.
    outbound: which messages to outsiders a reviewer has read; None: each is a draft that a person looks at.
    asserted: of a tool that reads: what the client says it read itself is `untrusted`, or as the `contract` labels it.
    """

    access: Access
    read_fields: list[Pointer] = []
    arguments: list[Pointer] | None = None
    records: dict[Pointer, list[str | int]] = {}
    confidence_min: float | None = Field(default=None, ge=0, le=1)
    value_max: dict[Currency, int] = {}
    approvals: Approvals | None = None
    data_classes: list[DataClass] = []
    irreversible_alone: bool = False
    outbound: Outbound | None = None
    asserted: Literal["untrusted", "contract"] = "untrusted"


class Binding(Strict):
    """The connections through which a workflow reads from and writes to one provider."""

    read: UUID | None = None
    write: UUID | None = None


class Limit(Strict):
    """A ceiling on what the actions of a window may come to together.

    per: what is counted apart: each `agent` (who proposes), `counterparty` or `tool`; the workflow always is.
    tools: which tools count; empty is all that write. window_hours: rolling, counted back from each proposal.
    max_amount: minor units of `currency`; max_count: actions. exceeded: whether a person decides or nobody does.
    """

    name: Slug
    per: list[Literal["agent", "counterparty", "tool"]] = []
    tools: list[ToolName] = []
    window_hours: int = Field(ge=1, le=8784)
    currency: Currency | None = None
    max_amount: int | None = Field(default=None, ge=0, le=2**53 - 1)
    max_count: int | None = Field(default=None, ge=0, le=10**9)
    exceeded: Literal["escalate", "deny"] = "escalate"

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if self.max_amount is None and self.max_count is None:
            raise ValueError("a limit has a max_amount, a max_count, or both")
        if (self.max_amount is None) != (self.currency is None):
            raise ValueError("max_amount goes with currency")
        if len(set(self.per)) != len(self.per):
            raise ValueError("per names something twice")
        return self


class RiskThresholds(Strict):
    """Where the risk score (0 to 100) begins to wait for a person, and where nobody can approve any more."""

    escalate_at: int = Field(default=50, ge=1, le=100)
    deny_at: int = Field(default=100, ge=2, le=101)

    @model_validator(mode="after")
    def _in_order(self) -> "RiskThresholds":
        if self.deny_at <= self.escalate_at:
            raise ValueError("deny_at is above escalate_at; 101 is never reached")
        return self


class AccessSpec(Strict):
    """Everything that one version of a workflow may do: the document that a reviewer approves.

    stage: `shadow` records only, `supervised` asks a human before every side effect, `autonomous` lets the gate decide.
    confidence_min: below it a proposal waits for a human. value_max: minor units by currency; above it, too.
    approval_hours: how long a proposal may wait for its approvals and then for its execution.
    data_classes: the classes of data that may be read and kept.
    retention_days: how long what was read is kept; retention: by data class, and only shorter.
    owner, escalation_contact: e-mail addresses of members, who must be such when the version is submitted and approved.
    limits: ceilings over windows of time. risk: thresholds of the risk score.
    counterparty_approvals: how many people approve what goes to a new payee or to new bank details.
    insiders: who is no outsider, for messages: addresses, `@domain`, names of channels.
    loop: what drives its runs here, without an agent of the tenant's own; without it, a client drives them.
    pseudonyms: what an agent and a model are shown as tokens (`<IBAN_1_1>`) instead of what was read; true: all kinds.
    """

    purpose: str = Field(min_length=1, max_length=2000)
    owner: str = Field(min_length=1, max_length=320)
    escalation_contact: str = Field(min_length=1, max_length=320)
    stage: Literal["shadow", "supervised", "autonomous"] = "supervised"
    connections: dict[str, Binding] = {}
    tools: dict[ToolName, ToolGrant] = Field(min_length=1)
    confidence_min: float = Field(default=0.8, ge=0, le=1)
    value_max: dict[Currency, int] = {}
    approvals: Approvals = Approvals()
    approval_hours: int = Field(default=72, ge=1, le=720)
    data_classes: list[DataClass] = []
    retention_days: Days = 365
    retention: dict[DataClass, Days] = {}
    limits: list[Limit] = Field(default=[], max_length=50)
    risk: RiskThresholds = RiskThresholds()
    counterparty_approvals: int = Field(default=2, ge=1, le=10)
    insiders: list[Recipient] = Field(default=[], max_length=500)
    loop: LoopSpec | None = Field(default=None, exclude_if=lambda value: value is None)
    pseudonyms: StrictBool | list[Pseudonym] = Field(default=False, exclude_if=lambda value: value is False)

    @property
    def hidden(self) -> frozenset[Pseudonym]:
        """The kinds of values that are shown as tokens."""
        if isinstance(self.pseudonyms, bool):
            return PSEUDONYMS if self.pseudonyms else frozenset()
        return frozenset(self.pseudonyms)

    @field_validator("retention")
    @classmethod
    def _only_shorter(cls, retention: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        days = info.data.get("retention_days", 0)
        longer = sorted(data_class for data_class, kept in retention.items() if kept > days)
        if longer:
            raise ValueError(f"a class is kept as long as everything else or shorter; {', '.join(longer)} is longer")
        return retention

    @field_validator("limits")
    @classmethod
    def _each_once(cls, limits: list[Limit]) -> list[Limit]:
        if len({limit.name for limit in limits}) != len(limits):
            raise ValueError("two limits have the same name")
        return limits
