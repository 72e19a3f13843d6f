"""Times of day that an instruction names, and those that follow from how long it says that something lasts."""

from datetime import date

import pytest

from api.gate.grounding.dates import dates, named

TODAY = date(2024, 5, 15)
LUNCH = "Create an event: lunch with Sarah on May 19th 2024 from 12 noon for one hour."


@pytest.mark.parametrize(
    ("instruction", "stamp", "expected"),
    [
        (LUNCH, "2024-05-19 12:00", True),
        (LUNCH, "2024-05-19 13:00", True),
        (LUNCH, "2024-05-19 14:00", False),
        (LUNCH, "2024-05-20 12:00", False),
        ("A call on 2024-05-19 at 10:15 for 90 minutes.", "2024-05-19T11:45:00Z", True),
        ("A call on 2024-05-19 at 10:15 for 1.5 hours.", "2024-05-19T11:45", True),
        ("A call on 2024-05-19 at 23:30, half an hour.", "2024-05-19 00:00", True),
        ("A call on 2024-05-19 at 10:15.", "2024-05-19 11:15", False),
        ("A call on 2024-05-19, one hour.", "2024-05-19 11:15", False),
        ("At midnight on May 19th.", "2024-05-19 00:00", True),
        ("A call tomorrow at 3pm for an hour.", "2024-05-16 16:00", True),
    ],
)
def test_a_time_is_named_or_follows(instruction: str, stamp: str, expected: bool) -> None:
    assert named(stamp, dates(instruction), f" {instruction.casefold()} ", TODAY) is expected
