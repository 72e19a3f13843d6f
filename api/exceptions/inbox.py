"""The queue in the orders that can be asked for: each is stable, and of each a page begins where the last one ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.auth import Principal
from api.errors import Problem
from api.exceptions.models import Asked
from api.pagination import PageRequest


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


def parameters(asked: Asked, principal: Principal) -> dict[str, Any]:
    """The filters as parameters of exceptions/list_exceptions. Raises Problem 422 for `me` of who is no person."""
    if asked.assigned == "me" and principal.kind != "user":
        raise Problem(422, "people_only", "A key has nothing assigned to it: ask for `none` or for a member's id.")
    assigned = principal.claims["sub"] if asked.assigned == "me" else asked.assigned
    return {
        "status": asked.status, "kind": asked.kind, "class_key": asked.class_key, "severity": asked.severity,
        "workflow": asked.workflow, "nobody": assigned == "none",
        "assigned_to": None if assigned == "none" else assigned, "created_before": asked.created_before,
        "ids": asked.ids, "of_others": asked.of_others,
    }  # fmt: skip


def statement(asked: Asked, text: str) -> str:
    """The statement in the order that is asked for."""
    order = _ORDERS[asked.sort]
    names = {
        "{key}": order.key, "{direction}": "desc" if order.falling else "asc",
        "{beyond}": "<" if order.falling else ">", "%(after)s": f"%(after)s::{order.type}",
    }  # fmt: skip
    for name, value in names.items():
        text = text.replace(name, value)
    return text


def key(asked: Asked, page: PageRequest) -> dict[str, Any]:
    """Where the page begins. Raises Problem 400 for a cursor of another order."""
    if page.after is None:
        return {"after": None, "after_id": None, "limit": page.limit + 1}
    try:
        sort, value, item = page.after
        timed = _ORDERS[asked.sort].type == "timestamptz"
        after = datetime.fromisoformat(value) if timed else value
        if sort != asked.sort or not (timed or (type(after) is int and abs(after) < 2**63)):
            raise ValueError
        return {"after": after, "after_id": UUID(item), "limit": page.limit + 1}
    except (ValueError, TypeError, AttributeError):
        raise Problem(400, "invalid_cursor", "The cursor is not one that this API gave out for this order.") from None


def cut(asked: Asked, page: PageRequest, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows as a page of this order."""
    return page.page([row | {"sort": asked.sort} for row in rows], "sort", "sort_key", "id")
