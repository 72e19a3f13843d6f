"""What the audit log is searched by, read strictly, the same for the list and the export."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query


@dataclass(frozen=True, slots=True)
class Search:
    """Filters, each null when it is not asked for. since, until: aware times; `until` itself is left out."""

    type: str | None = None
    action_id: UUID | None = None
    run_id: UUID | None = None
    subject_id: str | None = None
    principal_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def parameters(self) -> dict[str, str | None]:
        """As the queries take them: ids as text, and times as the log writes them, which sorts by time."""
        return {
            "type": self.type,
            "action_id": str(self.action_id) if self.action_id else None,
            "run_id": str(self.run_id) if self.run_id else None,
            "subject_id": self.subject_id,
            "principal_id": self.principal_id,
            "since": _written(self.since),
            "until": _written(self.until),
        }


def _written(at: datetime | None) -> str | None:
    if at is None:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _asked(
    type: Annotated[str | None, Query(max_length=100)] = None,  # noqa: A002 - the name of the field
    action_id: UUID | None = None,
    run_id: UUID | None = None,
    subject_id: Annotated[str | None, Query(max_length=200)] = None,
    principal_id: Annotated[str | None, Query(max_length=200)] = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Search:
    return Search(type, action_id, run_id, subject_id, principal_id, since, until)


Searching = Annotated[Search, Depends(_asked)]
