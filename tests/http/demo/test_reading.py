"""What the agent finds in a text."""

import pytest

from sandbox.demo.reading import amounts, read, references


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [
        ("EUR 1,299.00", 129900, "EUR"),
        ("1.299,00 EUR", 129900, "EUR"),
        ("€ 1 299,00", 129900, "EUR"),
        ("€1,299", 129900, "EUR"),
        ("EUR 1.299", 129900, "EUR"),
        ("Eur 12.5", 1250, "EUR"),
        ("250 euros", 25000, "EUR"),
        ("$20", 2000, "USD"),
        ("£ 1'000'000.01", 100000001, "GBP"),
        ("JPY 5,000", 5000, "JPY"),
        ("EUR\u00a0842.50.", 84250, "EUR"),
    ],
)
def test_amounts_in_english_and_continental_notation(text: str, minor: int, currency: str) -> None:
    assert [(a.minor, a.currency) for a in amounts(text)] == [(minor, currency)]


@pytest.mark.parametrize("text", ["in 2026", "HL-2026-0777", "NEUR 5", "on 6 November", "IBAN DE94 0001 2345", ""])
def test_what_has_no_currency_is_no_amount(text: str) -> None:
    assert amounts(text) == []


def test_the_amount_that_is_due_is_meant_among_several() -> None:
    meant = read("Net EUR 100.00, VAT EUR 21.00, total due EUR 121.00.").amount
    assert meant is not None
    assert meant.minor == 12100


def test_no_amount_is_meant_where_several_might_be() -> None:
    assert read("Either EUR 100.00 or EUR 200.00.").amount is None
    repeated = read("EUR 100.00, that is EUR 100.00").amount
    assert repeated is not None
    assert repeated.minor == 10000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("invoice HL-2026-0777.", ("HL-2026-0777",)),
        ("Invoice no. 4711/2026 and ks-3310", ("4711/2026", "KS-3310")),
        ("Rechnung Nr. 2026-15", ("2026-15",)),
        ("order: SO-2201, paid", ("SO-2201",)),
        ("COVID, A-B, x-1", ()),
    ],
)
def test_references(text: str, found: tuple[str, ...]) -> None:
    assert references(text) == found


def test_ibans_count_when_their_check_digits_fit() -> None:
    reading = read("to NL13 SAND 0417 1643 00 PLEASE, not DE95000123450532013000 nor GB86SAND60161331926819")
    assert reading.ibans == ("NL13SAND0417164300", "GB86SAND60161331926819")
    assert reading.broken_ibans == ("DE95000123450532013000",)


def test_what_is_asked_for() -> None:
    assert read("We paid the order twice, please refund one.").wants_refund
    assert not read("A non-refundable fare").wants_refund
    assert read("Please remit by Friday").wants_payment
    assert not read("When do the carpets arrive?").wants_payment
    assert read("then delete contact con_ruth and con_ada").deletes == ("con_ruth", "con_ada")
    assert read("Please delete my personal data.").deletes == ("sender",)
    assert read("my number is now +44 20 5550 0199.").phone == "+44 20 5550 0199"
    assert read("take it from acc_reserve").account == "acc_reserve"
