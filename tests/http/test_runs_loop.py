"""Runs that are driven here: from a trigger over reads, thought and proposals to the last effect, each once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.concurrency.patience import eventually
from tests.http.integrator import NOTE, PAY, access_spec, decide, new_organisation
from tests.http.problems import problem
from tests.http.sealed import force, spoil
from tests.http.world import World

SLUG = "call-back"
BILLS = "sandbox_bank.bills.list"
#: The example of docs/runs.md.
LOOP: dict[str, Any] = {
    "triggers": [{"kind": "call"}],
    "instruction": "Note on con_ada that she was called back.",
    "observe": [{"name": "bills", "tool": BILLS}],
    "reasoner": {
        "kind": "rules",
        "rules": [
            {
                "when": "size(observations.bills.bills) > 0",
                "propose": {
                    "tool": NOTE,
                    "args": {"contact_id": "con_ada", "body": "Called back"},
                    "confidence": 0.95,
                    "rationale": "The instruction asks for it.",
                    "citations": ["say-why"],
                    "evidence": ["bills"],
                },
            }
        ],
    },
}


def live(world: World, slug: str = SLUG, **changes: Any) -> Organisation:
    """An organisation whose workflow has this loop."""
    organisation = new_organisation(world)
    organisation.go_live(slug, "Call back", access_spec(organisation, loop=LOOP | changes))
    return organisation


@pytest.fixture(scope="module")
def caller(world: World) -> Organisation:
    return live(world)


def start(organisation: Organisation, **more: Any) -> dict[str, Any]:
    with organisation.agent() as api:
        body = {"workflow": SLUG, "drive": "loop"} | more
        run: dict[str, Any] = ok(api.post("/v1/runs", json=body, headers=once()))
        return run


def trace(organisation: Organisation, run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = ok(organisation.owner.api.get(f"/v1/runs/{run['id']}"))
    return found


def ended(world: World, organisation: Organisation, run: dict[str, Any]) -> dict[str, Any]:
    """The trace of the run once it is over."""

    def over() -> dict[str, Any] | None:
        world.stack.tick("advance_runs")
        found = trace(organisation, run)
        if found["status"] not in ("queued", "running", "waiting"):
            return found
        world.stack.tick("execute_actions")
        return None

    return eventually(over, lambda: f"the run ends: {trace(organisation, run)['steps']}")


def taken(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["name"], step["outcome"]) for step in found["steps"]]


def test_from_the_call_to_the_effect(world: World, caller: Organisation) -> None:
    """The worked example: read, thought by rules, proposed, executed, settled; and all of it in the trace."""
    run = start(caller, instruction="It is urgent.", subject={"type": "contact", "id": "con_ada"})
    assert run["status"] == "queued"
    assert run["instruction"] == LOOP["instruction"] + "\n\nIt is urgent."
    found = ended(world, caller, run)
    assert found["status"] == "completed", found
    steps = ["observe:bills", "reason", "propose:0", "settle"]
    assert taken(found) == [(name, "done") for name in steps]
    assert all(step["seconds"] >= 0 for step in found["steps"])
    [action] = found["actions"]
    assert (action["status"], action["attempts"][0]["status"]) == ("succeeded", "succeeded")
    assert [note["body"] for note in world.notes(action["id"])] == ["Called back"]
    [read] = [each for each in found["observations"] if each["purpose"] is None]
    assert (read["tool"], read["status"]) == (BILLS, "succeeded")
    assert found["started_by"]["kind"] == "service"
    assert found["audit"]["events"] >= 6
    assert found["steps"][3]["detail"] == {"actions": {"succeeded": 1}}


def test_what_waits_for_a_person_keeps_its_run_waiting(world: World) -> None:
    """And its place: no second run of the workflow begins, so that nothing is proposed twice meanwhile."""
    each = {
        "when": "item.reference == 'INV-1042'",
        "for_each": {"observation": "bills", "pointer": "/bills"},
        "propose": {
            "tool": PAY,
            "args": {
                "from_account": "acc_operating", "to_iban": "{item/iban}", "to_name": "Northwind Paper GmbH",
                "amount": "{item/amount}", "currency": "EUR", "reference": "{item/reference}",
            },
            "confidence": 0.9,
            "rationale": "The bill {item/id} is open.",
            "citations": ["look-before-paying"],
            "evidence": ["bills"],
        },
    }  # fmt: skip
    paying = live(world, reasoner={"kind": "rules", "rules": [each]})
    body = {"workflow": SLUG, "drive": "loop"}
    first, second = ok(paying.owner.api.post("/v1/runs", json=body, headers=once())), start(paying)

    def waits() -> dict[str, Any] | None:  # one call of the function ends by its deadline, however slow the machine
        world.stack.tick("advance_runs")
        found = trace(paying, first)
        return found if found["status"] == "waiting" else None

    waiting = eventually(waits, lambda: f"it waits: {trace(paying, first)}")
    assert trace(paying, second)["status"] == "queued"
    [action] = waiting["actions"]
    assert action["why"]
    shown = ok(paying.owner.api.get(f"/v1/actions/{action['id']}"))
    assert problem(decide(paying.owner, shown), 403)["code"] == "own_run"  # who said what it is about
    assert ok(decide(paying.approver, shown))["status"] == "approved"
    found = ended(world, paying, first)
    assert found["status"] == "completed"
    assert found["actions"][0]["approvals"][0]["digest"] == action["digest"]
    assert len(world.transfers(action["id"])) == 1
    hurry(world)
    world.stack.tick("advance_runs")
    assert trace(paying, second)["status"] in ("running", "waiting")


def test_what_may_be_missing_holds_nothing_up(world: World) -> None:
    """An optional read that fails is left out and said; the run does what it is for."""
    reads = [
        {"name": "bills", "tool": BILLS},
        {"name": "mail", "tool": "sandbox_crm.messages.list", "args": {"contact_id": "{subject/id}"}, "optional": True},
    ]
    organisation = live(world, observe=reads)
    found = ended(world, organisation, start(organisation))
    assert found["status"] == "completed", found
    assert ("observe:mail", "skipped") in taken(found)
    assert next(s for s in found["steps"] if s["name"] == "reason")["detail"]["missing"] == ["mail"]
    assert [action["status"] for action in found["actions"]] == ["succeeded"]


def test_what_may_be_missing_is_not_waited_for(world: World) -> None:
    """A provider that wants no call for a quarter of an hour, or a kill switch over its connection: enrichment only."""
    mail = {"name": "mail", "tool": "sandbox_crm.messages.list", "args": {"contact_id": "con_ada"}, "optional": True}
    organisation = live(world, observe=[mail, {"name": "bills", "tool": BILLS}])
    with world.provider("crm") as crm:
        fault = {"operation": "messages.list", "kind": "rate_limit", "times": 1, "retry_after": 900}
        ok(crm.post("/_faults", json=fault))
    found = []
    for _ in range(2):  # the first is told to wait, the second is not even made
        run = start(organisation)
        for _ in range(3):
            world.stack.tick("advance_runs")
        found = taken(trace(organisation, run))
        assert found[:4] == [("observe:mail", "skipped"), ("observe:bills", "done"), ("reason", "done"),
                             ("propose:0", "done")], found  # fmt: skip
        ok(organisation.owner.api.post(f"/v1/runs/{run['id']}/cancel", json={"reason": "seen"}, headers=once()))
    [(reading,)] = world.rows(
        "select id::text from app.connections where tenant_id = %s and provider = 'sandbox_crm' and access = 'read'"
        " and environment = 'sandbox'", organisation.tenant_id,
    )  # fmt: skip
    stop = {"scope": "connection", "target": reading, "reason": "odd mail"}
    ok(organisation.owner.api.post("/v1/kill-switches", json=stop, headers=once()))
    stopped = start(organisation)
    for _ in range(3):
        world.stack.tick("advance_runs")
    assert taken(trace(organisation, stopped))[:3] == found[:3]


def test_what_is_needed_and_cannot_be_read_ends_the_run(world: World) -> None:
    mail = {"name": "mail", "tool": "sandbox_crm.messages.list", "args": {"contact_id": "{subject/id}"}}
    reads = [mail, {"name": "bills", "tool": BILLS}]
    organisation = live(world, observe=reads)
    run = start(organisation)
    found = ended(world, organisation, run)
    assert (found["status"], taken(found)) == ("failed", [("observe:mail", "failed")])
    assert "subject" in found["status_reason"]
    alerts = ok(organisation.owner.api.get("/v1/alerts", params={"kind": "run.failed"}))["items"]
    told = [(alert["subject"]["id"], alert["owner"]["contact"]) for alert in alerts]
    assert told == [(run["id"], organisation.owner.email)]
    # A person has it run again when that is put right, which nobody else may, and closes the alert by it.
    again, why = f"/v1/runs/{run['id']}/restart", {"reason": "It has a subject now."}
    with organisation.agent() as api:
        assert problem(api.post(again, json=why, headers=once()), 403)["code"] == "people_only"
    second = ok(organisation.owner.api.post(again, json=why, headers=once()))
    assert (second["status"], second["instruction"]) == ("queued", found["instruction"])
    assert trace(organisation, second)["trigger_detail"] == {"restarts": run["id"]} | why
    assert problem(organisation.owner.api.post(again, json=why, headers=once()), 409)["code"] == "restarted_already"
    assert ok(organisation.owner.api.get(f"/v1/alerts/{alerts[0]['id']}"))["status"] == "resolved"


def test_a_run_that_breaks_each_time_ends_when_its_time_is_over(world: World) -> None:
    """What was read does not open any more: no instance can go on, and nobody would be told."""
    mail = {"name": "mail", "tool": "sandbox_crm.messages.list", "args": {"contact_id": "con_ada"}}
    reads = [{"name": "bills", "tool": BILLS}, mail]
    organisation = live(world, observe=reads)
    run = start(organisation)
    with world.provider("crm") as crm:
        ok(crm.post("/_faults", json={"operation": "messages.list", "kind": "error", "status": 503, "times": 1}))
    world.stack.tick("advance_runs")
    assert trace(organisation, run)["status"] == "running"
    spoil(world, run["id"])
    hurry(world)
    assert world.stack.tick("advance_runs")["failed"] == 1
    found = [(run["id"], "running")]
    assert world.rows("select id::text, status from app.runs where tenant_id = %s", organisation.tenant_id) == found
    force(world, "app.runs", "update app.runs set deadline_at = now() where id = %s", run["id"])
    with world.database.connect("superuser") as connection:
        connection.execute("update private.run_work set lease_expires_at = null, fence = null, next_at = now()")
    world.stack.tick("advance_runs")
    [(status, reason)] = world.rows("select status, status_reason from app.runs where id = %s", run["id"])
    assert (status, "broke on our side" in reason) == ("failed", True)
    [alert] = ok(organisation.owner.api.get("/v1/alerts", params={"kind": "run.failed"}))["items"]
    assert alert["subject"]["id"] == run["id"]


def test_a_required_read_is_tried_again(world: World, caller: Organisation) -> None:
    with world.provider("bank") as bank:
        ok(bank.post("/_faults", json={"operation": "bills.list", "kind": "error", "status": 503, "times": 1}))
    run = start(caller)
    world.stack.tick("advance_runs")
    found = trace(caller, run)
    if found["status"] == "running":
        assert taken(found) == [("observe:bills", "failed")]
    found = ended_in_time(world, caller, run)
    assert found["status"] == "completed"
    assert taken(found)[:2] == [("observe:bills", "failed"), ("observe:bills", "done")]


def ended_in_time(world: World, organisation: Organisation, run: dict[str, Any]) -> dict[str, Any]:
    """As `ended`, with the pauses of retries over at once."""
    hurry(world)
    return ended(world, organisation, run)


def hurry(world: World) -> None:
    """Lets the time pass until what pauses goes on."""
    with world.database.connect("superuser") as connection:
        connection.execute("update private.run_work set next_at = now() where lease_expires_at is null")


def test_a_thought_too_large_to_keep_ends_its_run(world: World) -> None:
    """Else it would be thought, and paid for, again and again until the run's time is over."""
    [rule] = LOOP["reasoner"]["rules"]
    each = {"observation": "bills", "pointer": "/bills"}
    body = "{subject/id}" * 100
    rules = [
        rule | {
            "for_each": each,
            "propose": rule["propose"] | {"args": {"contact_id": "con_ada", "body": f"{n} {{item/id}} {body}"}},
        }
        for n in range(50)
    ]  # fmt: skip
    organisation = live(world, reasoner={"kind": "rules", "rules": rules}, max_actions=200)
    run = start(organisation, subject={"type": "contact", "id": "x" * 200})
    world.stack.tick("advance_runs")
    found = trace(organisation, run)
    assert (found["status"], found["actions"]) == ("failed", []), found["steps"]
    assert "too large to be kept" in found["status_reason"]


@pytest.fixture
def working(caller: Organisation) -> Iterator[Any]:
    with caller.agent() as api:
        yield api


def test_nobody_else_works_in_a_run_that_is_driven_here(caller: Organisation, working: Any) -> None:
    run = start(caller)
    answer = working.post(f"/v1/runs/{run['id']}/observations", json={"tool": BILLS}, headers=once())
    assert problem(answer, 409)["code"] == "run_driven_here"
    body = {"workflow": SLUG, "run_id": run["id"], "tool": NOTE, "args": {"contact_id": "con_ada", "body": "x"}}
    assert problem(working.post("/v1/actions", json=body, headers=once()), 409)["code"] == "run_driven_here"
    assert problem(working.post(f"/v1/runs/{run['id']}/complete", headers=once()), 409)["code"] == "run_driven_here"
    cancelled = ok(working.post(f"/v1/runs/{run['id']}/cancel", json={"reason": "not needed"}, headers=once()))
    assert cancelled["status"] == "cancelled"
    assert trace(caller, run)["status_reason"] == "not needed"


def test_a_client_completes_its_own_run(caller: Organisation, working: Any) -> None:
    run = ok(working.post("/v1/runs", json={"workflow": SLUG, "instruction": "Look."}, headers=once()))
    for _ in range(2):
        assert ok(working.post(f"/v1/runs/{run['id']}/complete", headers=once()))["status"] == "completed"
    answer = working.post(f"/v1/runs/{run['id']}/observations", json={"tool": BILLS}, headers=once())
    assert problem(answer, 409)["code"] == "run_completed"
    assert problem(working.post(f"/v1/runs/{run['id']}/cancel", json={"reason": "x"}, headers=once()), 409)


def test_a_kill_switch_holds_a_run_back(world: World) -> None:
    organisation = live(world)
    run = start(organisation)
    [(workflow,)] = world.rows("select id::text from app.workflows where tenant_id = %s", organisation.tenant_id)
    stop = {"scope": "workflow", "target": workflow, "reason": "stop"}
    switch = ok(organisation.owner.api.post("/v1/kill-switches", json=stop, headers=once()))
    world.stack.tick("advance_runs")
    assert (trace(organisation, run)["status"], trace(organisation, run)["steps"]) == ("queued", [])
    release = f"/v1/kill-switches/{switch['id']}/release"
    ok(organisation.owner.api.post(release, json={"reason": "go on"}, headers=once()))
    assert ended(world, organisation, run)["status"] == "completed"


def test_a_schedule_starts_one_run_for_what_was_missed(world: World) -> None:
    organisation = live(world, triggers=[{"kind": "schedule", "cron": "* * * * *"}], max_concurrent=5)
    mine = organisation.tenant_id

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ok(organisation.owner.api.get("/v1/runs", params={"trigger": "schedule"}))[
            "items"
        ]
        return found

    world.stack.tick("advance_runs")  # from now on the schedule is looked after
    before = len(runs())
    back = (
        "update private.schedule_marks set last_slot = now() - interval '3 hours', next_at = now() where tenant_id = %s"
    )
    with world.database.connect("superuser") as connection:
        connection.execute(back.encode(), [mine])
    for least in (before + 1, 0):
        least = max(least, len(runs()))
        world.stack.tick("advance_runs")
        assert len(runs()) in (least, least + 1)  # a minute may have gone by
    found = trace(organisation, runs()[0])
    assert found["trigger_detail"]["cron"] == "* * * * *"
    assert found["started_by"] == {"kind": "system", "id": None, "name": None}
    # It would go on every minute, and meet what other tests have providers do wrong.
    later = "update private.schedule_marks set next_at = now() + interval '1 day' where tenant_id = %s"
    with world.database.connect("superuser") as connection:
        connection.execute(later.encode(), [mine])


def test_a_loop_that_no_call_starts(world: World) -> None:
    organisation = live(world, triggers=[{"kind": "schedule", "cron": "0 4 * * *"}])
    with organisation.agent() as api:
        answer = api.post("/v1/runs", json={"workflow": SLUG, "drive": "loop"}, headers=once())
        assert problem(answer, 409)["code"] == "not_called"
