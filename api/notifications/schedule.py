"""When a delivery that failed is tried again: over three days, as Standard Webhooks has it, and never all at once."""

#: Seconds until the second, third, ... try; after the last a delivery is given up.
PAUSES = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: The most that a receiver may ask us to wait (`Retry-After`), in seconds.
LONGEST = 86_400


def pause(tries: int, asked: float | None, chance: float) -> int | None:
    """Seconds until the next try after so many; None when that was the last.

    asked: what the receiver asked for. chance: from 0 to 1, by which a tenth of the pause is added or taken away, so
    that what failed together does not come back together.
    """
    if not 1 <= tries <= len(PAUSES):
        return None
    planned = PAUSES[tries - 1] * (0.9 + 0.2 * chance)
    return max(1, round(max(planned, min(asked or 0, LONGEST))))
