"""Requests for erasure as the API shows them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from api.gate.models import Strict


class AboutWhom(Strict):
    """Whom everything is to be erased about: a record, as runs and actions name it, or a value that is a person's.

    The types `email`, `iban` and `text` are values: `id` is looked for in everything that was said, read and written,
    in any case, and as a whole: `text` as one or more words. The type `run` names one run by its own id.
    """

    type: str = Field(min_length=1, max_length=100)
    id: str = Field(min_length=1, max_length=200)


class NewErasure(Strict):
    """`dry_run`: only look. `before`: of an earlier answer that did not get through (its `searched_to`)."""

    subject: AboutWhom
    reason: str = Field(min_length=1, max_length=2000)
    dry_run: bool = False
    before: datetime | None = None


class ErasureRun(BaseModel):
    """One run of it. keeps: why it is not erased yet; it is when that is over."""

    run_id: UUID
    workflow: str
    observations: int
    actions: int
    keeps: list[str]
    erased_at: datetime | None = None


class Erasure(BaseModel):
    """A request and what becomes of it. `subject` is masked. `id` is null of a dry run.

    searched_to: runs from before this were not looked through in the time that a request may take; ask again with it
    as `before`. Null when all were. unread_count: runs that were looked through only in part, because something in them
    does not open, and in the rest of which nobody was found; unread are the first 100 of them. They are not erased by
    this request: another one may name each (type `run`).
    """

    id: UUID | None
    subject: str
    reason: str
    searched_to: datetime | None
    runs: list[ErasureRun]
    unread: list[ErasureRun]
    unread_count: int
    created_at: datetime | None = None
