"""What counts as moved between what was read and what is there now."""

from typing import Any

import pytest

from api.execution.premises import MAX_SHOWN, differences
from api.gate.case import Case
from api.gate.checks import stale_world
from api.gate.models import Premise
from tests.unit.gate.world import NOW, facts, proposal

BILLS = Premise(tool="bank.bills.list", same=["/bills/*/iban", "/bills/*/amount"])
BALANCE = Premise(tool="bank.balance", enough={"/balance": "/amount"})


def places(premise: Premise, was: Any, now: Any, **args: Any) -> list[str]:
    return [one["pointer"] for one in differences(premise, args, was, now)]


@pytest.mark.parametrize(
    ("now", "pointers"),
    [
        ({"bills": [{"iban": "A", "amount": 5}]}, []),
        ({"bills": [{"iban": "A", "amount": 5, "memo": "other"}]}, []),
        ({"bills": [{"iban": "B", "amount": 5}]}, ["/bills/0/iban"]),
        ({"bills": [{"iban": "A", "amount": 6}]}, ["/bills/0/amount"]),
        ({"bills": [{"iban": "A", "amount": 5.0}]}, ["/bills/0/amount"]),
        ({"bills": [{"iban": "A", "amount": "5"}]}, ["/bills/0/amount"]),
        ({"bills": [{"iban": "A", "amount": 5}, {"iban": "B", "amount": 1}]}, ["/bills/1/iban", "/bills/1/amount"]),
        ({"bills": []}, ["/bills/0/iban", "/bills/0/amount"]),
        ({}, ["/bills/0/iban", "/bills/0/amount"]),
        (None, ["/bills/0/iban", "/bills/0/amount"]),
    ],
)
def test_what_has_to_be_the_same(now: Any, pointers: list[str]) -> None:
    assert places(BILLS, {"bills": [{"iban": "A", "amount": 5}]}, now) == pointers


@pytest.mark.parametrize(
    ("balance", "moved"),
    [(100, False), (101, False), (99, True), (0, True), ("100", True), (None, True)],
)
def test_what_has_to_be_enough(balance: Any, moved: bool) -> None:
    assert places(BALANCE, {"balance": 500}, {"balance": balance}, amount=100) == (["/balance"] if moved else [])


@pytest.mark.parametrize("now", [{}, None, {"balance": {}}, {"Balance": 500}, []])
def test_what_is_not_told_any_more_is_not_enough(now: Any) -> None:
    """A provider that answers otherwise than when it was decided, or with nothing."""
    (one,) = differences(BALANCE, {"amount": 100}, {"balance": 500}, now)
    assert (one["pointer"], one["was"]) == ("/balance", 500)


def test_a_long_value_is_cut_and_the_message_quotes_none() -> None:
    (one,) = differences(Premise(tool="bank.get", same=["/iban"]), {}, {"iban": "S" * 999}, {"iban": "T"})
    assert (len(one["was"]), one["is"]) == (MAX_SHOWN, "T")
    assert "SSS" not in one["message"]


def test_only_what_was_read_anew_escalates() -> None:
    def found(moved: list[dict[str, Any]] | None) -> list[str]:
        again = proposal().model_copy(update={"moved": moved})
        return [finding.check for finding in stale_world.check(Case(again, facts(), NOW))]

    assert found(None) == found([]) == found([{"what": "constitution_version", "message": "x"}]) == []
    assert found([{"what": "read", "message": "x"}]) == ["stale_world"]
