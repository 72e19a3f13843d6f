"""What counts as moved between what was read and what is there now."""

from typing import Any

import pytest

from api.execution.premises import MAX_SHOWN, differences
from api.gate.case import Case
from api.gate.checks import stale_world
from api.gate.models import Contract, Premise
from tests.unit.gate.world import NOW, facts, proposal

BILLS = Premise(tool="bank.bills.list", same=["/bills/*/iban", "/bills/*/amount"])
BALANCE = Premise(tool="bank.balance", enough={"/balance": "/amount"})
MAJOR = Premise(tool="bank.balance", enough={"/balance": "/amount|major"})
PAY = Contract.model_validate(
    {
        "name": "bank.pay", "version": 1, "provider": "bank", "title": "Pay", "access": "write",
        "effect": "money_movement", "reversible": False, "idempotency": "none", "input_schema": {"type": "object"},
        "arguments": {"/amount": {"role": "amount", "currency": "/currency"}}, "execution": {"mode": "external"},
    }
)  # fmt: skip


def places(premise: Premise, was: Any, now: Any, **args: Any) -> list[str]:
    return [one["pointer"] for one in differences(PAY, premise, args, was, now)]


@pytest.mark.parametrize(
    ("now", "pointers"),
    [
        ({"bills": [{"iban": "A", "amount": 5}]}, []),
        ({"bills": [{"iban": "A", "amount": 5, "memo": "other"}]}, []),
        ({"bills": [{"iban": "B", "amount": 5}]}, ["/bills/0/iban"]),
        ({"bills": [{"iban": "A", "amount": 6}]}, ["/bills/0/amount"]),
        ({"bills": [{"iban": "A", "amount": 5.0}]}, []),
        ({"bills": [{"iban": "A", "amount": True}]}, ["/bills/0/amount"]),
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


@pytest.mark.parametrize(
    ("amount", "currency", "enough", "too_little"),
    [
        # 0.1 + 0.2 is more than 0.3 in floats; the shortest text of each says what was meant.
        (30, "EUR", [0.3, 0.30000000000000004, "0.3", "0.30", 1, "1"], [0.2999999, 0.29, "0.299999"]),
        (12_501, "EUR", [125.01, 126, "125.010", 10**400], [125, 125.0, "125.00999999999999", -126, "-126"]),
        (500, "JPY", [500, 500.0, "500"], [499, 499.99, "5"]),
        (500, "KWD", [0.5, "0.500", 5], [0.499, "0.4999", 0]),
        (0, "EUR", [0, 0.0, "0", "-0"], [-0.01, "-0.01"]),
        (100_000_000_000_000_000_01, "EUR", ["100000000000000000.01"], ["100000000000000000.00", 10**17]),
    ],
)
def test_what_has_to_be_enough_in_major_units(
    amount: int, currency: str, enough: list[Any], too_little: list[Any]
) -> None:
    for balance in [*enough, *too_little]:
        found = places(MAJOR, {"balance": 1}, {"balance": balance}, amount=amount, currency=currency)
        assert found == (["/balance"] if balance in too_little else []), balance


def test_what_is_no_plain_number_is_not_known_to_be_enough() -> None:
    others: list[Any] = [
        True, None, float("nan"), float("inf"), "nan", "Infinity", "1e9", "1e999990", "1E3", "9" * 31, "9" * 5_000_000,
        "1,000", " 5", "5\n", "+5", ".5", "5.", "", "\u0665", "5 EUR", {"value": 5}, [5],
    ]  # fmt: skip
    for balance in others:
        found = places(MAJOR, {"balance": 1}, {"balance": balance}, amount=1, currency="EUR")
        assert found == ["/balance"], str(balance)[:40]


@pytest.mark.parametrize(
    "args", [{"amount": 5}, {"amount": 5, "currency": "eur"}, {"amount": 5.0, "currency": "EUR"}, {"amount": None}]
)
def test_an_amount_of_no_currency_has_never_enough(args: dict[str, Any]) -> None:
    assert places(MAJOR, {"balance": 1}, {"balance": 10**6}, **args) == ["/balance"]
    assert places(MAJOR, {"balance": 1}, {"balance": 0}, currency="EUR") == []  # an optional amount that is not given


def test_too_little_is_shown_as_the_provider_tells_it() -> None:
    (one,) = differences(PAY, MAJOR, {"amount": 12_501, "currency": "EUR"}, {"balance": 300.5}, {"balance": "125.00"})
    assert (one["was"], one["is"]) == (300.5, "125.00")
    assert one["message"] == "What bank.balance answers at /balance is not enough for /amount."


def test_numbers_inside_of_what_is_compared() -> None:
    same = Premise(tool="bank.get", same=["/details"])
    was = {"details": {"lines": [{"net": 275}, {"net": 1}], "open": True}}
    assert places(same, was, {"details": {"open": True, "lines": [{"net": 275.0}, {"net": 1.0}]}}) == []
    for other in ({"net": True}, {"net": "1"}, {"net": 1, "vat": 0}, {}, 1):
        assert places(same, was, {"details": {"lines": [{"net": 275}, other], "open": True}}) == ["/details"]
    assert places(same, was, {"details": {"lines": [{"net": 275}, {"net": 1}], "open": 1}}) == ["/details"]


@pytest.mark.parametrize("now", [{}, None, {"balance": {}}, {"Balance": 500}, []])
def test_what_is_not_told_any_more_is_not_enough(now: Any) -> None:
    """A provider that answers otherwise than when it was decided, or with nothing."""
    (one,) = differences(PAY, BALANCE, {"amount": 100}, {"balance": 500}, now)
    assert (one["pointer"], one["was"]) == ("/balance", 500)


def test_a_long_value_is_cut_and_the_message_quotes_none() -> None:
    (one,) = differences(PAY, Premise(tool="bank.get", same=["/iban"]), {}, {"iban": "S" * 999}, {"iban": "T"})
    assert (len(one["was"]), one["is"]) == (MAX_SHOWN, "T")
    assert "SSS" not in one["message"]


def test_only_what_was_read_anew_escalates() -> None:
    def found(moved: list[dict[str, Any]] | None) -> list[str]:
        again = proposal().model_copy(update={"moved": moved})
        return [finding.check for finding in stale_world.check(Case(again, facts(), NOW))]

    assert found(None) == found([]) == found([{"what": "constitution_version", "message": "x"}]) == []
    assert found([{"what": "read", "message": "x"}]) == ["stale_world"]
