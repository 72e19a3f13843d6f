"""Numbers of a tenant: what its agents proposed, what became of it, what is open, and what money moved."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

Rows = list[dict[str, Any]]
#: The ends of an action that a day is told by, each under its own name.
ENDS = ("succeeded", "failed", "unknown", "dead_letter")
_COUNTED = ("proposed", "allowed", "escalated", "denied", *ENDS)


def window(days: int, now: datetime) -> tuple[datetime, datetime]:
    """When the first of the last `days` days (UTC) began, and when today did."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days - 1), today


def assembled(rows: dict[str, Rows], since: datetime, days: int, now: datetime) -> dict[str, Any]:
    """The answers of the statements `days`, `now`, `money` and `limits` as models.Metrics."""
    by_day = _by_day(rows["days"], [(since + timedelta(days=n)).date() for n in range(days)])
    totals = {name: sum(each[name] for each in by_day) for name in _COUNTED}
    return {
        "as_of": now, "since": since, "days": by_day, "totals": totals | {"escalation_rate": _rate(totals)},
        "money": _money(rows["money"]), "limits": rows["limits"], **rows["now"][0],
    }  # fmt: skip


def _by_day(rows: Rows, days: list[date]) -> list[dict[str, Any]]:
    """Every day with its numbers, also one on which nothing happened."""
    found = {day: dict.fromkeys(_COUNTED, 0) for day in days}
    for row in rows:
        counts = found.setdefault(row["day"], dict.fromkeys(_COUNTED, 0))
        counts["proposed"] += row["actions"]
        counts[verdict(row["status"], asked=row["asked"])] += row["actions"]
        if row["status"] in ENDS:
            counts[row["status"]] += row["actions"]
    return [{"day": day} | counts | {"escalation_rate": _rate(counts)} for day, counts in sorted(found.items())]


def verdict(status: str, *, asked: bool) -> str:
    """What the gate said of an action: `denied` is final from the start, and of what is escalated people are asked."""
    return "denied" if status == "denied" else "escalated" if asked else "allowed"


def _rate(counts: dict[str, int]) -> float | None:
    return round(counts["escalated"] / counts["proposed"], 4) if counts["proposed"] else None


def _money(rows: Rows) -> dict[str, Any]:
    return {
        "today": [
            {"currency": row["currency"], "amount": row["amount_today"], "actions": row["actions_today"]}
            for row in rows
            if row["actions_today"]
        ],
        "window": [{name: row[name] for name in ("currency", "amount", "actions")} for row in rows],
    }
