"""What becomes of an attempt: a pure policy over how the call ended."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from api.providers.client import Outcome

MAX_ATTEMPTS = 6
BASE_SECONDS = 1.0
MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Settlement:
    outcome: Literal["succeeded", "retry", "failed", "unknown", "dead_letter"]
    next_attempt_at: datetime | None = None


def settle(
    ended: Outcome,
    idempotency: str,
    number: int,
    maybe_reached_before: bool,
    now: datetime,
    rng: random.Random,
) -> Settlement:
    """How the attempt with this number (from 1) is settled.

    A success succeeds and a refusal fails. What did not reach the provider is retried with full jitter, as is what
    may have reached it under an idempotency key, up to MAX_ATTEMPTS; then it is a dead letter, or `unknown` when any
    attempt may have had its effect. Without such a key, what may have reached the provider is `unknown` at once.
    """
    if ended.reached == "yes":
        return Settlement("succeeded")
    transient = ended.reached == "maybe" or ended.status is None or ended.status in (401, 408, 425, 429)
    if not transient:
        return Settlement("failed")
    if ended.reached == "maybe" and idempotency != "key":
        return Settlement("unknown")
    if number >= MAX_ATTEMPTS:
        return Settlement("unknown" if ended.reached == "maybe" or maybe_reached_before else "dead_letter")
    return Settlement("retry", now + timedelta(seconds=delay(number, ended.retry_after, rng)))


def delay(number: int, retry_after: float | None, rng: random.Random) -> float:
    """Seconds until the next attempt: full jitter below an exponential ceiling, and never before `Retry-After`."""
    jitter = rng.uniform(0, min(MAX_SECONDS, BASE_SECONDS * 2**number))
    return max(jitter, min(retry_after or 0.0, 3600.0))
