"""Alerts as the API shows them, and what people do about them."""

from datetime import datetime
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


class AlertState(BaseModel):
    id: UUID
    status: AlertStatus
    acknowledged_by: UUID | None
    acknowledged_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None
