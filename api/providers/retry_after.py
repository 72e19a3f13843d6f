"""`Retry-After`, as any provider may write it (RFC 9110 section 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds(value: str | None) -> float | None:
    """Seconds from now, 0 or more, infinite where nothing holds them; a date in any of its forms is read by our clock.

    None for what is neither, whatever it is. Nobody waits as long as this may say: callers have a bound of their own.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
