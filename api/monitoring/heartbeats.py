"""Whether what is done by schedule is done: what an outside watcher is told, who does not rely on any of it."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

#: The scheduled functions, and for how long each may go without having run well before somebody has to look: several
#: turns of its schedule (vercel.json), so that what failed once and is done by the next turn is nobody's concern.
FUNCTIONS = {
    "execute_actions": timedelta(minutes=15), "advance_runs": timedelta(minutes=15),
    "deliver_notifications": timedelta(minutes=15), "expire_exceptions": timedelta(minutes=30),
    "refresh_tokens": timedelta(minutes=30), "watch": timedelta(hours=1), "rotate_keys": timedelta(hours=3),
    "purge_expired": timedelta(hours=6), "calibrate": timedelta(hours=50),
}  # fmt: skip
#: How long a log may go without having been verified to its head: a long one takes many parts.
UNVERIFIED = timedelta(days=2)
#: Seconds that an answer is good for: whoever asks often asks the database no more often.
KEPT_SECONDS = 10
#: Seconds that the database has to answer.
WAIT_SECONDS = 5


def reasons(found: dict[str, Any]) -> list[str]:
    """What is wrong, a sentence each that says what to do; empty when nothing is. Names no organisation.

    found: what app.read_heartbeats_v1 answers.
    """
    now, ran = datetime.fromisoformat(found["now"]), found["functions"]
    told = [_silent(name, ran.get(name)) for name, age in FUNCTIONS.items() if _older(ran.get(name), now - age)]
    if found["broken_logs"]:
        told.append(
            f"Audit logs that do not verify: {found['broken_logs']}. Find out who changed the database; the alert"
            " audit.chain_broken of each organisation, and the log of the function watch, say from which event on."
        )
    if found["unverified_since"] is not None and _older(found["unverified_since"], now - UNVERIFIED):
        told.append(
            f"An audit log was not verified since {found['unverified_since']}. See why watch does not get to it."
        )
    return told


def _older(at: str | None, than: datetime) -> bool:
    return at is None or datetime.fromisoformat(at) < than


def _silent(name: str, at: str | None) -> str:
    when = f"since {at}" if at else "ever"
    return f"{name} has not run well {when}. Start the scheduler, or see why the function fails."


class Watcher:
    """Asks at most once in KEPT_SECONDS, whoever asks; who asks meanwhile gets the same answer."""

    def __init__(self) -> None:
        self._asking: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0
        self._told: list[str] = []

    async def told(self, ask: Any) -> list[str]:
        """The reasons as of a moment ago. ask: reads the heartbeats; what it raises is a reason, too."""
        loop = asyncio.get_running_loop()
        if self._asking is None or self._loop is not loop:
            self._asking, self._loop = asyncio.Lock(), loop
        async with self._asking:
            if time.monotonic() >= self._until:
                try:
                    self._told = reasons(await asyncio.wait_for(ask(), WAIT_SECONDS))
                except Exception:
                    self._told = ["The database does not answer. See whether it is up and DATABASE_URL is right."]
                self._until = time.monotonic() + KEPT_SECONDS
            return self._told
