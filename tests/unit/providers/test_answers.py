"""Refusals that come with status 200, and what an attempt that met one is settled as."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from api.execution.execute import kept_of
from api.execution.retry import settle
from api.providers import client
from api.providers.client import Outcome
from api.providers.manifest import Manifest
from api.providers.parts import Answers, Success

SLACK = Answers(
    success=Success(at="/ok", equals=True), error="/error", unsure=["internal_error"], unauthorized=["token_expired"]
)


def judged(status: int, body: Any, answers: Answers = SLACK) -> Outcome:
    error = None if status < 300 else f"The provider answered {status}."
    return client.judged(status, body, error, answers, None)


def settled(ended: Outcome, idempotency: str = "key", *, before: bool = False) -> str:
    return settle(ended, idempotency, 1, before, datetime.now(UTC), random.Random(1)).outcome


def test_a_success_is_one() -> None:
    assert judged(200, {"ok": True, "error": "left over"}) == Outcome("yes", 200, {"ok": True, "error": "left over"})


def test_a_refusal_did_nothing_and_is_not_tried_again() -> None:
    outcome = judged(200, {"ok": False, "error": "channel_not_found"})
    assert (outcome.reached, outcome.code) == ("no", "channel_not_found")
    assert outcome.error == "The provider refused: channel_not_found."
    assert settled(outcome) == "failed"
    assert settled(outcome, before=True) == "unknown"


@pytest.mark.parametrize(
    "body", [{"ok": 1}, {"ok": "true"}, {"ok": None}, {"ok": False}, {"error": "no_text"}, {"ok": [True], "error": "x"}]
)
def test_what_is_not_quite_the_success_is_a_refusal(body: Any) -> None:
    assert judged(200, body).reached == "no"


@pytest.mark.parametrize(
    "body", [None, {}, [], "ok", {"okay": True}, {"error": {"a": 1}}, {"ok": False, "error": "internal_error"}]
)
def test_an_answer_that_does_not_say_leaves_it_open(body: Any) -> None:
    outcome = judged(200, body)
    assert (outcome.reached, outcome.status) == ("maybe", 200)
    assert settled(outcome, "none") == "unknown"
    assert settled(outcome, "key") == "retry"


@pytest.mark.parametrize(
    "code",
    ["ratelimited", "rate_limited", "RATE_LIMIT", "rateLimitExceeded", "REQUEST_LIMIT_EXCEEDED", "too_many_requests"],
)
def test_a_rate_limit_is_waited_for_whatever_its_status(code: str) -> None:
    for status in (200, 400, 403):
        assert settled(judged(status, {"ok": False, "error": code}), "none") == "retry"


def test_a_token_that_is_over_is_told_by_code_too() -> None:
    assert judged(200, {"ok": False, "error": "token_expired"}).unauthorized
    assert judged(401, {}).unauthorized
    assert not judged(200, {"ok": False, "error": "not_in_channel"}).unauthorized
    assert not judged(500, {"error": "token_expired"}).unauthorized


@pytest.mark.parametrize(
    ("pointer", "body", "code"),
    [
        (None, {"error": "insufficient_funds"}, "insufficient_funds"),
        (None, {"error": "Ask Ada at 12"}, None),
        (None, {"error": {"code": "x"}}, None),
        ("/error/code", {"error": {"code": "CARD_DECLINED"}}, "CARD_DECLINED"),
        ("/0/errorCode", [{"errorCode": "INVALID_FIELD"}], "INVALID_FIELD"),
        ("/Fault/Error/0/code", {"Fault": {"Error": [{"code": "6240"}]}}, "6240"),
        ("/ErrorNumber", {"ErrorNumber": 10}, "10"),
        ("/error", {"error": "NL91ABNA0417164300 is closed"}, None),
        ("/error", {"error": 123456789}, None),
        ("/error", {"error": True}, None),
    ],
)
def test_a_code_is_one_word(pointer: str | None, body: Any, code: str | None) -> None:
    assert judged(400, body, Answers(error=pointer)).code == code


def test_the_code_is_kept_with_the_attempt(acme: Manifest) -> None:
    contract = acme.contracts()[1]
    kept = kept_of(contract, judged(200, {"ok": False, "error": "channel_not_found", "text": "secret"}))
    assert kept["response"] == {"status": 200, "reached": "no", "body": {"error": "channel_not_found"}}
    listed = kept_of(contract, judged(400, [{"errorCode": "X"}], Answers(error="/0/errorCode")))
    assert listed["response"]["body"] == {"error": "X"}


def test_a_tool_may_answer_in_a_way_of_its_own(acme: Manifest) -> None:
    assert acme.answers_of("acme.bills.pay").success == Success(at="/status", equals="PAID")
    assert acme.answers_of("acme.bills.find") == acme.answers
    assert judged(201, {"status": "REJECTED", "code": "no_funds"}, acme.answers_of("acme.bills.pay")).reached == "no"
