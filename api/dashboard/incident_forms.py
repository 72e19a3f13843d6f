"""What the forms of an incident's page ask for, read and done."""

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from api.dashboard.forms import Form, filled
from api.dashboard.visitor import Visitor
from api.errors import Problem
from api.gate.money import digits_of
from api.incidents import service
from api.incidents.models import (
    Acknowledge,
    Containment,
    Link,
    NewFollowUp,
    NewOwner,
    NewReview,
    NewSeverity,
    Note,
    Resolve,
)

Act = Callable[[Visitor, UUID, Form], Awaitable[object]]
#: Rows for follow-ups in the form of a review; more are added afterwards.
ROWS = 3
_MONEY = re.compile(r"([A-Z]{3}) ?([0-9]{1,12}(?:\.[0-9]{1,4})?)")
_ABOUT = re.compile(r"([a-z_]{1,20}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def about(text: str) -> Link | None:
    """The link that `action:<id>` names; None for anything else."""
    found = _ABOUT.fullmatch(text)
    if found is None:
        return None
    try:
        return filled(Link, {"type": found[1], "id": found[2]})
    except Problem:
        return None


async def acknowledge(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(Acknowledge, {"note": form.text("note")})
    await service.move(who.principal, incident_id, "acknowledged", body.note, form.once)


async def contain(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(Containment, {"how": form.text("how"), "link": _pasted(form.text("by"))})
    await service.move(who.principal, incident_id, "contained", body.how, form.once, body.link)


async def resolve(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(Resolve, {"reason": form.text("reason")})
    await service.move(who.principal, incident_id, "resolved", body.reason, form.once)


async def note(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(Note, {"text": form.text("text"), "link": _pasted(form.text("link"))})
    await service.note(who.principal, incident_id, body, form.once)


async def hand_over(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(NewOwner, {"user_id": form.text("user_id"), "reason": form.text("why")})
    await service.hand_over(who.principal, incident_id, body, form.once)


async def grade(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(NewSeverity, {"severity": form.text("severity"), "reason": form.text("why_so_bad")})
    await service.grade(who.principal, incident_id, body, form.once)


async def add_follow_up(who: Visitor, incident_id: UUID, form: Form) -> None:
    body = filled(NewFollowUp, _follow_up(form, ""))
    await service.add_follow_up(who.principal, incident_id, body, form.once)


async def review(who: Visitor, incident_id: UUID, form: Form) -> None:
    rows = [_follow_up(form, f"-{number}") for number in range(ROWS)]
    impact = {
        "money": _money(form.text("money")), "records": _count(form.text("records")),
        "people": _count(form.text("people")), "note": form.text("impact"),
    }  # fmt: skip
    told = {name: form.text(name) for name in ("what_happened", "root_cause", "went_well", "went_badly")}
    asked: dict[str, Any] = {"impact": impact, "follow_ups": [row for row in rows if row["what"]]}
    await service.review(who.principal, incident_id, filled(NewReview, told | asked), form.once)


def _follow_up(form: Form, row: str) -> dict[str, str]:
    return {
        "what": form.text(f"what{row}"), "owner_id": form.text(f"owner_id{row}"), "due_on": form.text(f"due_on{row}"),
    }  # fmt: skip


def _pasted(text: str) -> dict[str, Any] | None:
    """What `kill_switch:<id>`, or an address of one of our pages, names; None when nothing was given."""
    if not text:
        return None
    found = re.search(r"/([a-z-]+)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", text)
    kinds = {
        "actions": "action", "runs": "run", "exceptions": "exception", "alerts": "alert", "incidents": "incident",
        "connections": "connection", "kill-switches": "kill_switch", "dead-letters": "action",
    }  # fmt: skip
    link = about(f"{kinds.get(found[1], '')}:{found[2]}" if found else text)
    if link is None:
        raise Problem(422, "unknown_link", "Paste the address of a page of ours, such as that of a kill switch.")
    return link.model_dump()


def _money(text: str) -> list[dict[str, Any]]:
    """Amounts as they are typed, one a line: `EUR 1299.00`, in minor units then. Raises Problem 422."""
    told = []
    for line in filter(None, map(str.strip, text.upper().splitlines())):
        found = _MONEY.fullmatch(line)
        try:
            exact = Decimal(found[2]).scaleb(digits_of(found[1])) if found else None
        except InvalidOperation:
            exact = None
        if found is None or exact is None or exact != exact.to_integral_value():
            wrong = [{"pointer": "/impact/money", "message": "Write one amount a line, such as EUR 1299.00."}]
            raise Problem(422, "invalid_request", "Some of this cannot be taken as it is.", wrong)
        told.append({"currency": found[1], "amount": int(exact)})
    return told


def _count(text: str) -> int | str | None:
    """A number as it was typed; what is none is refused by the model."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text or None
