"""Whose turn it is to read, where a provider allows so many calls in so much time."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

#: Seconds that a read around a write waits for its turn. Contracts ask for four before their call at most: 20 s of a
#: lease of 60, after which nothing is sent.
PATIENCE = 5.0
#: The longest that those who wait for the same moment are apart, in seconds.
_JITTER = 0.05


async def claimed(claim: Callable[[], Awaitable[dict[str, Any]]], purpose: str | None) -> dict[str, Any]:
    """What claim_observation_v1 answers to the claim of a read, which may be a refusal: {reason, until}.

    A read that serves an attempt waits for its turn. The attempt was counted when it was claimed, so that several
    claimed at once would otherwise use up what the provider allows, find no room for their reads, and do the same when
    they are tried again, for ever. What a person or an agent asks for is refused at once, as is what passes later.
    """
    patience = PATIENCE if purpose not in (None, "look") else 0.0
    until = time.monotonic() + patience
    while True:
        answer = await claim()
        if answer.get("reason") != "rate_limited":
            return answer
        due = (datetime.fromisoformat(answer["until"]) - datetime.now(UTC)).total_seconds()
        wait = max(due, 0.0) + random.uniform(_JITTER / 2, _JITTER)  # noqa: S311 - spreads load, guards nothing
        if time.monotonic() + wait > until:
            return answer
        await asyncio.sleep(wait)
