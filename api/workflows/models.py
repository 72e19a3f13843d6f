"""Workflows and kill switches as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import (
    AccessSpec,
    Approvals,
    DataClass,
    Environment,
    Limit,
    Outbound,
    Reason,
    RiskThresholds,
    Slug,
    Strict,
    Title,
)
from api.gate.vocabulary import Pseudonym
from api.workflows.changes import Change


class NewWorkflow(Strict):
    slug: Slug
    environment: Environment
    title: Title
    spec: AccessSpec


class NewVersion(Strict):
    spec: AccessSpec


class Approval(Strict):
    """`spec_digest`: of the spec that was read; another one is not approved.

    compared_with: the version that was live when it was read, null for none; when another is live now, nothing happens.
    """

    reason: Reason
    spec_digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    compared_with: int | None = Field(default=None, ge=1)


class Rejection(Strict):
    reason: Reason


class WorkflowVersion(BaseModel):
    """`digest` names the spec; `reason` is why the version was approved, or sent back to its author."""

    slug: str
    version: int
    status: Literal["draft", "in_review", "live", "superseded"]
    id: UUID | None = None
    environment: Environment | None = None
    spec: AccessSpec | None = None
    digest: str | None = None
    author: UUID | None = None
    approved_by: UUID | None = None
    reason: str | None = None
    created_at: datetime | None = None


class Difference(BaseModel):
    """What `to_version` permits beyond `from_version`; without one, everything is new."""

    slug: str
    from_version: int | None
    to_version: int
    widens: bool
    changes: list[Change]


class ShownLimit(Limit):
    """text: what it says, in words."""

    text: str


class KeptFor(BaseModel):
    """For how many days what was read is kept; by_class: by data class, where that is shorter."""

    days: int
    by_class: dict[DataClass, int]


class Workflow(BaseModel):
    """`stage`, `tools`, `retention`, `limits`: of the live version. stopped_by: how many engaged kill switches stop all
    of it; connections_down: how many connections that the live version names are not active.
    """

    id: UUID
    slug: str
    environment: Environment
    title: str
    live_version: int | None
    stage: Literal["shadow", "supervised", "autonomous"] | None
    tools: list[str]
    retention: KeptFor | None
    limits: list[ShownLimit]
    newest_version: int
    newest_status: Literal["draft", "in_review", "live", "superseded"]
    stopped_by: int
    connections_down: int
    created_at: datetime


class NewKillSwitch(Strict):
    """`target`: id of the workflow, connection or service account, or name of the tool; none for the tenant."""

    scope: Literal["tenant", "workflow", "connection", "tool", "service_account"]
    target: str | None = Field(default=None, max_length=200)
    reason: Reason


class Release(Strict):
    """`stage`: how far. `drafts`: what is proposed waits for people and nothing executes; `one_at_a_time`: one after
    the other; without any, and with `released`, it is over. It only goes forward.
    """

    reason: Reason
    stage: Literal["drafts", "one_at_a_time", "released"] = "released"


class Stopped(BaseModel):
    """An action that had not left when a switch was engaged."""

    action_id: UUID
    environment: str
    tool: str
    since: datetime


class StoppedAttempt(Stopped):
    """Claimed and provably not sent: it was ended, and waits again. amounts: in minor units."""

    attempt_id: UUID
    amounts: list[dict[str, Any]]


class InFlight(StoppedAttempt):
    """Had left already, or could at any moment: a call (`executor`) or a permit (`client`).

    since: when; lease_expires_at: until when its outcome is known or called unknown. now, attempt_ended, ended_at:
    what became of it.
    """

    kind: Literal["executor", "client"]
    lease_expires_at: datetime
    now: str
    attempt_ended: str
    ended_at: datetime | None


class Proof(BaseModel):
    """What a switch stopped, as the database saw it at the moment from which on nothing started; digest: of all of it.

    queued: authorized; waiting: for people; leased: claimed and not sent; in_flight: could not be stopped any more;
    unsettled: of the queued and others, what an earlier attempt may have done.
    """

    digest: str
    created_at: datetime
    queued: list[Stopped]
    waiting: list[Stopped]
    leased: list[StoppedAttempt]
    in_flight: list[InFlight]
    unsettled: list[Stopped]


class KillSwitch(BaseModel):
    """`stopped`: actions that will not start while it is engaged; `in_flight`: those that have started and not ended.

    manual: open items of the queue of what people do by hand meanwhile.
    """

    id: UUID
    scope: str
    target: str
    status: Literal["engaged", "released"]
    stage: Literal["engaged", "drafts", "one_at_a_time", "released"]
    reason: str
    engaged_at: datetime
    staged_at: datetime | None
    released_at: datetime | None
    stopped: list[UUID]
    in_flight: list[UUID]
    manual: int


class KillSwitchDetail(KillSwitch):
    """With the proof of what it stopped; null of switches of before proofs."""

    proof: Proof | None


class ReadField(BaseModel):
    pointer: str
    data_classes: list[DataClass]
    trust: Literal["trusted", "metadata", "untrusted", "partly trusted"]


class Amount(BaseModel):
    """Minor units, and how people write them."""

    currency: str
    amount: int
    text: str


class NeededApprovals(Approvals):
    text: str


class GrantedTool(BaseModel):
    """`arguments`: those it may be given, null for all; `records`: by argument the only values it may have.

    declared: the tenant's own people say what the tool is, and its own client executes it; no provider is involved.
    """

    tool: str
    title: str
    provider: str
    declared: bool
    effect: str | None
    arguments: list[str] | None
    records: dict[str, list[str | int]]


class ReadTool(GrantedTool):
    """`asserted`: what a client says that it read itself is `untrusted`, or as trusted as the `contract` says."""

    fields: list[ReadField]
    asserted: Literal["untrusted", "contract"]


class WriteTool(GrantedTool):
    """`waits_because`: why it always waits for a person; empty when the workflow may decide alone, up to `values`.

    sends: classes of data that may be sent; carries: those that its arguments have by what they are. outbound: the
    messages to outsiders of which nobody sees a draft; none where it is null.
    """

    reversible: bool
    idempotency: str | None
    sends: list[DataClass]
    carries: list[DataClass]
    waits_because: list[str]
    confidence_min: float
    values: list[Amount]
    approvals: NeededApprovals
    outbound: Outbound | None


class BoundConnection(BaseModel):
    """`read_only_by`: what keeps a read connection from writing, the provider itself or the gateway alone."""

    id: UUID
    provider: str
    title: str
    access: Literal["read", "write"]
    account: str | None
    environment: Environment | None
    status: str
    read_only_by: Literal["provider", "gateway"] | None


class Limits(BaseModel):
    """When a person is asked. counterparty_approvals: by how many, for a new payee or new bank details."""

    confidence_min: float
    approval_hours: int
    values: list[Amount]
    approvals: NeededApprovals
    windows: list[ShownLimit]
    risk: RiskThresholds
    counterparty_approvals: int
    insiders: list[str]


class Retention(BaseModel):
    days: int
    by_class: dict[DataClass, int]


class Control(BaseModel):
    """One of the nine controls: what was found, and what is missing with what to do about it."""

    control: int
    name: str
    meaning: str
    verified: bool
    evidence: list[str]
    missing: list[str]


class Readiness(BaseModel):
    """Whether a version may go live at `checked_at`: with all nine controls verified, and not before."""

    slug: str
    version: int
    status: str
    environment: Environment
    checked_at: datetime
    ready: bool
    controls: list[Control]


class UngrantedRead(BaseModel):
    """A read around a write that the spec does not grant; `message`: what is lost without it."""

    pointer: str
    message: str


class AccessSpecDocument(BaseModel):
    """What a reviewer reads: the spec in force or in review, what follows from it, and what it changes.

    warnings: reads around writes that are not granted; they refuse nothing.
    """

    slug: str
    title: str
    version: int
    status: str
    environment: Environment
    digest: str
    live_version: int | None
    author_name: str | None
    approver_name: str | None
    reason: str | None
    purpose: str
    owner: str
    escalation_contact: str
    stage: Literal["shadow", "supervised", "autonomous"]
    reads: list[ReadTool]
    writes: list[WriteTool]
    connections: list[BoundConnection]
    limits: Limits
    data_classes: list[DataClass]
    pseudonyms: list[Pseudonym]
    drive: list[str]
    retention: Retention
    compared_with: int | None
    changes: list[Change]
    readiness: Readiness
    warnings: list[UngrantedRead]
    can_read: list[str]
    can_write: list[str]
    decides_alone: list[str]
    always_waits: list[str]
    spec: dict[str, Any]
