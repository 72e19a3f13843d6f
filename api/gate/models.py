"""What the gate reads and what it answers. Nothing here touches a database, a clock or a network."""

import re
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from api.gate.arguments import canonical

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+){1,3}$", max_length=120)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~[01])*)*$", max_length=200)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
#: Names of tools, where `*` stands for any characters and `?` for one. What could never name a tool is refused: a rule
#: that silently applies to nothing protects nobody.
ToolPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*?]+$", max_length=120)]
#: An object of JSON, as it is read back from its stored form; see arguments.canonical.
Arguments = Annotated[dict[str, Any], AfterValidator(canonical)]
#: A class of data as a contract labels the parts of an answer with; what it leaves unlabelled is `internal`.
DataClass = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$")]
Days = Annotated[int, Field(ge=1, le=3650)]
Role = Literal["owner", "admin", "approver", "operator", "developer", "auditor"]
Environment = Literal["sandbox", "production"]
Access = Literal["read", "write"]
Effect = Literal[
    "read", "write", "outbound_message", "mass_outbound", "money_movement", "pricing", "destructive", "bulk",
    "legal", "employment", "regulated", "permission_change", "credential_change",
]  # fmt: skip

#: Effects that always wait for a human (control 9); private.is_hard_gate in the database is the same list.
HARD_GATES: frozenset[str] = frozenset(
    {
        "destructive", "bulk", "money_movement", "pricing", "legal", "employment", "regulated",
        "permission_change", "credential_change", "mass_outbound",
    }
)  # fmt: skip


#: What nobody sees and what changes what everybody sees: control characters, and those that turn the direction of text.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def unseen(text: str, *, lines: bool) -> str | None:
    """Why a text is not what its reader takes it for, or None; with `lines` it may have several."""
    found = _UNSEEN.search(text.replace("\n", "") if lines else text)
    if found is None:
        return None
    return f"it holds a control character or one that turns the direction of text (U+{ord(found[0]):04X}); leave it out"


def _plain(text: str, *, lines: bool) -> str:
    if why := unseen(text, lines=lines):
        raise ValueError(why)
    return text


#: What people write in one line, and in several, and others read and decide by.
LINE, PROSE = AfterValidator(partial(_plain, lines=False)), AfterValidator(partial(_plain, lines=True))
Title = Annotated[str, StringConstraints(min_length=1, max_length=200), LINE]
Name = Annotated[str, StringConstraints(max_length=200), LINE]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000), PROSE]
Remark = Annotated[str, StringConstraints(max_length=2000), PROSE]


def _number(value: Any) -> Any:
    """Refuses what Python takes for a number and JSON does not; a negative zero is a zero."""
    if isinstance(value, bool | str | bytes):
        raise ValueError("not a number")
    return value + 0.0 if isinstance(value, float) else value


#: What an agent says of its own certainty, 0 to 1. `true` is no number: as one, it would be all of it.
Confidence = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]


def _cut(length: int) -> BeforeValidator:
    return BeforeValidator(lambda text: f"{text[: length - 1]}…" if text and len(text) > length else text)


class Strict(BaseModel):
    """Frozen, and refuses members that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lenient(BaseModel):
    """Frozen, and passes over members that a later version added."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Outcome(StrEnum):
    """A verdict; the most severe of all findings wins."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"

    @property
    def severity(self) -> int:
        return ("allow", "escalate", "deny").index(self.value)


class Approvals(Strict):
    """How many distinct people must approve, with which roles, at which assurance level."""

    count: int = Field(default=1, ge=1, le=10)
    roles: list[Role] = Field(default=["owner", "approver"], min_length=1)
    aal: Literal["aal1", "aal2"] = "aal1"


class ToolGrant(Strict):
    """What a workflow may do with one tool.

    read_fields: JSON pointers (`*` matches any item) of the answer that may be kept; empty keeps nothing.
    arguments: which arguments may be given; None means all that the contract has.
    records: for an argument (JSON pointer), the only values allowed.
    data_classes: of a tool that writes: the classes of data that may be sent there.
    irreversible_alone: it may do without a person what cannot be undone; said here, so that a reviewer reads it.
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


class Binding(Strict):
    """The connections through which a workflow reads from and writes to one provider."""

    read: UUID | None = None
    write: UUID | None = None


class AccessSpec(Strict):
    """Everything that one version of a workflow may do: the document that a reviewer approves.

    stage: `shadow` records only, `supervised` asks a human before every side effect, `autonomous` lets the gate decide.
    confidence_min: below it a proposal waits for a human. value_max: minor units by currency; above it, too.
    approval_hours: how long a proposal may wait for its approvals and then for its execution.
    data_classes: the classes of data that may be read and kept.
    retention_days: how long what was read is kept; retention: by data class, and only shorter.
    owner, escalation_contact: e-mail addresses of members, who must be such when the version is submitted and approved.
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

    @field_validator("retention")
    @classmethod
    def _only_shorter(cls, retention: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        days = info.data.get("retention_days", 0)
        longer = sorted(data_class for data_class, kept in retention.items() if kept > days)
        if longer:
            raise ValueError(f"a class is kept as long as everything else or shorter; {', '.join(longer)} is longer")
        return retention


class Argument(Lenient):
    """The role that an argument plays; `currency` points to the argument that names an amount's currency."""

    role: Literal["recipient", "account", "amount", "url", "object_id", "free_text", "quantity", "setting"]
    currency: Pointer | None = None


class Output(Lenient):
    """By JSON pointer: which parts of an answer are trusted, and the data class of each."""

    trust: dict[Pointer, Literal["trusted", "untrusted"]] = {"": "untrusted"}
    data_classes: dict[Pointer, str] = {}


class ReadBack(Lenient):
    """How to learn from the provider whether a write happened: it did when `found` exists in the answer.

    equals: where the answer may be about others too, what one of the values at `found` has to be.
    """

    tool: ToolName
    args: dict[str, Any] = {}
    found: Pointer
    equals: str | None = Field(default=None, exclude_if=lambda value: value is None)


class Execution(Lenient):
    """How a tool is called: an HTTP request through a connection.

    origin: which of the provider's addresses. path, query, headers and template take `{argument}` placeholders, and
    those of ids that are kept with the connection; template is the body, as JSON. must_equal: what an argument has to
    be for this connection, a template of its ids. What came later is left out of the stored form where it says
    nothing, so that contracts that do not use it stay what they were.
    """

    mode: Literal["http"] = "http"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    body: Literal["json", "form", "rfc822", "none"] = "none"
    idempotency_header: str | None = None
    origin: str = Field(default="api", exclude_if=lambda value: value == "api")
    query: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})
    headers: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})
    template: dict[str, Any] | list[Any] | None = Field(default=None, exclude_if=lambda value: value is None)
    must_equal: dict[str, str] = Field(default={}, exclude_if=lambda value: value == {})


class Contract(Lenient):
    """What a tool is, takes, answers and does; a change is a new version.

    idempotency_seconds: how long the provider remembers an idempotency key; None is for ever.
    """

    name: ToolName
    version: int = Field(ge=1)
    provider: str
    title: str
    access: Access
    effect: Effect
    reversible: bool
    idempotency: Literal["key", "natural", "none"]
    idempotency_seconds: int | None = Field(default=None, exclude_if=lambda value: value is None)
    input_schema: dict[str, Any]
    arguments: dict[Pointer, Argument] = {}
    output: Output = Output()
    execution: Execution
    read_back: ReadBack | None = None


class Rule(Strict):
    """One rule of a constitution.

    when: a CEL expression over `action`, `args`, `subject`, `workflow`, `principal` and `now`; true is a match.
    allow: lifts the soft checks it names, and nothing else.
    """

    id: Slug
    title: str = Field(min_length=1, max_length=200)
    principle: str = Field(min_length=1, max_length=2000)
    applies_to: list[ToolPattern] = Field(default=["*"], min_length=1, max_length=50)
    when: str = Field(min_length=1, max_length=2000)
    effect: Literal["deny", "require_approval", "allow"]
    approvals: Approvals | None = None
    lifts: list[Literal["confidence", "value"]] = []
    expires_at: AwareDatetime | None = None


class ConnectionFacts(Lenient):
    provider: str
    access: Access
    environment: Environment
    status: str


class KillSwitchFacts(Lenient):
    id: UUID
    scope: Literal["tenant", "workflow", "connection", "tool", "service_account"]
    target: str
    reason: str


class WorkflowFacts(Lenient):
    id: UUID
    slug: str
    environment: Environment
    version: int
    spec: AccessSpec


class ConstitutionFacts(Lenient):
    version: int
    rules: list[Rule]


class KnownTool(Lenient):
    version: int
    effect: Effect


class Facts(Lenient):
    """Everything a decision rests on, of one epoch of one tenant and one workflow."""

    epoch: int
    tenant_id: UUID
    workflow: WorkflowFacts
    contracts: dict[str, Contract]
    known_tools: dict[str, KnownTool]
    connections: dict[UUID, ConnectionFacts]
    kill_switches: list[KillSwitchFacts]
    constitution: ConstitutionFacts

    def effects_of(self, tool: str) -> set[str]:
        """What a tool does, by its contract and by the catalogue; the same, or both if they should ever differ."""
        return {known.effect for known in (self.contracts.get(tool), self.known_tools.get(tool)) if known}

    def connection_of(self, contract: Contract) -> UUID | None:
        """The connection through which the workflow uses a tool."""
        binding = self.workflow.spec.connections.get(contract.provider)
        return getattr(binding, contract.access) if binding else None


class Proposer(Lenient):
    """Who proposes: kind `user`, `service` or `system`, and its id."""

    kind: Literal["user", "service", "system"]
    id: UUID | None


class Proposal(Lenient):
    """One proposed tool call, as the agent made it (or as a person edited it)."""

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


class Finding(Strict):
    """What one check contributes: the control it serves (1 to 9), and the rule or setting it rests on.

    A message or pointer that quotes too much of a proposal is cut.
    """

    check: str
    outcome: Outcome
    message: Annotated[str, _cut(3000)]
    control: int = Field(ge=1, le=9)
    rule_id: str | None = None
    setting: str | None = None
    pointer: Annotated[str | None, _cut(300)] = None


class RequiredApprovals(Strict):
    """What an action waits for: so many distinct people, of these roles, at this level; 0 people when nobody."""

    count: int = Field(ge=0, le=10)
    roles: list[Role]
    aal: Literal["aal1", "aal2"]


class Decision(Strict):
    """The verdict on one proposal, with every finding and the versions it cites."""

    outcome: Outcome
    findings: list[Finding]
    required_approvals: RequiredApprovals
    rules_evaluated: list[str]
    rules_matched: list[str]
    constitution_version: int
    workflow_version: int
    contract_version: int | None
    decided_at: datetime
