"""Each kind of fault, and the journal that tells what really arrived."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.concurrency.patience import eventually
from tests.http.sandbox_bank.orders import EVERYTHING, balance, order, pay, payments
from tests.http.sandbox_oauth.flows import Sandbox

OPENING = 5_000_000


def _break(bank: Sandbox, kind: str, operation: str = "payments.create", **fields: Any) -> None:
    with bank.admin() as admin:
        body = {"operation": operation, "kind": kind} | fields
        assert admin.post("/_faults", json=body).status_code == 201


def _journal(bank: Sandbox, **params: str) -> list[tuple[str, str | None, int | None]]:
    with bank.admin() as admin:
        entries = admin.get("/_log", params={"operation": "payments.create"} | params).json()["entries"]
    return [(entry["outcome"], entry["fault"], entry["status"]) for entry in entries]


def test_rate_limit_does_no_work_and_says_when_to_come_back(bank: Sandbox) -> None:
    _break(bank, "rate_limit", times=2, retry_after=7)
    with bank.api(EVERYTHING) as api:
        for _ in range(2):
            answer = pay(api, "k-1")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert payments(api) == []
        assert pay(api, "k-1").status_code == 201
    assert _journal(bank) == [("not_done", "rate_limit", 429)] * 2 + [("done", None, 201)]


def test_error_does_no_work(bank: Sandbox) -> None:
    _break(bank, "error", status=503)
    with bank.api(EVERYTHING) as api:
        assert pay(api, "k-1").status_code == 503
        assert balance(api) == OPENING
        assert pay(api, "k-1").status_code == 201
    assert _journal(bank) == [("not_done", "error", 503), ("done", None, 201)]


def test_error_after_has_done_the_work(bank: Sandbox) -> None:
    _break(bank, "error_after")
    with bank.api(EVERYTHING) as api:
        assert pay(api, "k-1").status_code == 500
        assert len(payments(api, "k-1")) == 1
        assert pay(api, "k-1").headers["idempotent-replayed"] == "true"
        assert balance(api) == OPENING - 100
    assert _journal(bank) == [("done", "error_after", 201), ("replayed", None, 201)]


def test_drop_after_has_done_the_work_and_sends_not_a_byte(bank: Sandbox) -> None:
    _break(bank, "drop_after")
    with bank.api(EVERYTHING) as api:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            pay(api, "k-1")
        assert len(payments(api, "k-1")) == 1
        assert balance(api) == OPENING - 100
    assert _journal(bank) == [("done", "drop_after", 201)]


@pytest.mark.parametrize("after", [False, True])
def test_hang_answers_late(bank: Sandbox, after: bool) -> None:
    _break(bank, "hang", seconds=0.6, after=after)
    with bank.api(EVERYTHING) as api:
        started = time.monotonic()
        assert pay(api, "k-1").status_code == 201
        assert time.monotonic() - started >= 0.6
        assert len(payments(api)) == 1


def test_hang_does_the_work_even_when_the_caller_has_left(bank: Sandbox) -> None:
    _break(bank, "hang", seconds=300)
    with bank.api(EVERYTHING) as api, bank.admin() as admin:
        brief = httpx.Timeout(60, read=0.3)
        with pytest.raises(httpx.ReadTimeout):
            api.post("/v1/payments", json=order(), headers={"Idempotency-Key": "k-1"}, timeout=brief)
        assert payments(api, "k-1") == []
        eventually(lambda: not admin.get("/_faults").json()["faults"], "the request is there")
        admin.delete("/_faults")
        eventually(lambda: payments(api, "k-1"), "the work is done")
        assert balance(api) == OPENING - 100


def test_a_hang_ends_when_the_faults_are_forgotten(bank: Sandbox) -> None:
    _break(bank, "hang", seconds=300, after=True)
    with bank.api(EVERYTHING) as api, bank.admin() as admin, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(pay, api, "k-1")
        eventually(lambda: _journal(bank) == [("done", "hang", 201)], "the work is done")
        assert not answer.done()
        admin.delete("/_faults")
        assert answer.result(timeout=60).status_code == 201


def test_duplicate_delivers_twice_and_the_key_makes_it_one_payment(bank: Sandbox) -> None:
    _break(bank, "duplicate")
    with bank.api(EVERYTHING) as api:
        assert pay(api, "k-1").status_code == 201
        assert len(payments(api)) == 1
        assert balance(api) == OPENING - 100
    assert _journal(bank) == [("done", "duplicate", 201), ("replayed", "duplicate", 201)]


def test_faults_hit_their_operation_only_and_can_be_cleared(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api, bank.admin() as admin:
        _break(bank, "error", operation="bills.list", times=5)
        _break(bank, "error", operation="*", times=1)
        assert api.get("/v1/accounts").status_code == 500
        assert [fault["operation"] for fault in admin.get("/_faults").json()["faults"]] == ["bills.list"]
        assert pay(api, "k-1").status_code == 201
        assert api.get("/v1/bills").status_code == 500
        assert admin.get("/_faults").json()["faults"][0]["remaining"] == 4
        assert admin.delete("/_faults").json() == {"deleted": 2}
        assert api.get("/v1/bills").status_code == 200


def test_the_token_endpoint_can_fail_too(bank: Sandbox) -> None:
    issued = bank.tokens(EVERYTHING)
    _break(bank, "drop_after", operation="oauth.token")
    with pytest.raises(httpx.RemoteProtocolError):
        bank.refresh(issued["refresh_token"])
    # The rotation has happened: the answer that got lost cannot be asked for again.
    assert bank.refresh(issued["refresh_token"]).json()["error"] == "invalid_grant"


def test_the_journal_tells_requests_apart(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        pay(api, "k-1")
        pay(api, "k-1", amount=200)
        pay(api, "k-2", amount=10_000_000)
        api.get("/v1/bills")
    assert _journal(bank, idempotency_key="k-1") == [("done", None, 201), ("refused", None, 422)]
    assert _journal(bank, idempotency_key="k-2") == [("refused", None, 402)]
    with bank.admin() as admin:
        entries = admin.get("/_log").json()["entries"]
    assert [entry["operation"] for entry in entries] == ["oauth.token"] + ["payments.create"] * 3
    assert len({entry["body_sha256"] for entry in entries}) == 4
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)


def test_faults_and_journal_are_guarded(bank: Sandbox) -> None:
    for headers in ({}, {"X-Sandbox-Admin": "guess"}):
        assert httpx.get(f"{bank.url}/_faults", headers=headers).status_code == 401
        assert httpx.delete(f"{bank.url}/_faults", headers=headers).status_code == 401
        assert httpx.get(f"{bank.url}/_log", headers=headers).status_code == 401
        body = {"operation": "payments.create", "kind": "error"}
        assert httpx.post(f"{bank.url}/_faults", json=body, headers=headers).status_code == 401
    with bank.admin() as admin:
        assert admin.post("/_faults", json={"operation": "payments.make", "kind": "error"}).status_code == 400
        assert admin.post("/_faults", json={"operation": "payments.create", "kind": "x"}).status_code == 400


def test_a_body_without_end_is_refused(bank: Sandbox) -> None:
    with bank.api(EVERYTHING) as api:
        answer = api.post("/v1/payments", content=b" " * 70_000, headers={"Idempotency-Key": "k-1"})
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
