"""When a schedule is due, through changes of the clock, and what is no schedule."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.gate.cron import parse

AMSTERDAM = "Europe/Amsterdam"


def slots(cron: str, zone: str, begin: str, hours: float) -> list[str]:
    """Every time that is due from `begin` on (UTC), in the local clock with its offset."""
    schedule, at, found = parse(cron, zone), datetime.fromisoformat(begin).replace(tzinfo=UTC), []
    end = at + timedelta(hours=hours)
    at -= timedelta(seconds=1)
    while (due := schedule.next(at)) is not None and due <= end:
        found.append(due.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z"))
        at = due
    return found


def test_steps_within_office_hours() -> None:
    found = slots("*/15 8-9 * * 1-5", AMSTERDAM, "2026-11-27T06:00", 24 * 4)
    assert found[:8] == [f"11-27 {h:02}:{m:02}+0100" for h in (8, 9) for m in (0, 15, 30, 45)]
    assert [each[:5] for each in found[8:]] == ["11-30"] * 8  # Friday, then Monday


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 1 * *", ["01-01 00:00+0000", "02-01 00:00+0000"]),
        ("30 6 * jan sun", ["01-04 06:30+0000", "01-11 06:30+0000", "01-18 06:30+0000", "01-25 06:30+0000"]),
        ("0 12 13 1 5", [f"01-{d:02} 12:00+0000" for d in (2, 9, 13, 16, 23, 30)]),  # either day is enough
        ("5,10/25 23 31 1 *", ["01-31 23:05+0000", "01-31 23:10+0000", "01-31 23:35+0000"]),
        ("0 4 1 2 7", [f"02-{d:02} 04:00+0000" for d in (1,)]),
    ],
)
def test_fields(cron: str, expected: list[str]) -> None:
    assert slots(cron, "UTC", "2026-01-01T00:00", 24 * 32) == expected


def test_a_time_that_the_clock_leaps_over_comes_as_much_later() -> None:
    assert slots("30 2 * * *", AMSTERDAM, "2026-03-28T12:00", 36) == ["03-29 03:30+0200"]
    every = slots("*/30 * * * *", AMSTERDAM, "2026-03-29T00:00", 2)
    assert every == ["03-29 01:00+0100", "03-29 01:30+0100", "03-29 03:00+0200", "03-29 03:30+0200", "03-29 04:00+0200"]


def test_an_hour_that_comes_twice_counts_once() -> None:
    assert slots("30 2 * * *", AMSTERDAM, "2026-10-24T12:00", 36) == ["10-25 02:30+0200"]
    assert slots("0 * * * *", AMSTERDAM, "2026-10-24T23:00", 4) == [
        "10-25 01:00+0200", "10-25 02:00+0200", "10-25 03:00+0100", "10-25 04:00+0100",
    ]  # fmt: skip


def test_the_latest_of_what_was_missed() -> None:
    schedule = parse("0 9 * * *", "UTC")
    monday = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert schedule.latest(monday, monday + timedelta(days=3, hours=1)) == monday + timedelta(days=3)
    assert schedule.latest(monday, monday + timedelta(hours=23)) is None
    assert schedule.latest(monday - timedelta(seconds=1), monday) == monday


def test_next_and_latest_agree() -> None:
    for cron, zone in (("*/7 */5 * * *", "America/New_York"), ("15 1-3 * * 0", AMSTERDAM), ("0 0 29 2 *", "UTC")):
        schedule = parse(cron, zone)
        at = datetime(2026, 3, 1, tzinfo=UTC)
        for _ in range(60):
            due = schedule.next(at)
            assert due is not None
            assert schedule.latest(at, due) == due
            assert schedule.latest(at, due - timedelta(seconds=1)) is None
            at = due


def test_a_day_that_never_comes() -> None:
    assert parse("0 0 30 2 *", "UTC").next(datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "cron",
    [
        "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
        "5-1 * * * *", "a * * * *", "-1 * * * *", "1- * * * *", "1,,2 * * * *", "\u0661 * * * *", "@daily x x x x", "",
    ],
)  # fmt: skip
def test_what_is_no_schedule(cron: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(cron, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse("* * * * *", zone)
