"""What is asked of the queue: which exceptions, and in which order."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from api.auth import Principal
from api.errors import Problem
from api.pagination import PageRequest

Sort = Literal["created_at", "expires_at", "severity", "amount"]


@dataclass(frozen=True, slots=True)
class _Order:
    """key: an expression of SQL, never null, that an index of open exceptions has; falling: the largest comes first."""

    key: str
    type: str
    falling: bool


_ORDERS: dict[str, _Order] = {
    "created_at": _Order("e.created_at", "timestamptz", falling=True),
    "expires_at": _Order("e.expires_at", "timestamptz", falling=False),
    "severity": _Order("private.weight_of_severity(e.severity)", "integer", falling=True),
    "amount": _Order("coalesce(private.worth_of(e.class), -1)", "bigint", falling=True),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Filters of the queue; None asks for everything.

    status: one of an exception's, or `decided` for every one but `open`. assigned: `me`, `none`, or a member's id.
    sort: newest first, first to end, most severe, or largest amount (in minor units, whichever the currency) first.
    """

    status: str | None = None
    kind: str | None = None
    class_key: str | None = None
    severity: str | None = None
    workflow: str | None = None
    assigned: str | UUID | None = None
    created_before: datetime | None = None
    sort: Sort = "created_at"
    ids: list[UUID] | None = None

    def parameters(self, principal: Principal) -> dict[str, Any]:
        """The filters as parameters of exceptions/list_exceptions. Raises Problem 422 for `me` of who is no person."""
        if self.assigned == "me" and principal.kind != "user":
            raise Problem(422, "people_only", "A key has nothing assigned to it: ask for `none` or for a member's id.")
        assigned = principal.claims["sub"] if self.assigned == "me" else self.assigned
        return {
            "status": self.status, "kind": self.kind, "class_key": self.class_key, "severity": self.severity,
            "workflow": self.workflow, "nobody": assigned == "none",
            "assigned_to": None if assigned == "none" else assigned, "created_before": self.created_before,
            "ids": self.ids,
        }  # fmt: skip

    def statement(self, text: str) -> str:
        """The statement in the order that is asked for."""
        order = _ORDERS[self.sort]
        names = {
            "{key}": order.key, "{direction}": "desc" if order.falling else "asc",
            "{beyond}": "<" if order.falling else ">", "%(after)s": f"%(after)s::{order.type}",
        }  # fmt: skip
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    def key(self, page: PageRequest) -> dict[str, Any]:
        """Where the page begins. Raises Problem 400 for a cursor of another order."""
        if page.after is None:
            return {"after": None, "after_id": None, "limit": page.limit + 1}
        try:
            sort, value, item = page.after
            timed = _ORDERS[self.sort].type == "timestamptz"
            after = datetime.fromisoformat(value) if timed else value
            if sort != self.sort or not (timed or (type(after) is int and abs(after) < 2**63)):
                raise ValueError
            return {"after": after, "after_id": UUID(item), "limit": page.limit + 1}
        except (ValueError, TypeError, AttributeError):
            raise Problem(
                400, "invalid_cursor", "The cursor is not one that this API gave out for this order."
            ) from None

    def page(self, page: PageRequest, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The rows as a page of this order."""
        return page.page([row | {"sort": self.sort} for row in rows], "sort", "sort_key", "id")
