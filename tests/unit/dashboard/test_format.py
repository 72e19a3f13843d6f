"""Amounts, times and ids as people read them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from api.dashboard import format as formats

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (129900, "EUR", "1,299.00 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (Decimal("12.5"), "EUR", "12.50 EUR"),
        (Decimal("12.505"), "EUR", "12.505 EUR"),
        (7, None, "7 (no currency)"),
        (None, "EUR", "—"),
    ],
)
def test_money(amount: Any, currency: str | None, text: str) -> None:
    assert formats.money(amount, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (-7200, "in 2 hours"),
     (-30, "in less than a minute"), (86400 * 45, "1 month ago"), (86400 * 800, "2 years ago")],
)  # fmt: skip
def test_ago(seconds: int, text: str) -> None:
    assert formats.ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text", "tone"),
    [(0, "over", "bad"), (-5, "over", "bad"), (59, "59 s left", "bad"), (3599, "59 min 59 s left", "bad"),
     (7800, "2 h 10 min left", "warn"), (200_000, "2 d 7 h left", "neutral")],
)  # fmt: skip
def test_a_deadline_counts_down(seconds: int, text: str, tone: str) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert formats.countdown(at, NOW) == text
    assert formats.urgency(at, NOW) == tone


def test_times_are_taken_as_text_too_and_shown_in_full() -> None:
    assert formats.absolute("2026-11-28T07:53:30+01:00") == "28 Nov 2026, 06:53:30 UTC"
    assert formats.iso("2026-11-28T07:53:30+01:00") == "2026-11-28T06:53:30Z"
    assert formats.day(NOW) == "28 Nov 2026"
    for nothing in (None, "yesterday", 5):
        assert formats.absolute(nothing) == "—"
        assert formats.ago(nothing) == "—"
        assert formats.countdown(nothing) == "—"
        assert formats.iso(nothing) == ""


def test_durations_have_two_units() -> None:
    told = [formats.duration(s) for s in (0.45, 1, 200, 3600, 187_200, timedelta(days=3, seconds=5))]
    assert told == ["450 ms", "1 s", "3 min 20 s", "1 h", "2 d 4 h", "3 d"]
    assert formats.duration(None) == "—"


def test_what_is_not_all_is_not_said_to_be_all() -> None:
    assert [formats.percent(n, 10_000) for n in (0, 1, 50, 1200, 9999, 10_000)] == [
        "0 %", "< 0.1 %", "0.5 %", "12 %", "> 99.9 %", "100 %",
    ]  # fmt: skip
    assert formats.percent(1, 0) == "—"


def test_ids_are_short_and_tell_themselves_apart() -> None:
    assert formats.short("0195f3c2-7b1a-7cc3-9d2e-8f4b5a6c7d8e") == "0195f3c2…"
    assert formats.short("acc_1") == "acc_1"
    assert formats.short("a" * 40) == "aaaaaaaaaa…aaaa"
    assert formats.short_digest("sha256:" + "1f3a07b2" * 8) == "1f3a 07b2 … 07b2"
    assert formats.short_digest(None) == "—"


def test_numbers_and_sizes() -> None:
    assert [formats.number(n) for n in (12345, 0.5, 2.0, None)] == ["12,345", "0.5", "2", "—"]
    assert [formats.size(n) for n in (1, 999, 1500, 2_000_000, None)] == [
        "1 byte",
        "999 bytes",
        "1.5 KB",
        "2.0 MB",
        "—",
    ]
    assert [formats.initials(n) for n in ("Ada Lovelace", "grace@example.com", "", None)] == ["AL", "GE", "?", "?"]
    assert formats.new_key() != formats.new_key()
