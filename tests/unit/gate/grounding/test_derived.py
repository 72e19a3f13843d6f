"""Amounts that follow from trusted ones: which do, what is said of them, and what they cost."""

import time
from typing import Any

import pytest

from tests.unit.gate.grounding.setting import grounds, objections, observation, tool, world

BILL = {"total": 10_000, "paid": 2_500, "currency": "EUR"}
LIST = {"bills": [{"id": f"b-{n}", "amount": 1_000 * n} for n in (1, 2, 4)]}


def _args(minor: int, currency: str = "EUR") -> dict[str, Any]:
    return {"amount": minor, "currency": currency}


@pytest.mark.parametrize(
    ("instruction", "result", "minor", "how"),
    [
        ("Pay what is still due in EUR", BILL, 7_500, "75.00 EUR is 100.00 EUR less 25.00 EUR"),
        ("Pay the difference in EUR", BILL, 7_500, "75.00 EUR is 100.00 EUR less 25.00 EUR"),
        ("Pay the sum of both in EUR", BILL, 12_500, "125.00 EUR is 100.00 EUR plus 25.00 EUR"),
        ("Pay all bills in EUR", LIST, 7_000, "70.00 EUR is the sum of 3 amounts"),
        ("Pay the total in EUR", {"amounts": [100, 200, 400]}, 700, "7.00 EUR is the sum of 3 amounts"),
    ],
)
def test_what_follows_is_grounded_and_says_how(instruction: str, result: Any, minor: int, how: str) -> None:
    held = world(instruction, observation(result))
    assert objections(_args(minor), held) == []
    (found,) = [ground for ground in grounds(_args(minor), held) if ground.role == "amount"]
    assert found.source == "derived"
    assert found.where.startswith(how)
    assert "observation 00000000-0000-0000-0000-0000000000c8" in found.where


@pytest.mark.parametrize(
    ("instruction", "result", "trust", "minor", "currency"),
    [
        ("Pay the bill in EUR", BILL, "trusted", 7_500, "EUR"),
        ("Pay all bills in EUR", LIST, "untrusted", 7_000, "EUR"),
        ("Pay all bills in EUR", LIST, "metadata", 7_000, "EUR"),
        ("Pay all bills in EUR", LIST, "trusted", 7_001, "EUR"),
        ("Pay them in EUR", LIST, "trusted", 7_000, "EUR"),
        ("Pay the difference in USD", BILL, "trusted", 7_500, "USD"),
        ("Pay the difference in EUR", {"total": 10_000, "at": 2_500, "id": 2_500}, "trusted", 7_500, "EUR"),
        ("Pay the difference in EUR", {"total": 5_000, "paid": 5_000}, "trusted", 0, "EUR"),
        ("Pay the sum in EUR", {"total": 5_000}, "trusted", 10_000, "EUR"),
        ("Pay the sum in EUR", {"a": {"total": 5_000}, "b": 100}, "trusted", 5_100, "EUR"),
    ],
)  # fmt: skip
def test_nothing_else_follows(instruction: str, result: Any, trust: str, minor: int, currency: str) -> None:
    held = world(instruction, observation(result, trust))
    pointers = [f.pointer for f in objections(_args(minor, currency), held)]
    assert "/args/amount" in pointers


def test_two_records_of_one_kind_are_put_together_where_it_is_asked_for() -> None:
    read = [observation({"total": 10_000}, number=1), observation({"total": 2_500}, number=2)]
    assert objections(_args(7_500), world("Refund the difference in EUR", *read)) == []
    assert len(objections(_args(7_500), world("Refund it in EUR", *read))) == 1
    other = observation({"total": 2_500}, number=2, tool="acme.others.get")
    assert len(objections(_args(7_500), world("Refund the difference in EUR", read[0], other))) == 1


def test_an_attackers_numbers_derive_nothing() -> None:
    hostile = observation({"amounts": list(range(1, 900))}, "untrusted", number=1)
    held = world("Pay the difference in EUR", observation({"total": 10_000}), hostile)
    assert len(objections(_args(9_999), held)) == 1


def test_from_many_numbers_nothing_is_derived() -> None:
    """Of a thousand amounts, nearly every amount is a sum or difference of two."""
    many = {f"n{n}": 997 * n for n in range(1, 1_000)}
    held = world("Pay the difference in EUR", observation(many))
    assert len(objections(_args(997), held)) == 0
    assert all(len(objections(_args(minor), held)) == 1 for minor in (998, 3, 997 * 1_500))
    lists = {"rows": [{"amount": 997 * n} for n in range(1, 1_000)]}
    held = world("Pay the difference in EUR", observation(lists))
    assert len(objections(_args(997 * 1_500), held)) == 1
    assert objections(_args(997 * 999 * 500), held) == []  # the sum of all of them


def test_deriving_is_bounded_by_the_number_of_amounts() -> None:
    read = [observation({f"n{i}": 1_000_003 * (n * 8 + i) for i in range(1, 9)}, number=n) for n in range(200)]
    held = world("Pay the difference in EUR", *read)
    args = {"lines": [{"count": n} for n in range(7, 57)], "amount": 5, "currency": "EUR"}
    objections(args, held)
    started = time.thread_time()
    objections(args, held)
    assert time.thread_time() - started < 5  # 0.3 s where nothing else runs


@pytest.mark.parametrize(
    ("result", "unit", "value", "grounded"),
    [
        ({"total": 50}, "minor", 50, True),
        ({"total": 50}, "major", 50, False),
        ({"total": 50}, "major", 5_000, True),
        ({"total": 50}, None, 50, False),
        ({"total": 50}, None, 5_000, False),
        ({"total": 50.0}, None, 5_000, True),
        ({"total": "50.00"}, "minor", 5_000, True),
        ({"total": 50, "paid": 1.5}, None, 5_000, False),
    ],
)
def test_another_providers_numbers_count_in_its_unit(result: Any, unit: str | None, value: int, grounded: bool) -> None:
    """A number without decimals may be cents or euros: half a euro must not ground fifty."""
    read = observation(result, tool="other.bills.get")
    held = world("Pay the bill in EUR", read)
    if unit is not None:
        argument = {"/a": {"role": "amount", "fixed_currency": "EUR", "unit": unit}}
        theirs = tool(name="other.bills.pay", provider="other", arguments=argument)
        held = held.model_copy(update={"contracts": held.contracts | {theirs.name: theirs}})
    assert (objections(_args(value), held) == []) is grounded
