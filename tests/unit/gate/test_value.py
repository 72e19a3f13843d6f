"""Control 5: what one action may be worth."""

from typing import Any

import pytest

from api.gate.models import Outcome
from api.gate.money import format_amount
from tests.unit.gate.world import contract, decided, facts, of, outcome_of, proposal, spec

ANYTHING = {"type": "object"}
ITEMS = {"/items/*/amount": {"role": "amount", "currency": "/currency"}}


def _value(args: dict[str, Any], grant: dict[str, Any] | None = None, **tool: Any) -> Outcome:
    held = facts(spec(grant), contract(input_schema=ANYTHING, **tool))
    return outcome_of(decided(held, proposal(args)), "value")


@pytest.mark.parametrize(
    ("amount", "currency", "outcome"),
    [
        (10_000, "EUR", Outcome.ALLOW),
        (10_001, "EUR", Outcome.ESCALATE),
        (-10_000, "EUR", Outcome.ALLOW),
        (-10_001, "EUR", Outcome.ESCALATE),
        (0, "EUR", Outcome.ALLOW),
        (10_000.0, "EUR", Outcome.ALLOW),
        (10_001.0, "EUR", Outcome.ESCALATE),
        (9_999.5, "EUR", Outcome.ESCALATE),
        (-0.0, "EUR", Outcome.ALLOW),
        (1e300, "EUR", Outcome.ESCALATE),
        (2**53 - 1, "EUR", Outcome.ESCALATE),
        (True, "EUR", Outcome.ESCALATE),
        ("5", "EUR", Outcome.ESCALATE),
        (None, "EUR", Outcome.ESCALATE),
        ([5], "EUR", Outcome.ESCALATE),
        ({"value": 5}, "EUR", Outcome.ESCALATE),
        (5, "USD", Outcome.ESCALATE),
        (5, "eur", Outcome.ESCALATE),
        (5, "EUR ", Outcome.ESCALATE),
        (5, "EUR\N{ZERO WIDTH SPACE}", Outcome.ESCALATE),
        (5, "\N{GREEK CAPITAL LETTER EPSILON}UR", Outcome.ESCALATE),
        (5, None, Outcome.ESCALATE),
        (5, ["EUR"], Outcome.ESCALATE),
        (5, {"EUR": 1}, Outcome.ESCALATE),
        (5, "", Outcome.ESCALATE),
    ],
)
def test_the_ceiling(amount: Any, currency: Any, outcome: Outcome) -> None:
    assert _value({"amount": amount, "currency": currency}) is outcome


def test_the_tools_ceiling_goes_before_the_workflows() -> None:
    grant = {"value_max": {"EUR": 500, "USD": 20}}
    assert _value({"amount": 501, "currency": "EUR"}, grant) is Outcome.ESCALATE
    assert _value({"amount": 20, "currency": "USD"}, grant) is Outcome.ALLOW


@pytest.mark.parametrize("args", [{}, {"amount": 5}, {"currency": "EUR"}, {"Amount": 5, "currency": "EUR"}])
def test_what_is_not_named_waits_for_a_person(args: dict[str, Any]) -> None:
    assert _value(args) is Outcome.ESCALATE


def test_an_amount_without_a_currency_in_its_contract_waits_for_a_person() -> None:
    assert _value({"amount": 5}, arguments={"/amount": {"role": "amount"}}) is Outcome.ESCALATE


def test_no_amount_in_the_contract_is_no_amount() -> None:
    assert _value({"amount": 10**9}, arguments={"/amount": {"role": "quantity"}}) is Outcome.ALLOW


@pytest.mark.parametrize(
    ("amounts", "outcome"),
    [
        ([10_000], Outcome.ALLOW),
        ([5_000, 5_000], Outcome.ALLOW),
        ([5_000, 5_001], Outcome.ESCALATE),
        ([1] * 10_001, Outcome.ESCALATE),
        ([10_000, -10_000], Outcome.ESCALATE),
        ([], Outcome.ESCALATE),
    ],
)
def test_many_amounts_count_together(amounts: list[int], outcome: Outcome) -> None:
    """Splitting a payment must not carry it under the ceiling, nor may a credit hide a debit."""
    args = {"items": [{"amount": amount} for amount in amounts], "currency": "EUR"}
    assert _value(args, arguments=ITEMS) is outcome


def test_one_item_without_an_amount_waits_for_a_person() -> None:
    args = {"items": [{"amount": 1}, {"amuont": 10**9}], "currency": "EUR"}
    assert _value(args, arguments=ITEMS) is Outcome.ESCALATE


def test_amounts_of_several_currencies_are_not_mixed() -> None:
    arguments = {
        "/a/amount": {"role": "amount", "currency": "/a/currency"},
        "/b/amount": {"role": "amount", "currency": "/b/currency"},
    }
    args = {"a": {"amount": 9_000, "currency": "EUR"}, "b": {"amount": 9_000, "currency": "USD"}}
    assert _value(args, {"value_max": {"USD": 9_000}}, arguments=arguments) is Outcome.ALLOW
    assert _value(args, {"value_max": {"USD": 8_999}}, arguments=arguments) is Outcome.ESCALATE


def test_two_currencies_in_one_place_are_none() -> None:
    arguments = {"/amount": {"role": "amount", "currency": "/items/*/currency"}}
    args = {"amount": 5, "items": [{"currency": "EUR"}, {"currency": "EUR"}]}
    assert _value(args, arguments=arguments) is Outcome.ESCALATE


def test_a_thousand_bad_amounts_are_a_short_list() -> None:
    held = facts(tool=contract(input_schema=ANYTHING, arguments=ITEMS))
    args = {"items": [{"amount": "x"}] * 1000, "currency": "EUR"}
    assert len(of(decided(held, proposal(args)), "value")) == 20


def test_the_message_names_amount_and_ceiling() -> None:
    [found] = of(decided(proposed=proposal({"to": "x", "amount": 129_900, "currency": "EUR"})), "value")
    assert found.message == "1,299.00 EUR is above the ceiling of 100.00 EUR."
    assert (found.setting, found.pointer, found.control) == ("value_max", "/args/amount", 5)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (129_900, "EUR", "1,299.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (-1_005, "USD", "-10.05 USD"),
        (500, "JPY", "500 JPY"),
        (1_234_567, "KWD", "1,234.567 KWD"),
        (12_345, "CLF", "1.2345 CLF"),
        (10**30, "EUR", "1" + ",000" * 9 + "0.00 EUR"),
    ],
)
def test_amounts_are_written_in_their_currencys_units(amount: int, currency: str, text: str) -> None:
    expected = f"{10**28:,}.00 EUR" if amount == 10**30 else text
    assert format_amount(amount, currency) == expected
