"""What the inbox says of an exception, and which ones it lets people select."""

from typing import Any

import pytest

from api.dashboard import exceptions_inbox as inbox
from api.dashboard.wordlist import WORDS
from api.errors import Problem
from api.gate.models import HARD_GATES

ONE: dict[str, Any] = {
    "status": "open", "kind": "approval", "class_key": "a" * 64, "effect": "write", "stopped_by": ["confidence"],
    "summary": "Pay: now: 12.50 EUR", "amount": {"amount": 1250, "currency": "EUR"},
}  # fmt: skip


def test_every_check_has_a_reason() -> None:
    assert set(inbox.REASONS) == set(WORDS["check"])


def test_a_hard_gate_is_said_first() -> None:
    assert inbox.stopped(ONE | {"stopped_by": ["confidence", "hard_gate"]}) == (
        "Always needs a person, the agent is not sure"
    )
    assert inbox.stopped(ONE | {"stopped_by": []}) == "—"


def test_the_amount_is_said_once() -> None:
    assert inbox.said(ONE) == "Pay: now"
    assert inbox.said(ONE | {"amount": None}) == "Pay: now: 12.50 EUR"
    assert inbox.said(ONE | {"summary": "Pay"}) == "Pay"


@pytest.mark.parametrize(
    "changed",
    [
        *({"effect": effect} for effect in HARD_GATES), {"stopped_by": ["hard_gate"]}, {"kind": "manual"},
        {"status": "approved"}, {"class_key": None},
    ],
)  # fmt: skip
def test_what_is_decided_alone_is_not_selected(changed: dict[str, Any]) -> None:
    assert inbox.selectable(ONE)
    assert not inbox.selectable(ONE | changed)


def test_a_selection_is_of_ids_and_bounded() -> None:
    one = "01a2215e-d67f-74ab-b5a4-bef928f97380"
    assert len(inbox._ids([one, one])) == 1
    for wrong in (["x"], [f"01a2215e-d67f-74ab-b5a4-{n:012}" for n in range(51)]):
        with pytest.raises(Problem):
            inbox._ids(wrong)
