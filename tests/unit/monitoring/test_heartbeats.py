"""What an outside watcher is told, and how often the database is asked for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from api.monitoring.heartbeats import FUNCTIONS, UNVERIFIED, Watcher, reasons

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def found(**changes: Any) -> dict[str, Any]:
    ran = {name: (NOW - age + timedelta(seconds=1)).isoformat() for name, age in FUNCTIONS.items()}
    return {"now": NOW.isoformat(), "functions": ran, "broken_logs": 0, "unverified_since": None} | changes


def test_every_function_is_missed_once_it_is_late_and_where_it_never_ran() -> None:
    assert reasons(found()) == []
    for name, age in FUNCTIONS.items():
        for at in ((NOW - age - timedelta(seconds=1)).isoformat(), None):
            [told] = reasons(found(functions=found()["functions"] | {name: at}))
            assert told.startswith(f"{name} has not run well {'since' if at else 'ever'}")
    assert len(reasons(found(functions={}))) == len(FUNCTIONS)


def test_what_the_watch_found_and_what_it_did_not_come_to() -> None:
    assert "Audit logs that do not verify: 2." in reasons(found(broken_logs=2))[0]
    for age, told in ((timedelta(), 0), (timedelta(seconds=1), 1)):
        assert len(reasons(found(unverified_since=(NOW - UNVERIFIED - age).isoformat()))) == told


def test_however_many_ask_the_database_is_asked_once_and_its_silence_is_a_reason() -> None:
    asked = []

    async def ask() -> dict[str, Any]:
        asked.append(1)
        await asyncio.sleep(0)
        raise OSError

    async def many() -> list[list[str]]:
        watcher = Watcher()
        return await asyncio.gather(*(watcher.told(ask) for _ in range(50)))

    answers = asyncio.run(many())
    assert (len(asked), {len(each) for each in answers}) == (1, {1})
    assert "The database does not answer" in answers[0][0]
