"""Many at once: executors, proposers, publishers, and the person who stops them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from sandbox.organisation import AGENT_SCOPES, ok, once
from tests.concurrency.patience import eventually
from tests.concurrency.world import PAY, World, another

pytestmark = pytest.mark.slow


@pytest.fixture
def tenant(world: World) -> Iterator[World]:
    """An organisation of its own: what is stopped here stops nobody else."""
    yield another(world, "Crowd")
    world.mend("bank")


def crowd(number: int, work: Callable[[], Any]) -> list[Any]:
    """Does the same in so many threads at once; what each answered."""
    with ThreadPoolExecutor(number) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(number)]]


def test_sixty_blocked_actions_hold_up_nobody_and_sixteen_executors_do_each_once(tenant: World) -> None:
    """The blocked ones are older and more than one batch; released, they are fought over and done once each."""
    blocked = tenant.park(tenant.payment(400 + i) for i in range(60))
    switch = tenant.engage("tool", PAY)
    (good,) = tenant.park([tenant.message()])
    assert tenant.tick() == {"due": 1, "expired_leases": 0, "failed": 0}
    assert tenant.statuses([good]) == {good: "succeeded"}
    assert set(tenant.statuses(blocked).values()) == {"authorized"}
    tenant.release(switch)
    with ThreadPoolExecutor(1) as beside:
        # Approvals go on meanwhile, each with an execution of its own in the background.
        more = beside.submit(lambda: [tenant.do(tenant.payment(500 + i)) for i in range(8)])
        crowd(16, tenant.tick)
        everything = blocked + more.result()
    assert set(tenant.settle(everything).values()) == {"succeeded"}
    # Once each, and at the first attempt: nobody took what somebody else was at.
    assert {len(tenant.attempts(action)) for action in everything} == {1}
    keys = Counter(entry["idempotency_key"] for entry in tenant.journal("bank", "payments.create"))
    assert {keys[f"cs_{action}"] for action in everything} == {1}
    tenant.check()


def test_nothing_starts_once_the_kill_switch_has_answered(tenant: World) -> None:
    ids = tenant.park(tenant.payment(600 + i) for i in range(30))
    tenant.break_next("bank", "payments.create", "hang", times=30, seconds=300, after=True)
    ticking = threading.Thread(target=tenant.tick, daemon=True)
    ticking.start()
    eventually(lambda: any(tenant.payments(action) for action in ids), "the payments begin")
    switch = tenant.engage("tenant")
    answered = datetime.now(UTC)
    tenant.mend("bank")
    ticking.join(timeout=60)
    # What was begun but not sent was stopped as well, and goes back to where it waits.
    attempts = [attempt for action in ids for attempt in tenant.attempts(action)]
    assert max(attempt["started_at"] for attempt in attempts) <= answered
    sent = {str(attempt["action_id"]): attempt["sent_at"] for attempt in attempts if attempt["sent_at"]}
    assert 0 < len(sent) < len(ids), "the switch came in the middle"
    assert max(sent.values()) <= answered
    late = {
        entry["idempotency_key"].removeprefix("cs_")
        for entry in tenant.journal("bank", "payments.create")
        if datetime.fromisoformat(entry["at"]) > answered
    }
    assert late & set(ids) <= set(switch["in_flight"])
    assert set(ids) - set(sent) <= set(switch["stopped"])
    assert tenant.tick() == {"due": 0, "expired_leases": 0, "failed": 0}
    now = tenant.statuses(ids)
    assert {now[action] for action in sent} == {"succeeded"}
    assert {now[action] for action in set(ids) - set(sent)} == {"authorized"}
    tenant.check()
    tenant.release(switch)
    assert set(tenant.settle(ids).values()) == {"succeeded"}
    tenant.check()


def test_no_decision_is_recorded_under_rules_that_are_gone(tenant: World) -> None:
    """Constitutions are published without pause while eight clients propose."""
    stop = threading.Event()
    api = tenant.organisation.owner.api
    rules = ok(api.get("/v1/constitution"))["rules"]

    def publish() -> int:
        version = 1
        while not stop.is_set():
            body = {"rules": rules, "reason": f"number {version + 1}", "expected_version": version}
            version = ok(api.post("/v1/constitution/versions", json=body, headers=once()))["version"]
        return version

    def propose() -> Counter[tuple[int, str | None]]:
        answers: Counter[tuple[int, str | None]] = Counter()
        with tenant.organisation.agent() as agent:
            for _ in range(25):
                answer = agent.post("/v1/actions", json=tenant.payment(), headers=once())
                answers[(answer.status_code, answer.json().get("code"))] += 1
        return answers

    with ThreadPoolExecutor(1) as publisher:
        published = publisher.submit(publish)
        try:
            answers = sum(crowd(8, propose), Counter[tuple[int, str | None]]())
        finally:
            stop.set()
        last = published.result()
    assert set(answers) <= {(201, None), (409, "epoch_moved")}, answers
    assert answers[(201, None)] > 0
    assert last > 5
    # The log is in the order of the commits: each decision cites the constitution that was in force right then.
    told = tenant.rows(
        "select e.type, d.document ->> 'constitution_version' as cited,"
        " e.record::jsonb -> 'what' ->> 'version' as version"
        " from app.audit_events e left join app.decisions d on d.id::text = e.subject_id"
        " where e.tenant_id = %s and e.type in ('constitution.published', 'decision.made') order by e.seq",
        tenant.organisation.tenant_id,
    )
    in_force = ""
    for event in told:
        if event["type"] == "constitution.published":
            in_force = event["version"]
        else:
            assert event["cited"] == in_force
    assert len([e for e in told if e["type"] == "decision.made"]) == answers[(201, None)]
    tenant.check()


def test_a_revoked_key_records_nothing_more(tenant: World) -> None:
    organisation = tenant.organisation
    path = f"/v1/service-accounts/{organisation.service_account_id}/keys"
    key = ok(organisation.owner.api.post(path, json={"environment": "sandbox", "scopes": AGENT_SCOPES}, headers=once()))
    begun, revoked = threading.Event(), threading.Event()

    def propose() -> list[tuple[bool, int]]:
        """Whether the revocation had answered when the request was sent, and what came back; until well after it."""
        answers: list[tuple[bool, int]] = []
        headers = {"Authorization": f"Bearer {key['secret']}"}
        with httpx.Client(base_url=tenant.stack.url["api"], headers=headers, timeout=60) as agent:
            while sum(late for late, _ in answers) < 3:
                late = revoked.is_set()
                answers.append((late, agent.post("/v1/actions", json=tenant.payment(), headers=once()).status_code))
                if answers[-1][1] == 201:
                    begun.set()
        return answers

    def revoke() -> None:
        assert begun.wait(60)  # a busy machine takes its time over the first
        time.sleep(0.5)
        assert organisation.owner.api.delete(f"/v1/keys/{key['id']}").is_success
        revoked.set()

    with ThreadPoolExecutor(1) as person:
        done = person.submit(revoke)
        answers = [pair for each in crowd(8, propose) for pair in each]
        done.result()
    assert {status for late, status in answers if late} == {401}
    assert {status for late, status in answers if not late} <= {201, 401, 409}
    proposed = Counter(status for _, status in answers)[201]
    assert proposed > 0
    events = tenant.rows(
        "select seq, type from app.audit_events where tenant_id = %s and (type = 'key.updated'"
        " or type = 'action.proposed' and record::jsonb -> 'principal' ->> 'key_id' = %s) order by seq",
        organisation.tenant_id,
        key["id"],
    )
    assert [e["type"] for e in events] == ["action.proposed"] * proposed + ["key.updated"]
    tenant.check()


def test_a_tenant_whose_credential_is_gone_starves_nobody(tenant: World) -> None:
    """Its actions go to the back of the queue one by one; another tenant's, and its own others, are done."""
    neighbour = another(tenant, "Neighbour")
    broken = tenant.park(tenant.payment() for _ in range(3))
    (own,) = tenant.park([tenant.message()])
    (other,) = neighbour.park([neighbour.payment()])
    connection = tenant.organisation.connections["sandbox_bank/write"]
    secret = "select secret_id from app.credentials where connection_id = %s"
    assert tenant.rows(f"delete from vault.secrets where id = ({secret}) returning 1", connection)
    assert tenant.tick() == {"due": 2, "expired_leases": 0, "failed": 3}
    assert tenant.statuses([own]) | neighbour.statuses([other]) == {own: "succeeded", other: "succeeded"}
    assert set(tenant.statuses(broken).values()) == {"authorized"}
    assert all(tenant.action(a)["next_attempt_at"].timestamp() > time.time() + 30 for a in broken)
    assert tenant.tick() == {"due": 0, "expired_leases": 0, "failed": 0}
    assert ok(tenant.organisation.owner.api.delete(f"/v1/connections/{connection}"))["status"] == "revoked"
    assert set(tenant.settle(broken).values()) == {"expired"}
    tenant.check()
    neighbour.check()
