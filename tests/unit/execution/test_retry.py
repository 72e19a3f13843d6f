"""What becomes of an attempt, for every way in which a call can end."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from api.errors import Problem
from api.execution.retry import BASE_SECONDS, MAX_ATTEMPTS, MAX_SECONDS, delay, put_off_by, settle
from api.providers.client import Outcome

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DONE = Outcome("yes", 201, {"id": "pay_1"})
REFUSED = Outcome("no", 402)
CONFLICT = Outcome("no", 409)
UNAUTHORIZED = Outcome("no", 401)
LIMITED = Outcome("no", 429, retry_after=7)
UNREACHED = Outcome("no")
GONE = Outcome("no", hopeless=True)
LOST = Outcome("maybe")
BROKEN = Outcome("maybe", 500)

# How it ended, whether an earlier attempt may have had its effect -> under a key; by nature; without idempotency.
TABLE = [
    (DONE, False, "succeeded", "succeeded", "succeeded"),
    (DONE, True, "succeeded", "succeeded", "succeeded"),
    (REFUSED, False, "failed", "failed", "failed"),
    (REFUSED, True, "unknown", "unknown", "unknown"),
    (CONFLICT, False, "failed", "failed", "failed"),
    (CONFLICT, True, "retry", "retry", "retry"),
    (UNAUTHORIZED, False, "retry", "retry", "retry"),
    (LIMITED, False, "retry", "retry", "retry"),
    (LIMITED, True, "retry", "retry", "retry"),
    (UNREACHED, False, "retry", "retry", "retry"),
    (GONE, False, "dead_letter", "dead_letter", "dead_letter"),
    (GONE, True, "unknown", "unknown", "unknown"),
    (LOST, False, "retry", "unknown", "unknown"),
    (LOST, True, "retry", "unknown", "unknown"),
    (BROKEN, False, "retry", "unknown", "unknown"),
]


@pytest.mark.parametrize(("ended", "maybe_before", "key", "natural", "none"), TABLE)
def test_the_first_attempts(ended: Outcome, maybe_before: bool, key: str, natural: str, none: str) -> None:
    for idempotency, expected in (("key", key), ("natural", natural), ("none", none)):
        for number in range(1, MAX_ATTEMPTS):
            settlement = settle(ended, idempotency, number, maybe_before, NOW, random.Random(number))
            assert settlement.outcome == expected, (ended, idempotency, number)
            assert (settlement.next_attempt_at is not None) == (expected == "retry")


@pytest.mark.parametrize(("ended", "maybe_before", "key", "natural", "none"), TABLE)
def test_the_last_attempt(ended: Outcome, maybe_before: bool, key: str, natural: str, none: str) -> None:
    """Nothing is tried a seventh time; what may have been done is not called a dead letter."""
    in_doubt = maybe_before or ended.reached == "maybe"
    for idempotency, before in (("key", key), ("natural", natural), ("none", none)):
        for number in (MAX_ATTEMPTS, MAX_ATTEMPTS + 1):
            outcome = settle(ended, idempotency, number, maybe_before, NOW, random.Random(1)).outcome
            expected = before if before != "retry" else "unknown" if in_doubt else "dead_letter"
            assert outcome == expected, (ended, idempotency)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 406, 410, 412, 413, 415, 418, 422, 428, 431, 451])
def test_a_refusal_is_final(status: int) -> None:
    assert settle(Outcome("no", status), "key", 1, False, NOW, random.Random(1)).outcome == "failed"


@pytest.mark.parametrize("status", [401, 408, 425, 429])
def test_a_refusal_for_now_is_not(status: int) -> None:
    assert settle(Outcome("no", status), "none", 1, False, NOW, random.Random(1)).outcome == "retry"


def test_a_retry_is_due_after_now_and_not_before_retry_after() -> None:
    for seed in range(200):
        due = settle(LIMITED, "key", 1, False, NOW, random.Random(seed)).next_attempt_at
        assert due is not None
        assert NOW + timedelta(seconds=7) <= due <= NOW + timedelta(seconds=7 + BASE_SECONDS * 2)


def test_delays_are_spread_below_a_ceiling_that_doubles() -> None:
    for number in range(1, 12):
        ceiling = min(MAX_SECONDS, BASE_SECONDS * 2**number)
        delays = [delay(number, None, random.Random(seed)) for seed in range(300)]
        assert 0 <= min(delays) < ceiling * 0.1
        assert ceiling * 0.9 < max(delays) <= ceiling
        assert 0.4 * ceiling < sum(delays) / len(delays) < 0.6 * ceiling


@pytest.mark.parametrize(("retry_after", "least"), [(0.0, 0), (120.0, 120), (3600.0, 3600), (1e9, 3600)])
def test_retry_after_is_honoured_up_to_an_hour(retry_after: float, least: float) -> None:
    delays = [delay(1, retry_after, random.Random(seed)) for seed in range(50)]
    assert least <= min(delays) < max(delays) <= least + BASE_SECONDS * 2
    assert max(delays) - min(delays) > BASE_SECONDS, "they do not all come back in the same moment"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Problem(429, "rate_limited", "full", headers={"Retry-After": "7"}), 7),
        (Problem(429, "circuit_open", "down", headers={"Retry-After": "99999999"}), 3600),
        (Problem(409, "kill_switch_engaged", "stopped"), 60),
        (Problem(409, "connection_not_active", "degraded"), None),
        (ConnectionError("reset"), None),
        (None, None),
    ],
)
def test_what_passes_by_itself_puts_off(error: BaseException | None, seconds: float | None) -> None:
    assert put_off_by(error) == seconds
