"""Cursor pagination on a stable key: (created_at, id) descending."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel

from api.errors import Problem

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list. `next_cursor` is opaque; pass it back as `cursor` for the next page."""

    items: list[T]
    next_cursor: str | None
    has_more: bool


def _invalid() -> Problem:
    return Problem(400, "invalid_cursor", "The cursor is not one that this API gave out.")


class PageRequest:
    """The page a client asked for. `after` holds the key of the last item it has seen."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=400)] = None,
    ) -> None:
        self.limit = limit
        self.after: list[Any] | None = None
        if cursor is not None:
            try:
                self.after = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
            except (binascii.Error, ValueError, RecursionError):
                raise _invalid() from None
            if not isinstance(self.after, list) or not self.after:
                raise _invalid()

    def key(self) -> dict[str, Any]:
        """Parameters `after_at`, `after_id` and `limit` of a list query; one row more than asked tells has_more."""
        try:
            at, item = (datetime.fromisoformat(self.after[0]), UUID(self.after[1])) if self.after else (None, None)
            return {"after_at": at, "after_id": item, "limit": self.limit + 1}
        except (ValueError, TypeError, IndexError, AttributeError):
            raise _invalid() from None

    def before(self) -> int | None:
        """The sequence number of the last item seen, for a list that is numbered."""
        if self.after is None:
            return None
        number = self.after[0]
        if type(number) is not int or not 0 < number < 2**63:
            raise _invalid()
        return number

    def page(self, rows: list[dict[str, Any]], *key: str) -> dict[str, Any]:
        """Cuts the rows to the page and names its end by the given columns."""
        more = len(rows) > self.limit
        rows = rows[: self.limit]
        cursor = None
        if more:
            values = [rows[-1][k] for k in key]
            values = [v.isoformat() if isinstance(v, datetime) else v if isinstance(v, int) else str(v) for v in values]
            cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        return {"items": rows, "next_cursor": cursor, "has_more": more}


Paging = Annotated[PageRequest, Depends()]
