"""Alerts as the API shows them, and what people do about them."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from api.gate.models import Environment, Reason, Remark, Strict

AlertStatus = Literal["open", "acknowledged", "resolved"]
Severity = Literal["info", "warning", "critical"]


class Subject(BaseModel):
    type: str
    id: str


class AlertOwner(BaseModel):
    """Who answers for it: a member, by id and name, or a contact that was named."""

    user_id: UUID | None
    name: str | None
    contact: str | None


class Alert(BaseModel):
    """One matter that somebody has to know of. While it is not resolved, what happens again is counted on it.

    raised_by, resolved_by: `user:<id>`, `service:<id>` or `system:<function>`. detail holds no secrets.
    """

    id: UUID
    environment: Environment | None
    kind: str
    severity: Severity
    subject: Subject
    title: str
    detail: dict[str, Any]
    owner: AlertOwner
    status: AlertStatus
    occurrences: int
    raised_by: str
    raised_at: datetime
    last_raised_at: datetime
    acknowledged_by: UUID | None
    acknowledged_at: datetime | None
    acknowledgement: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    resolution: str | None


class Acknowledgement(Strict):
    """That somebody is on it; `note` says what they do."""

    note: Remark = ""


class Resolution(Strict):
    """That it is over, of something that no function can see to be well again."""

    reason: Reason


class NewOwner(Strict):
    """Which member answers for it from now on; null is nobody in particular."""

    user_id: UUID | None


class AlertEvent(BaseModel):
    """One thing that became of an alert. by: `user:<id>`, `service:<id>` or `system:<function>`; said: in words."""

    seq: int
    at: datetime
    type: str
    by: str
    by_name: str | None
    severity: Severity | None
    owner_id: UUID | None
    owner_name: str | None
    said: str | None


class AlertCounts(BaseModel):
    """How many alerts are not resolved, by state."""

    open: int
    acknowledged: int


class AlertState(BaseModel):
    id: UUID
    status: AlertStatus
    acknowledged_by: UUID | None
    acknowledged_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None


class ActionCounts(BaseModel):
    """Actions by what the gate said of them and by what became of them since.

    escalated: people were asked. escalation_rate: escalated of proposed; null where nothing was proposed.
    """

    proposed: int
    allowed: int
    escalated: int
    denied: int
    succeeded: int
    failed: int
    unknown: int
    dead_letter: int
    escalation_rate: float | None


class Day(ActionCounts):
    """Of the actions that were proposed on this day (UTC)."""

    day: date


class OpenBySeverity(BaseModel):
    critical: int
    high: int
    medium: int
    low: int


class OpenExceptions(BaseModel):
    """mine: assigned to who asks. next_ends_at: the nearest deadline."""

    open: int
    mine: int
    unassigned: int
    oldest_at: datetime | None
    next_ends_at: datetime | None
    by_severity: OpenBySeverity


class TimeToDecision(BaseModel):
    """From when an exception was opened until a person decided it, of those decided in the window."""

    decided: int
    median_seconds: float | None
    p90_seconds: float | None


class Moved(BaseModel):
    """Money that actions have moved. amount: minor units; what the tools' contracts label as amounts."""

    currency: str
    amount: int
    actions: int


class Money(BaseModel):
    """today: since midnight UTC, by when it succeeded. An action whose amount nobody knows is in neither."""

    today: list[Moved]
    window: list[Moved]


class LimitUse(BaseModel):
    """A limit of a live workflow and what it has counted in its own rolling window.

    amount, max_amount: minor units of `currency`. count, max_count: actions. per: what is counted apart; then it is the
    fullest of these that is shown. share: how full it is, 1 when it is used up.
    """

    workflow: str
    title: str
    environment: Environment
    name: str
    per: list[str]
    window_hours: int
    currency: str | None
    amount: int
    max_amount: int | None
    count: int
    max_count: int | None
    share: float


class Unsettled(BaseModel):
    """Actions whose outcome nobody knows, and actions that were given up."""

    unknown: int
    dead_letter: int


class ConnectionHealth(BaseModel):
    """ending: active, and the consent ends within seven days."""

    active: int
    degraded: int
    expired: int
    ending: int


class Setup(BaseModel):
    """What a tenant has. live_workflows: with a live version. keys: not revoked. actions: was there ever one."""

    connections: int
    live_workflows: int
    keys: int
    actions: bool


class Metrics(BaseModel):
    """Numbers of the tenant, or of one environment. since: the beginning of the first day.

    kill_switches: engaged ones, whichever the environment. loops_failing: live workflows that run by themselves and
    whose last run failed. limits: at most 50, the fullest first.
    """

    as_of: datetime
    since: datetime
    days: list[Day]
    totals: ActionCounts
    time_to_decision: TimeToDecision
    exceptions: OpenExceptions
    money: Money
    limits: list[LimitUse]
    unsettled: Unsettled
    connections: ConnectionHealth
    kill_switches: int
    loops_failing: int
    setup: Setup


class Waiting(BaseModel):
    """Something that waits for a second person.

    id: of the draft, amendment or change; of a version its workflow's slug and number, as in `pay-bills/3`. name: as
    people gave it. author_id: who may not decide it. ends_at: when it lapses, if it does.
    """

    kind: Literal["workflow_version", "constitution_draft", "amendment", "directory_change"]
    id: str
    name: str
    environment: Environment | None
    author_id: UUID
    since: datetime
    ends_at: datetime | None
