"""Tokens that end, get lost or are refused, under many hands at once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.organisation import once
from tests.concurrency.world import World, another

pytestmark = pytest.mark.slow

READ, WRITE = "sandbox_bank/read", "sandbox_bank/write"


@pytest.fixture
def tenant(world: World) -> Iterator[World]:
    """An organisation with consents of its own, since these tests use them up."""
    yield another(world, "Tokens")
    world.mend("bank")


def exchanges(world: World, after: int) -> list[tuple[str, int]]:
    """How the bank answered the requests for tokens since then."""
    return [(e["outcome"], e["status"]) for e in world.journal("bank", "oauth.token", after)]


def look(world: World) -> tuple[int, str | None]:
    """One observation; its HTTP status and its own."""
    body = {"tool": "sandbox_bank.bills.list", "args": {}}
    answer = world.agent.post(f"/v1/runs/{world.run_id}/observations", json=body, headers=once())
    return answer.status_code, answer.json().get("status") if answer.status_code == 201 else answer.json()["code"]


def test_ten_observations_and_one_refresh(tenant: World) -> None:
    for _ in range(2):
        tenant.let_expire(READ)
        start = tenant.journal_end("bank")
        with ThreadPoolExecutor(10) as pool:
            seen = list(pool.map(lambda _: look(tenant), range(10)))
        assert seen == [(201, "succeeded")] * 10
        assert exchanges(tenant, start) == [("done", 200)]
    assert tenant.connection_status(READ) == ("active", None)
    assert not tenant.outside("bank", "select id from oauth_grants where revoked_because like '%twice%'")


def test_six_payments_and_one_refresh(tenant: World) -> None:
    ids = tenant.park(tenant.payment() for _ in range(6))
    tenant.let_expire(WRITE)
    start = tenant.journal_end("bank")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: tenant.tick(), range(3)))
    assert set(tenant.settle(ids).values()) == {"succeeded"}
    assert exchanges(tenant, start) == [("done", 200)]
    assert [len(tenant.attempts(action)) for action in ids] == [1] * 6
    tenant.check()


def test_a_token_endpoint_that_fails_for_a_while(tenant: World) -> None:
    """The attempt did not reach the bank, the consent is untouched, and the next attempt finds the endpoint well."""
    (action,) = tenant.park([tenant.payment()])
    tenant.let_expire(WRITE)
    tenant.break_next("bank", "oauth.token", "error", status=503)
    assert tenant.settle([action]) == {action: "succeeded"}
    refused, made = tenant.attempts(action)
    assert (refused["response"]["reached"], refused["error"]) == ("no", "The provider gave no tokens: internal_error.")
    assert made["status"] == "succeeded"
    assert tenant.connection_status(WRITE) == ("active", None)
    tenant.check()


def test_a_token_that_still_lasts_is_used_while_the_endpoint_fails(tenant: World) -> None:
    tenant.let_expire(READ, seconds=20)
    tenant.break_next("bank", "oauth.token", "error", times=3)
    assert look(tenant) == (201, "succeeded")


def test_tokens_whose_answer_got_lost(tenant: World) -> None:
    """The bank has replaced the refresh token and we never saw the new one: the connection ends, with its reason."""
    pair = tenant.park([tenant.payment(), tenant.payment()])
    tenant.let_expire(WRITE)
    start = tenant.journal_end("bank")
    tenant.break_next("bank", "oauth.token", "drop_after")
    ended = tenant.settle(pair)
    assert set(ended.values()) <= {"dead_letter", "expired"}
    first = next(action for action, status in ended.items() if status == "dead_letter")
    status, reason = tenant.connection_status(WRITE)
    assert status == "expired"
    assert reason == "The provider gave no tokens: invalid_grant. Connect it again."
    # Asked until the answer was lost, and once more: a refused consent is not asked about for ever.
    assert exchanges(tenant, start)[0] == ("done", 200)
    assert len(exchanges(tenant, start)) <= 3
    tenant.tick()
    assert len(exchanges(tenant, start)) <= 3
    kept = tenant.rows(
        "select c.secret_id, s.id from app.credentials c left join vault.secrets s on s.id = c.secret_id"
        " where connection_id = %s",
        tenant.organisation.connections[WRITE],
    )
    assert kept == [{"secret_id": None, "id": None}]
    assert [tenant.payments(action) for action in pair] == [[], []]
    tenant.check()
    # A dead letter of a consent that is gone is not put back, and says at once why it cannot run.
    path = f"/v1/actions/{first}/requeue"
    refused = tenant.organisation.owner.api.post(path, json={"reason": "try"}, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (409, "requeue_denied")
    assert "The connection is expired." in refused.json()["errors"][0]["message"]
    assert tenant.statuses([first]) == {first: "dead_letter"}
    # Connected anew, the same work goes on.
    tenant.organisation.connect("sandbox_bank", "write")
    tenant.new_version()
    tenant.start_run()
    assert tenant.settle([again := tenant.do(tenant.payment())]) == {again: "succeeded"}
    tenant.check()


def test_tokens_whose_answer_got_lost_after_a_payment_that_may_have_been_made(tenant: World) -> None:
    """The consent is gone, and the payment was made: `unknown`, until somebody has looked."""
    tenant.break_next("bank", "payments.create", "drop_after")
    (action,) = tenant.park([tenant.payment()])
    tenant.tick()
    tenant.let_expire(WRITE)
    tenant.break_next("bank", "oauth.token", "drop_after")
    assert tenant.settle([action]) == {action: "unknown"}
    assert len(tenant.payments(action)) == 1
    assert tenant.reconcile(action).json()["status"] == "succeeded"
    tenant.check()


def test_a_consent_that_was_withdrawn_at_the_bank(tenant: World) -> None:
    file = tenant.stack.state / "sandbox_bank.sqlite3"
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as bank, bank:
        bank.execute(
            "update oauth_grants set revoked_at = 1, revoked_because = 'the customer said so' where id = ("
            "select id from oauth_grants where scope not like '%write%' order by created_at desc, rowid desc limit 1)"
        )
    assert look(tenant) == (201, "failed")
    assert tenant.connection_status(READ)[0] == "expired"
    assert look(tenant) == (409, "connection_not_active")
    start = tenant.journal_end("bank")
    assert look(tenant) == (409, "connection_not_active")
    assert exchanges(tenant, start) == []


def test_an_access_token_that_ends_early_is_replaced_within_the_attempt(tenant: World) -> None:
    """A 401 says that nothing was done, so the same attempt refreshes and goes on."""
    (action,) = tenant.park([tenant.payment()])
    file = tenant.stack.state / "sandbox_bank.sqlite3"
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as bank, bank:
        bank.execute("update oauth_tokens set revoked_at = 1 where kind = 'access'")
    assert tenant.settle([action]) == {action: "succeeded"}
    assert len(tenant.attempts(action)) == 1
    tenant.check()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_fifty_requests_and_one_refresh(tenant: World, kind: str) -> None:
    """Fifty at once, and all of them find a token that has ended; counted at the bank."""
    start = tenant.journal_end("bank")
    if kind == "read":
        tenant.let_expire(READ)
        with ThreadPoolExecutor(50) as pool:
            seen = list(pool.map(lambda _: look(tenant), range(50)))
        assert seen == [(201, "succeeded")] * 50
    else:
        ids = tenant.park(tenant.payment() for _ in range(50))
        tenant.let_expire(WRITE)
        start = tenant.journal_end("bank")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: tenant.tick(), range(4)))
        assert set(tenant.settle(ids).values()) == {"succeeded"}
        assert [len(tenant.attempts(action)) for action in ids] == [1] * 50
        tenant.check()
    assert exchanges(tenant, start) == [("done", 200)]
    assert tenant.connection_status(READ if kind == "read" else WRITE) == ("active", None)
