"""Numbers, amounts, times and ids as people read them. Every function takes what is missing as `—` and never raises."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from api.gate.money import digits_of, format_amount

NOTHING = "—"
_UNITS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
_SHORT = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def money(amount: int | Decimal | None, currency: str | None) -> str:
    """An amount with its currency: of an int, minor units (129900 EUR is `1,299.00 EUR`); of a Decimal, major ones.

    Without a currency the number is shown as it is, and says that the currency is missing.
    """
    if amount is None:
        return NOTHING
    if not currency:
        return f"{amount:,} (no currency)"
    if isinstance(amount, Decimal):
        exact = amount.scaleb(digits_of(currency))
        if exact != exact.to_integral_value():
            return f"{amount:,f} {currency}"
        amount = int(exact)
    return format_amount(amount, currency)


def number(value: float | None) -> str:
    """`12,345`, and a fraction with two digits at most."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def percent(part: float | None, whole: float | None = 1) -> str:
    """The part of a whole: `12 %`, `0.4 %` below one, and never `100 %` or `0 %` of what is not all or nothing."""
    if part is None or not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %" if 0 < share < 1 or 99 < share < 100 else f"{share:.0f} %"


def moment(value: Any) -> datetime | None:
    """The aware time that a value is, or says in RFC 3339; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def iso(value: Any) -> str:
    """RFC 3339 in UTC, to the second, for `<time datetime>`."""
    at = moment(value)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def absolute(value: Any) -> str:
    """`28 Nov 2026, 07:53:30 UTC`."""
    at = moment(value)
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC" if at else NOTHING


def day(value: Any) -> str:
    """`28 Nov 2026`."""
    at = value if isinstance(value, date) else moment(value)
    return f"{at:%-d %b %Y}" if at else NOTHING


def ago(value: Any, now: datetime | None = None) -> str:
    """How long ago, or in how long: `just now`, `5 minutes ago`, `in 3 days`."""
    at = moment(value)
    if at is None:
        return NOTHING
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    told = _largest(abs(seconds))
    if told is None:
        return "just now" if seconds >= 0 else "in less than a minute"
    return f"{told} ago" if seconds > 0 else f"in {told}"


def _largest(seconds: float) -> str | None:
    for unit, size in _UNITS:
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return None


def duration(value: timedelta | float | None) -> str:
    """A length of time with its two largest units: `2 d 4 h`, `3 min 20 s`, `450 ms`. float: seconds."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    left, parts = int(abs(seconds)), []
    for unit, size in _SHORT:
        count, left = divmod(left, size)
        if count:
            parts.append((unit, f"{count} {unit}"))
        elif parts:
            break
    return f"{'-' if seconds < 0 else ''}{' '.join(text for _, text in parts[:2])}"


def countdown(value: Any, now: datetime | None = None) -> str:
    """What is left until a time: `2 h 10 min left`; `over` when it has passed."""
    at = moment(value)
    if at is None:
        return NOTHING
    left = (at - (now or datetime.now(UTC))).total_seconds()
    return f"{duration(max(left, 1.0))} left" if left > 0 else "over"


def urgency(value: Any, now: datetime | None = None) -> str:
    """The tone of a deadline: `bad` within the last hour or over, `warn` within the last day, `neutral` before."""
    at = moment(value)
    if at is None:
        return "neutral"
    left = (at - (now or datetime.now(UTC))).total_seconds()
    return "bad" if left < 3600 else "warn" if left < 86_400 else "neutral"


def short(value: Any) -> str:
    """The beginning of a long id, by which people tell it from others: of a UUID its first eight characters."""
    text = str(value)
    if len(text) <= 16:
        return text
    return f"{text[:8]}…" if _is_uuid(text) else f"{text[:10]}…{text[-4:]}"


def _is_uuid(text: str) -> bool:
    try:
        return len(text) == 36 and bool(uuid.UUID(text))
    except ValueError:
        return False


def short_digest(value: str | None) -> str:
    """`sha256:1f3a…9c0e` is `1f3a 07b2 … 9c0e`: enough of both ends to compare by eye."""
    if not value:
        return NOTHING
    digits = value.rpartition(":")[2]
    return f"{digits[:4]} {digits[4:8]} … {digits[-4:]}" if len(digits) > 16 else digits


def size(count: int | None) -> str:
    """Bytes: `512 bytes`, `1.5 KB`, `2.0 MB`."""
    if count is None:
        return NOTHING
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    return f"{count / 1000:.1f} KB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def initials(name: str | None) -> str:
    """Up to two letters for the badge of a person."""
    letters = [part[0] for part in (name or "").replace("@", " ").split() if part[0].isalnum()]
    return "".join(letters[:2]).upper() or "?"


def new_key() -> str:
    """A fresh idempotency key, for a form that is to be done once."""
    return str(uuid.uuid4())
