"""What an instruction names of time: `2026-12-24`, `--12-24` without a year, `14:30`, and `+90` minutes of duration."""

import re
from datetime import date, timedelta

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero januari", "february feb februar février febrero februari",
            "march mar märz mars marzo maart", "april apr avril abril", "may mai mayo mei", "june jun juni juin junio",
            "july jul juli juillet julio", "august aug août agosto augustus", "september sep sept septembre septiembre",
            "october oct oktober octobre octubre", "november nov novembre noviembre",
            "december dec dezember dez décembre diciembre",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_DOTTED = re.compile(r"(?<![\d.])(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?![\d])")
_SHORT = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(?!\d)")
_DAY_FIRST = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th|er|\.|º)?\s{1,2}(?:of |de )?([^\W\d_]{3,10})\.?,?"
    r"(?:\s{1,2}(?:de )?(\d{4}))?(?!\d)"
)
_MONTH_FIRST = re.compile(r"(?<![^\W_])([^\W\d_]{3,10})\.?\s{1,2}(\d{1,2})(?:st|nd|rd|th)?(?!\d)(?:,?\s{1,2}(\d{4}))?")
#: "7 to 10 December" and "December 7-10" name two days: the one beside the month is found as any other is.
_TO = r"\s{0,2}(?:-|\u2013|to|till|until|through|and|bis|und|au|al|tot|t/m|y|et|en)\s{0,2}"
_FROM_DAY = re.compile(
    r"(?<![\d.:])(\d{1,2})(?:st|nd|rd|th|er|\.|º)?" + _TO + r"\d{1,2}(?:st|nd|rd|th|er|\.|º)?"
    r"\s{1,2}(?:of |de )?([^\W\d_]{3,10})\.?,?(?:\s{1,2}(?:de )?(\d{4}))?(?!\d)"
)
_TO_DAY = re.compile(
    r"(?<![^\W_])([^\W\d_]{3,10})\.?\s{1,2}\d{1,2}(?:st|nd|rd|th)?" + _TO + r"(\d{1,2})(?:st|nd|rd|th)?"
    r"(?![\d:])(?:,?\s{1,2}(\d{4}))?"
)
_TIME = re.compile(r"(?<![\d:])([01]?\d|2[0-3])(?::|\.|h)([0-5]\d)(?:[:.]\d\d)?\s?([ap])?\.?m?(?![\d])", re.IGNORECASE)
_HOUR = re.compile(r"(?<![\d:.])([01]?\d|2[0-4])\s?(?:([ap])\.?m|uhr|h|o'clock)(?!\w)", re.IGNORECASE)
_WORDS = {"noon": "12:00", "midday": "12:00", "midnight": "00:00", "mittag": "12:00", "midi": "12:00"}
_WORD = re.compile(rf"(?<![^\W_])({'|'.join(_WORDS)})(?![^\W_])", re.IGNORECASE)
_NUMBERS = {"half an": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8}
_LASTING = re.compile(
    r"(?<![\w.])(\d{1,3}(?:\.5)?|half an|an|a|one|two|three|four|five|six|eight)[\s-]{1,2}(hour|minute|min)s?(?!\w)",
    re.IGNORECASE,
)
_RELATIVE = {
    "today": 0, "heute": 0, "hoy": 0, "vandaag": 0, "tomorrow": 1, "morgen": 1, "demain": 1, "mañana": 1,
    "yesterday": -1, "gestern": -1, "hier": -1, "ayer": -1, "gisteren": -1,
}  # fmt: skip
#: From Monday on; one that is named is the next of its kind.
_WEEKDAYS = (
    ("monday", "montag", "lundi", "lunes", "maandag"), ("tuesday", "dienstag", "mardi", "martes", "dinsdag"),
    ("wednesday", "mittwoch", "mercredi", "miércoles", "woensdag"),
    ("thursday", "donnerstag", "jeudi", "jueves", "donderdag"), ("friday", "freitag", "vendredi", "viernes", "vrijdag"),
    ("saturday", "samstag", "samedi", "sábado", "zaterdag"), ("sunday", "sonntag", "dimanche", "domingo", "zondag"),
)  # fmt: skip
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?")


def dates(text: str) -> frozenset[str]:
    """Every day and time of day in the text; a day that can be read in two ways is both."""
    found: set[str] = set()
    for year, month, day in _ISO.findall(text):
        found.update(_day(year, month, day))
    for first, _, second, year in _DOTTED.findall(text):
        full = year if len(year) == 4 else f"20{year}"
        found.update((*_day(full, second, first), *_day(full, first, second)))
    for first, second in _SHORT.findall(text):
        found.update(_day("", second, first))
    for day, month, year in _DAY_FIRST.findall(text):
        found.update(_day(year, _MONTHS.get(month.casefold(), 0), day))
    for month, day, year in _MONTH_FIRST.findall(text):
        found.update(_day(year, _MONTHS.get(month.casefold(), 0), day))
    for day, month, year in _FROM_DAY.findall(text):
        found.update(_day(year, _MONTHS.get(month.casefold(), 0), day))
    for month, day, year in _TO_DAY.findall(text):
        found.update(_day(year, _MONTHS.get(month.casefold(), 0), day))
    for hour, minute, half in _TIME.findall(text):
        found.add(_time(int(hour), minute, half))
    for hour, half in _HOUR.findall(text):
        found.add(_time(int(hour) % 24, "00", half))
    found.update(_WORDS[word.lower()] for word in _WORD.findall(text))
    for count, unit in _LASTING.findall(text):
        many = _NUMBERS[count.lower()] if count.lower() in _NUMBERS else float(count)
        found.add(f"+{int(many * (60 if unit.lower() == 'hour' else 1))}")
    return frozenset(found)


def _day(year: str, month: int | str, day: str) -> list[str]:
    try:
        date(int(year or 2000), int(month), int(day))
    except ValueError:
        return []
    return [f"{year or '-'}-{int(month):02d}-{int(day):02d}"]


def _time(hour: int, minute: str, half: str) -> str:
    if half and hour <= 12:
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return f"{hour:02d}:{minute}"


def is_stamp(text: str) -> bool:
    """Whether the text is a date or a date with a time (RFC 3339, and without a zone)."""
    return _STAMP.fullmatch(text) is not None


def named(text: str, found: frozenset[str], words: str, today: date) -> bool:
    """Whether a date (and its time, if it has one) is one that the instruction names; `tomorrow` is that of `today`,
    and a weekday the next one from then on.

    A time that is named, or comes so long after one as the instruction says that something lasts.
    """
    match = _STAMP.fullmatch(text)
    if match is None:
        return False
    day, time = match[1], match[2]
    near = abs(int(day[:4]) - today.year) <= 1
    known = day in found or (near and f"-{day[4:]}" in found)
    for word, days in _RELATIVE.items():
        known = known or (f" {word} " in words and (today + timedelta(days=days)).isoformat() == day)
    ahead = (date.fromisoformat(day) - today).days if _is_day(day) else -1
    if 0 <= ahead <= 7:
        known = known or any(f" {word} " in words for word in _WEEKDAYS[date.fromisoformat(day).weekday()])
    return known and (time is None or time == "00:00" or time in found or _ends(time, found))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _ends(time: str, found: frozenset[str]) -> bool:
    minutes = int(time[:2]) * 60 + int(time[3:])
    lasting = (int(one[1:]) for one in found if one.startswith("+"))
    return any(f"{(minutes - d) % 1440 // 60:02d}:{(minutes - d) % 60:02d}" in found for d in lasting)
