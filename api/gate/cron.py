"""When a schedule is due: five fields of cron in a time zone, with the changes of the clock defined.

Minute, hour, day of the month, month, day of the week; `*`, numbers, `a-b`, `/step`, lists by comma, and the English
names of months and days (`jan`, `mon`). 0 and 7 are Sunday. Where both days are restricted, either is enough.

A time that the clock leaps over counts at the same distance after the leap (02:30 becomes 03:30), and is one with
whatever is due then anyway; an hour that comes twice counts the first time only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAMES = (
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
)
_MONTHS = {name: n for n, name in enumerate(_NAMES[0], 1)}
_DAYS = {name: n for n, name in enumerate(_NAMES[1])}
#: Name, lowest, highest, names of values.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
#: A date that comes at all comes within so many days: 29 February, over a century that has none.
_HORIZON = 366 * 9


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule; times go in and come out with a time zone, out in UTC."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: ZoneInfo

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last time that is due after `after` and not after `until`."""
        first, day = self._local(after) - timedelta(days=1), self._local(until) + timedelta(days=1)
        while day >= first:
            due = [slot for slot in self._of(day) if after < slot <= until]
            if due:
                return max(due)
            day -= timedelta(days=1)
        return None

    def next(self, after: datetime) -> datetime | None:
        """The first time that is due after `after`; None when none ever is, as for 30 February."""
        day = self._local(after) - timedelta(days=1)
        for _ in range(_HORIZON):
            due = [slot for slot in self._of(day) if slot > after]
            if due:
                return min(due)
            day += timedelta(days=1)
        return None

    def _local(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def _of(self, day: date) -> Iterator[datetime]:
        if not self._on(day):
            return
        for hour in self.hours:
            for minute in self.minutes:
                at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                yield at.astimezone(UTC)

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week


@lru_cache(maxsize=256)
def parse(cron: str, time_zone: str) -> Schedule:
    """The schedule. Raises ValueError, in words, for what is none."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {time_zone[:60]}; write one as Europe/Amsterdam") from None
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ValueError("a schedule has five fields: minute, hour, day of the month, month, day of the week")
    minutes, hours, days, months, weekdays = (_field(text, *of) for text, of in zip(fields, _FIELDS, strict=True))
    return Schedule(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        zone=zone,
    )


def _field(text: str, name: str, lowest: int, highest: int, names: dict[str, int]) -> set[int]:
    values: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, highest, {}) if slash else 1
        if span == "*":
            first, last = lowest, highest
        else:
            start, dash, end = span.partition("-")
            first = _number(start, name, lowest, highest, names)
            last = _number(end, name, lowest, highest, names) if dash else (highest if slash else first)
        if last < first:
            raise ValueError(f"{part[:40]} in the {name} ends before it begins")
        values.update(range(first, last + 1, step))
    return values


def _number(text: str, name: str, lowest: int, highest: int, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and lowest <= int(text) <= highest):
        raise ValueError(f"{text[:40] or 'nothing'} is no {name}; it goes from {lowest} to {highest}")
    return int(text)
