"""What becomes of an attempt: a pure policy over how the call ended."""

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg

from api.errors import Problem, from_database
from api.providers.client import MAX_RETRY_AFTER, Outcome

MAX_ATTEMPTS = 6
BASE_SECONDS = 1.0
MAX_SECONDS = 300.0
#: Error codes, without their punctuation, with which providers say what status 429 says.
RATE_LIMITS = {
    "ratelimit", "ratelimited", "ratelimitexceeded", "userratelimitexceeded", "requestlimitexceeded",
    "toomanyrequests", "throttled", "throttling",
}  # fmt: skip

#: Why a read before a write is not made now, though nothing is wrong with it.
PUTS_OFF = {"rate_limited", "provider_rate_limited", "circuit_open", "kill_switch_engaged"}
#: Until it is looked at again whether a kill switch is still engaged.
PUT_OFF_SECONDS = 60.0


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

    A success succeeds and a refusal fails. What did not reach the provider is retried with full jitter, as is
    what may have reached it under an idempotency key, up to MAX_ATTEMPTS; then it is a dead letter. Without such a
    key, what may have reached the provider is `unknown` at once, never retried. Once any attempt may have had its
    effect, only a success settles that: a refusal of a later one says nothing of the first, which may still be on its
    way, so what would have been a failure or a dead letter is `unknown`.
    """
    if ended.reached == "yes":
        return Settlement("succeeded")
    in_doubt = ended.reached == "maybe" or maybe_reached_before
    if ended.reached == "maybe" and idempotency != "key":
        return Settlement("unknown")
    if not _is_transient(ended, maybe_reached_before):
        return Settlement("unknown" if in_doubt else "dead_letter" if ended.hopeless else "failed")
    if number >= MAX_ATTEMPTS:
        return Settlement("unknown" if in_doubt else "dead_letter")
    return Settlement("retry", now + timedelta(seconds=delay(number, ended.retry_after, rng)))


def _is_transient(ended: Outcome, maybe_reached_before: bool) -> bool:
    """Whether another attempt may end differently."""
    if ended.hopeless:
        return False
    if ended.reached == "maybe" or ended.status is None or ended.unauthorized or ended.status in (401, 408, 425, 429):
        return True
    if ended.code is not None and re.sub("[^a-z]", "", ended.code.lower()) in RATE_LIMITS:
        return True
    # A conflict under a key that was used before: the first request is still being worked on
    # (draft-ietf-httpapi-idempotency-key-header, section 2.6).
    return ended.status == 409 and maybe_reached_before


def delay(number: int, retry_after: float | None, rng: random.Random) -> float:
    """Seconds until the next attempt: full jitter below an exponential ceiling, after `Retry-After` where there is one.

    So those that were told to wait by one answer do not all come back in the same moment.
    """
    jitter = rng.uniform(0, min(MAX_SECONDS, BASE_SECONDS * 2**number))
    return min(retry_after or 0.0, MAX_RETRY_AFTER) + jitter


def put_off_by(error: BaseException | None) -> float | None:
    """Seconds until what was not sent because of this is tried again, without using up a try; None: it uses up one.

    What passes by itself or by a person's hand puts off: a limit, a circuit or a pause of the connection, which say how
    long, and a kill switch, which does not.
    """
    problem = from_database(error) if isinstance(error, psycopg.Error) else error
    if not isinstance(problem, Problem) or problem.code not in PUTS_OFF:
        return None
    wait = (problem.headers or {}).get("Retry-After")
    return min(float(wait), MAX_RETRY_AFTER) if wait else PUT_OFF_SECONDS


def health(ended: Outcome) -> Literal["well", "failed"] | None:
    """What a call says of its connection: it answered, if only to refuse; it did not; or None, nothing.

    What kept us from sending is no failure of the provider, nor is a limit that it names.
    """
    if ended.troubled:
        return "failed"
    return None if ended.status in (None, 408, 425, 429) else "well"
