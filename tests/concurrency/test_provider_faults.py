"""What a provider can do to an execution, and what becomes of the action each time."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.organisation import ok, once
from tests.concurrency.patience import eventually
from tests.concurrency.world import World, another

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def well(world: World) -> None:
    """What one test did to a provider keeps the connections of the next one waiting for nothing."""
    world.calm()


def until_tried(world: World, action: str, times: int = 1) -> None:
    """Waits until so many attempts have been settled."""

    def settled() -> bool:
        closed = [a for a in world.attempts(action) if a["status"] != "executing"]
        return len(closed) >= times

    eventually(settled, f"{times} attempts end")


def deliveries_of(world: World, action: str) -> list[dict[str, Any]]:
    """What the bank's journal holds of one payment."""
    return [e for e in world.journal("bank", "payments.create") if e["idempotency_key"] == f"cs_{action}"]


def given_up(world: World, provider: str, operation: str, body: dict[str, Any], *, after: bool = False) -> str:
    """An action whose first call got no answer in time; it hangs at the provider until its faults are forgotten."""
    world.break_next(provider, operation, "hang", seconds=300, after=after)
    with world.settings({"COUNTERSIGN_PROVIDER_TIMEOUT": "2"}):
        action = world.do(body)
        until_tried(world, action)
    return action


def try_now(world: World, action: str) -> None:
    """Lets the next attempt be due, and makes it."""
    before = len(world.attempts(action))
    world.hurry([action])
    world.tick()
    until_tried(world, action, before + 1)


def test_a_rate_limit_is_waited_for(world: World) -> None:
    """Not before `Retry-After`, whatever the scheduler does meanwhile."""
    world.break_next("bank", "payments.create", "rate_limit", retry_after=2)
    action = world.do(world.payment())
    until_tried(world, action)
    refused = world.attempts(action)[0]
    assert refused["response"]["status"] == 429
    assert world.action(action)["next_attempt_at"].timestamp() >= refused["finished_at"].timestamp() + 1.9
    assert world.settle([action], hurry=False) == {action: "succeeded"}
    assert world.attempts(action)[1]["started_at"].timestamp() >= refused["finished_at"].timestamp() + 1.9
    world.check()


@pytest.mark.parametrize(
    ("kind", "more", "deliveries"),
    [
        ("error", {"status": 500}, ["not_done", "done"]),
        ("error", {"status": 503}, ["not_done", "done"]),
        ("error_after", {"status": 502}, ["done", "replayed"]),
        ("drop_after", {}, ["done", "replayed"]),
        ("duplicate", {}, ["done", "replayed"]),
    ],
)
def test_a_payment_is_made_once_whatever_the_bank_does(
    world: World, kind: str, more: dict[str, int], deliveries: list[str]
) -> None:
    world.break_next("bank", "payments.create", kind, **more)
    action = world.do(world.payment())
    assert world.settle([action]) == {action: "succeeded"}
    journal = deliveries_of(world, action)
    assert [e["outcome"] for e in journal] == deliveries
    assert len({e["body_sha256"] for e in journal}) == 1
    world.check()


def test_a_payment_that_the_bank_makes_before_we_gave_up_waiting(world: World) -> None:
    action = given_up(world, "bank", "payments.create", world.payment(), after=True)
    assert world.settle([action]) == {action: "succeeded"}
    world.mend("bank")
    assert [e["outcome"] for e in deliveries_of(world, action)] == ["done", "replayed"]
    world.check()


def test_a_payment_that_the_bank_makes_after_we_gave_up_waiting(world: World) -> None:
    """The work comes after the timeout, and after the retry has made the payment."""
    action = given_up(world, "bank", "payments.create", world.payment())
    assert world.attempts(action)[0]["response"] == {"status": None, "reached": "maybe", "body": None}
    assert world.settle([action]) == {action: "succeeded"}
    world.mend("bank")
    eventually(lambda: len(deliveries_of(world, action)) == 2, "the bank gets to the first request")
    world.check()


def test_a_bank_that_is_not_there(world: World) -> None:
    """Refused connections reach nobody: they are tried again, and settled as soon as the bank is back."""
    world.stack.kill("bank")
    action = world.do(world.payment())
    until_tried(world, action)
    assert world.attempts(action)[0]["response"]["reached"] == "no"
    try_now(world, action)
    world.stack.restart("bank")
    assert world.settle([action]) == {action: "succeeded"}
    assert [a["status"] for a in world.attempts(action)] == ["failed", "failed", "succeeded"]
    world.check()


def test_a_bank_that_is_killed_while_it_pays(world: World) -> None:
    world.break_next("bank", "payments.create", "hang", seconds=300, after=True)
    action = world.do(world.payment())
    eventually(lambda: world.payments(action), "the bank has paid")
    world.stack.kill("bank")
    until_tried(world, action)
    world.stack.restart("bank")
    world.mend("bank")
    assert world.settle([action]) == {action: "succeeded"}
    world.check()


def test_a_refusal_fails_with_what_the_bank_said(world: World) -> None:
    poor = world.do(world.payment(90_000_000))
    wrong = world.payment()
    wrong["args"]["to_iban"] = "DE00000123450532013000"
    mistaken = world.do(wrong)
    assert world.settle([poor, mistaken]) == {poor: "failed", mistaken: "failed"}
    seen = ok(world.agent.get(f"/v1/actions/{poor}"))
    assert seen["status_reason"] == "The provider answered 402."
    assert seen["attempts"][0]["response"]["status"] == 402
    assert seen["attempts"][0]["response"]["body"]["error"] == "insufficient_funds"
    assert world.attempts(mistaken)[0]["response"]["body"]["error"] == "invalid_iban"
    assert len(world.attempts(poor)) == 1
    world.check()


def test_a_refusal_after_a_lost_answer_is_no_failure(world: World) -> None:
    """The first request may still take effect, so what a later one is told does not settle the action."""
    action = given_up(world, "bank", "payments.create", world.payment(90_000_000))
    assert world.settle([action]) == {action: "unknown"}
    assert world.attempts(action)[1]["response"]["status"] == 402
    world.mend("bank")
    eventually(lambda: len(deliveries_of(world, action)) == 2, "the bank gets to the first request")
    assert world.reconcile(action).json()["code"] == "not_found_at_provider"
    assert world.reconcile(action, "failed").json()["status"] == "failed"
    world.check()


def test_six_attempts_and_no_more(world: World) -> None:
    """A bank that stays away leaves a dead letter; a person may put it back into the queue, or cancel it."""
    world.break_next("bank", "payments.create", "rate_limit", times=12, retry_after=0)
    first, second = world.do(world.payment()), world.do(world.payment())
    assert world.settle([first, second]) == {first: "dead_letter", second: "dead_letter"}
    assert [len(world.attempts(a)) for a in (first, second)] == [6, 6]
    world.tick()
    assert world.statuses([first]) == {first: "dead_letter"}
    machine = world.agent.post(f"/v1/actions/{first}/requeue", json={"reason": "again"}, headers=once())
    assert machine.status_code == 403
    person = world.organisation.owner.api
    assert ok(person.post(f"/v1/actions/{first}/requeue", json={"reason": "again"}, headers=once()))
    assert ok(person.post(f"/v1/actions/{second}/cancel", json={"reason": "enough"}, headers=once()))
    assert world.settle([first, second]) == {first: "succeeded", second: "cancelled"}
    world.check()


def test_six_attempts_of_which_one_may_have_paid(world: World) -> None:
    """Then it is no dead letter: somebody has to look at the bank first."""
    world.break_next("bank", "payments.create", "drop_after")
    world.break_next("bank", "payments.create", "rate_limit", times=5, retry_after=0)
    action = world.do(world.payment())
    assert world.settle([action]) == {action: "unknown"}
    assert len(world.attempts(action)) == 6
    assert len(world.payments(action)) == 1
    world.check()
    assert world.reconcile(action).json()["status"] == "succeeded"
    world.check()


def test_cancelling_between_attempts(world: World) -> None:
    """What was only refused is cancelled; what may have been done is `unknown`, and is not tried again."""
    refused, lost = _refused_and_lost(world)
    path, body = "/v1/actions/{}/cancel", {"reason": "not any more"}
    assert ok(world.agent.post(path.format(refused), json=body, headers=once()))["status"] == "cancelled"
    assert ok(world.agent.post(path.format(lost), json=body, headers=once()))["status"] == "unknown"
    assert world.settle([refused, lost]) == {refused: "cancelled", lost: "unknown"}
    assert world.payments(refused) == []
    world.check()
    assert world.reconcile(lost).json()["status"] == "succeeded"
    world.check()


def test_rules_that_change_between_attempts(world: World) -> None:
    """A new version of the workflow ends what waits for a retry; what may have been done is not called `expired`."""
    tenant = another(world, "Changing")
    refused, lost = _refused_and_lost(tenant)
    tenant.new_version()
    assert tenant.settle([refused, lost]) == {refused: "expired", lost: "unknown"}
    assert tenant.action(refused)["status_reason"] == "the workflow has a new version"
    tenant.check()
    tenant.start_run()
    assert tenant.settle([again := tenant.do(tenant.payment())]) == {again: "succeeded"}


def test_a_connection_that_is_revoked_between_attempts(world: World) -> None:
    tenant = another(world, "Leaving")
    refused, lost = _refused_and_lost(tenant)
    connection = tenant.organisation.connections["sandbox_bank/write"]
    assert ok(tenant.organisation.owner.api.delete(f"/v1/connections/{connection}"))["revoked_at_provider"]
    assert tenant.settle([refused, lost]) == {refused: "expired", lost: "unknown"}
    assert "revoked" in tenant.action(refused)["status_reason"]
    # The read connection is another consent, so the bank can still be asked.
    assert tenant.reconcile(lost).json()["status"] == "succeeded"
    tenant.check()


def _refused_and_lost(world: World) -> tuple[str, str]:
    """Two payments that wait for a retry: one that the bank refused, one that it made without our hearing of it."""
    world.break_next("bank", "payments.create", "rate_limit", retry_after=60)
    refused = world.do(world.payment())
    until_tried(world, refused)
    world.calm()  # the bank wanted a pause, which the next payment would keep to as well
    world.break_next("bank", "payments.create", "drop_after")
    lost = world.do(world.payment())
    until_tried(world, lost)
    assert world.statuses([refused, lost]) == {refused: "authorized", lost: "authorized"}
    return refused, lost


@pytest.mark.parametrize("kind", ["drop_after", "error_after", "hang"])
def test_a_message_that_may_have_been_sent_is_never_sent_again(world: World, kind: str) -> None:
    if kind == "hang":
        action = given_up(world, "crm", "messages.send", world.message())
        world.mend("crm")
    else:
        world.break_next("crm", "messages.send", kind)
        action = world.do(world.message())
    assert world.settle([action]) == {action: "unknown"}
    for _ in range(2):
        world.tick()
    eventually(lambda: world.messages(action), "the message is sent")
    assert world.reconcile(action).json()["status"] == "succeeded"
    assert len(world.messages(action)) == 1
    assert len(world.attempts(action)) == 1
    world.check()


def test_a_message_that_was_refused_is_tried_again(world: World) -> None:
    """A 429 says that nothing was done, for a tool without idempotency too."""
    world.break_next("crm", "messages.send", "rate_limit", retry_after=0)
    action = world.do(world.message())
    assert world.settle([action]) == {action: "succeeded"}
    assert len(world.messages(action)) == 1
