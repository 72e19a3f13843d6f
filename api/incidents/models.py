"""Incidents as the API shows them, and what people and keys say of them."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from api.gate.models import LINE, PROSE, Currency, Environment, Remark, Strict

Status = Literal["open", "acknowledged", "contained", "resolved", "reviewed"]
#: What a list is asked for: one status, or `unresolved` for the first three.
Asked = Literal["unresolved", "open", "acknowledged", "contained", "resolved", "reviewed"]
Severity = Literal["low", "medium", "high", "critical"]
#: What an incident may be opened about, and what an entry may name.
Kind = Literal["alert", "action", "run", "exception", "connection", "kill_switch", "incident"]
EntryKind = Literal[
    "opened", "acknowledged", "contained", "resolved", "reviewed", "note", "alert_joined", "owner_changed",
    "severity_changed", "follow_up_added", "follow_up_closed",
]  # fmt: skip
Story = Annotated[str, StringConstraints(max_length=10_000), PROSE]
#: Words, not only white space.
Words = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True), PROSE]
Headline = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), LINE]
Told = Annotated[str, StringConstraints(min_length=1, max_length=10_000, strip_whitespace=True), PROSE]
Lesson = Annotated[str, StringConstraints(max_length=5000), PROSE]


class Link(Strict):
    """Something of the tenant, by its kind and id."""

    type: Kind
    id: UUID


class Subject(BaseModel):
    """What an incident is about. type: a `Kind`, or whatever else its first alert was about."""

    type: str
    id: str


class Owner(BaseModel):
    """Who answers for it; name: null of somebody who has left the organisation."""

    user_id: UUID
    name: str | None


class IncidentState(BaseModel):
    """Where an incident stands. *_by: `user:<id>`, `service:<id>` or `system:<function>`."""

    id: UUID
    environment: Environment | None
    severity: Severity
    status: Status
    owner_id: UUID
    opened_by: str
    opened_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    contained_by: str | None
    contained_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None
    reviewed_by: str | None
    reviewed_at: datetime | None


class Incident(IncidentState):
    """One incident in a list. follow_ups_open, follow_ups_overdue: of what is to be done so that it does not return."""

    title: str
    subject: Subject | None
    owner: Owner
    follow_ups_open: int
    follow_ups_overdue: int


class Entry(BaseModel):
    """One thing in the timeline. before, after: what changed, of a step the status; digest: SHA-256 of the text.

    after_name: who answers for it from then on, where that changed.
    """

    id: UUID
    kind: EntryKind
    text: str
    digest: str
    link: Subject | None
    before: str | None
    after: str | None
    after_name: str | None
    written_by: str
    written_by_name: str | None
    created_at: datetime


class Loss(Strict):
    """Money that it cost. amount: minor units of the currency."""

    amount: Annotated[int, Field(ge=0, lt=10**15)]
    currency: Currency


class Impact(Strict):
    """What it did. records, people: how many were affected; null where nobody knows."""

    money: list[Loss] = Field(default_factory=list, max_length=20)
    records: Annotated[int, Field(ge=0, lt=10**12)] | None = None
    people: Annotated[int, Field(ge=0, lt=10**12)] | None = None
    note: Remark = ""


class Review(BaseModel):
    """What was learned, by whom. digest: SHA-256 over all of it, as the audit log has it."""

    id: UUID
    what_happened: str
    root_cause: str
    impact: Impact
    went_well: str
    went_badly: str
    digest: str
    reviewed_by: str
    reviewed_by_name: str | None
    created_at: datetime


class FollowUpState(BaseModel):
    id: UUID
    incident_id: UUID
    owner_id: UUID
    due_on: date
    status: Literal["open", "closed"]
    created_by: str
    created_at: datetime
    closed_by: str | None
    closed_at: datetime | None


class FollowUp(FollowUpState):
    """Something to be done, by whom and until which day (UTC). overdue: open, and the day is over."""

    incident_title: str
    what: str
    owner: Owner
    overdue: bool
    closing_note: str | None


class IncidentDetail(Incident):
    """All that is known. entries: the newest 200, oldest first; more: there are older ones."""

    description: str
    entries: list[Entry]
    more: bool
    review: Review | None
    follow_ups: list[FollowUp]


class IncidentCounts(BaseModel):
    """How many there are by state. mine: unresolved, and the caller answers for them."""

    open: int
    acknowledged: int
    contained: int
    resolved: int
    mine: int
    follow_ups_open: int
    follow_ups_overdue: int


class NewIncident(Strict):
    """What is wrong. about: what it is about; an incident about an alert is about what the alert is about.

    environment: that of `about` where it has one, or of the key that opens it; else null, the whole organisation.
    owner_id: the member who answers for it; unless it says otherwise whoever opens it, or the first owner.
    """

    title: Headline
    description: Story = ""
    severity: Severity
    environment: Environment | None = None
    owner_id: UUID | None = None
    about: Link | None = None


class Acknowledge(Strict):
    """That somebody is on it; `note` says what they do."""

    note: Remark = ""


class Containment(Strict):
    """How it was kept from getting worse; link: what did it, such as a kill switch or a connection that was closed."""

    how: Words
    link: Link | None = None


class Resolve(Strict):
    """Why it is over; of one that was never contained, also why that was not needed."""

    reason: Words


class Note(Strict):
    """What is known by now; link: what belongs to it."""

    text: Words
    link: Link | None = None


class NewOwner(Strict):
    user_id: UUID
    reason: Remark = ""


class NewSeverity(Strict):
    severity: Severity
    reason: Words


class NewFollowUp(Strict):
    """Something to be done. due_on: today or later, within a year (UTC)."""

    what: Words
    owner_id: UUID
    due_on: date


class NewReview(Strict):
    """What was learned. Whoever resolved the incident does not review it while somebody else may."""

    what_happened: Told
    root_cause: Told
    impact: Impact = Impact()
    went_well: Lesson = ""
    went_badly: Lesson = ""
    follow_ups: list[NewFollowUp] = Field(default_factory=list, max_length=20)


class Closing(Strict):
    """What was done."""

    note: Words


class NewEntry(BaseModel):
    """The receipt of a note."""

    id: UUID
    incident_id: UUID
    kind: Literal["note"]
    written_by: str
    created_at: datetime
    digest: str
