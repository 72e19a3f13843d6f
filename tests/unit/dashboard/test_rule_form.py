"""A rule as the fields of a form, and back."""

from typing import Any

import pytest

from api.constitution.library import library
from api.dashboard import rule_form, settings
from api.dashboard.forms import Form
from api.gate.models import Rule


def typed(rule: dict[str, Any], **changes: str) -> Form:
    """The form of a rule as a browser sends it when nothing else is changed."""
    bounds, approvals = rule["bounds"], rule["approvals"] or {}
    fields = {name: [rule[name]] for name in ("id", "title", "principle", "when", "effect")}
    fields |= {
        "applies_to": [rule_form.lines(rule["applies_to"])],
        "approvals_count": [str(approvals.get("count", ""))],
        "approvals_roles": approvals.get("roles", []),
        "approvals_aal": ["aal2"] if approvals.get("aal") == "aal2" else [],
        "lifts": rule["lifts"],
        "amounts": [rule_form.amounts(bounds)],
        "expires_at": [rule_form.last_day(rule)],
    }
    fields |= {name: [rule_form.lines(bounds[name])] for name in ("counterparties", "tiers", "workflows")}
    fields |= {name: [value] for name, value in changes.items()}
    return Form({name: values for name, values in fields.items() if values}, "/")


def lifting(**bounds: Any) -> dict[str, Any]:
    rule = {
        "id": "lift", "title": "Lift", "principle": "So.", "when": "true", "effect": "allow", "lifts": ["confidence"],
        "bounds": bounds, "expires_at": "2027-01-31T12:30:00Z", "origin": {"kind": "amendment", "ref": "a"},
    }  # fmt: skip
    return Rule.model_validate(rule).model_dump(mode="json")


EVERY = [ready.rule.model_dump(mode="json") for ready in library()] + [
    lifting(),
    lifting(counterparties=["", "name:a, b"], tiers=["", "gold"], workflows=["pay-bills"]),
    lifting(amounts={"EUR": [0, 125_050], "JPY": [10, 2000], "USD": [1, 2**53 - 1]}),
]


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule["id"])
def test_what_nobody_changes_stays_as_it_is(rule: dict[str, Any]) -> None:
    assert Rule.model_validate(rule_form.document(typed(rule), rule)) == Rule.model_validate(rule)


@pytest.mark.parametrize("amounts", [
    "EUR", "EUR 1", "EUR x to 2", "EUR 1.005 to 2", "12 to 13", "EUR 1 to 2 to 3", "EUR 0 to 12,50", "EUR 0 to +5",
    "EUR 0 to 1_000", "EUR 0 to 1e5", "EUR 0 to 1e999990", "EUR 0 to 1e999999", "EUR 0 to ٣", "EUR 0 to 1.299,00",
])  # fmt: skip
def test_amounts_that_cannot_be_read_are_refused_and_never_guessed(amounts: str) -> None:
    document = rule_form.document(typed(lifting(), amounts=amounts), None)
    assert rule_form.bounds(document)
    assert rule_form.amounts(document["bounds"])
    once_more = rule_form.document(typed(lifting(), amounts=rule_form.amounts(document["bounds"])), None)
    assert once_more == document
    with pytest.raises(ValueError, match="bounds"):
        Rule.model_validate(document)


def test_bounds_are_told_in_words() -> None:
    rule = lifting(amounts={"EUR": [0, 125_050], "USD": [100, 2**53 - 1]}, counterparties=["", "domain:a.example"])
    assert rule_form.bounds(rule) == [
        "Counterparty: none at all or domain:a.example",
        "Amount: up to 1,250.50 EUR",
        "Amount: from 1.00 USD",
    ]


def test_a_day_that_is_changed_ends_with_it() -> None:
    rule = lifting()
    assert rule_form.document(typed(rule), rule)["expires_at"] == "2027-01-31T12:30:00Z"
    assert rule_form.document(typed(rule, expires_at="2027-02-01"), rule)["expires_at"] == "2027-02-01T23:59:59Z"
    assert rule_form.document(typed(rule, expires_at=""), rule)["expires_at"] is None


@pytest.mark.parametrize(
    ("typed", "currency", "minor"),
    [("1,299.00", "EUR", 129_900), ("1299", "EUR", 129_900), (".5", "EUR", 50), ("1,000,000", "JPY", 1_000_000),
     ("1.234", "KWD", 1234), ("-5", "EUR", -500), ("12,50", "EUR", "12,50"), ("1.234", "EUR", "1.234"),
     ("1" * 40, "EUR", f"{'1' * 24}…")],
)  # fmt: skip
def test_a_comma_is_between_thousands_alone(typed: str, currency: str, minor: Any) -> None:
    """Half of the world writes 12,50 of what the other half writes 12.50: a limit of 1,250 nobody meant."""
    assert rule_form.minor(typed, currency) == minor


@pytest.mark.parametrize(
    ("typed", "millionths"),
    [("0.25", 250_000), ("3", 3_000_000), ("0,5", 500_000), (".5", 500_000), ("1e999999", "1e999999"), ("1_0", "1?0")],
)
def test_a_price_is_digits_and_no_power_of_ten(typed: str, millionths: Any) -> None:
    assert settings._millionths(typed) == millionths
