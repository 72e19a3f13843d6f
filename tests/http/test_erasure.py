"""What is kept is sealed, and what is about a person is erased when somebody asks, wherever it was."""

from typing import Any

from sandbox.organisation import Organisation, ok, once
from tests.http.emissions import crash_reports
from tests.http.functions import function
from tests.http.integrator import NOTE, PAY, at_work, note, payment
from tests.http.problems import unchanged
from tests.http.sealed import spoil
from tests.http.world import World

IBAN = "DE94000123450532013000"  # of a bill that the sandbox bank tells of


def found(world: World, tenant_id: str, text: str) -> list[str]:
    """Every column of every table of ours that has the text in it, of this tenant's rows."""
    columns = world.rows(
        "select c.oid::regclass::text, a.attname, exists (select from pg_attribute t where t.attrelid = c.oid"
        " and t.attname = 'tenant_id') from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace in ('app'::regnamespace, 'private'::regnamespace) and c.relkind = 'r' and a.attnum > 0"
        " and not a.attisdropped and a.atttypid in ('text'::regtype, 'jsonb'::regtype)"
    )
    return [
        f"{table}.{column}"
        for table, column, of_tenants in columns
        if world.rows(
            f"select 1 from {table} where {column}::text like %s"
            + (" and tenant_id = %s limit 1" if of_tenants else " and %s::uuid is not null limit 1"),
            f"%{text}%",
            tenant_id,
        )
    ]


def ask(organisation: Organisation, **body: Any) -> dict[str, Any]:
    request = {"subject": {"type": "iban", "id": IBAN}, "reason": "They asked us to."} | body
    erasure: dict[str, Any] = ok(organisation.owner.api.post("/v1/erasures", json=request, headers=once()))
    return erasure


def test_what_is_read_is_kept_only_sealed_and_read_as_it_was(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        request, key = {"tool": "sandbox_bank.bills.list", "args": {"status": "open"}}, once()
        seen = ok(agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=request, headers=key))
        # Any that is open: other tests pay bills of this bank.
        iban = seen["result"]["bills"][0]["iban"]
        assert found(world, fresh.tenant_id, iban) == []
        [args] = world.rows("select args from app.observations where id = %s", seen["id"])
        assert "open" not in str(args)
        again = ok(agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=request, headers=key))
        assert (again["result"], again["args"], again["labels"]) == (seen["result"], seen["args"], seen["labels"])
        [shown] = ok(agent.api.get(f"/v1/runs/{agent.run_id}"))["observations"]
        assert shown["args"] == {"status": "open"}


def test_a_person_is_erased_on_request(fresh: Organisation, world: World) -> None:
    with at_work(fresh) as agent:
        agent.observe()
        done = agent.propose(
            NOTE, note(), rationale=f"Asked about {IBAN[:4]} {IBAN[4:]}.", subject={"type": "c", "id": "c9"}
        )
        assert agent.settled(done["id"])["status"] == "succeeded"
        with at_work(fresh) as other:
            other.observe("sandbox_crm.messages.list")
        looked = ask(fresh, dry_run=True)
        assert (looked["id"], [run["run_id"] for run in looked["runs"]]) == (None, [agent.run_id])
        assert (looked["runs"][0]["observations"], looked["runs"][0]["actions"]) == (1, 1)
        assert [run["run_id"] for run in ask(fresh, subject={"type": "c", "id": "c9"}, dry_run=True)["runs"]] == [
            agent.run_id
        ]
        assert ask(fresh, subject={"type": "iban", "id": IBAN[:-1]}, dry_run=True)["runs"] == []
        erasure = ask(fresh)
        assert (erasure["searched_to"], IBAN in str(erasure)) == (None, False)
        assert erasure["runs"][0]["erased_at"] is None
        assert world.stack.tick("purge_expired")["failed"] == 0
        assert ok(fresh.owner.api.get(f"/v1/erasures/{erasure['id']}"))["runs"][0]["erased_at"]
        assert found(world, fresh.tenant_id, IBAN) == found(world, fresh.tenant_id, f"{IBAN[:4]} {IBAN[4:]}") == []
        shown = agent.action(done["id"])
        assert (shown["args"], shown["rationale"], shown["digest"]) == ({}, "", done["digest"])
        assert ok(agent.api.get(f"/v1/runs/{agent.run_id}"))["instruction"] == ""
        refused = agent.api.post(
            f"/v1/runs/{agent.run_id}/observations", json={"tool": "sandbox_bank.bills.list"}, headers=once()
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "run_erased")
    assert ok(fresh.owner.api.get("/v1/audit/verify"))["ok"]


def test_a_run_that_does_not_open_is_named_and_ends_no_search(fresh: Organisation, world: World) -> None:
    """Who is found in the rest of it is found; a run that says nothing more is erased whole, by its own id."""
    with at_work(fresh) as broken, at_work(fresh) as told, at_work(fresh) as sound:
        for agent in (broken, told, sound):
            agent.observe()
        told.propose(NOTE, note(), rationale=f"Asked about {IBAN}.")
        spoil(world, broken.run_id, told.run_id)
        looked = ask(fresh, dry_run=True)
        assert {run["run_id"] for run in looked["runs"]} == {told.run_id, sound.run_id}
        assert ([run["run_id"] for run in looked["unread"]], looked["unread_count"]) == ([broken.run_id], 1)
        erasure = ask(fresh)
        [alert] = ok(fresh.owner.api.get("/v1/alerts", params={"kind": "erasure.unread"}))["items"]
        assert (alert["status"], alert["subject"]["id"]) == ("open", erasure["id"])
        whole = ask(fresh, subject={"type": "run", "id": broken.run_id})
        assert ([run["run_id"] for run in whole["runs"]], whole["unread_count"]) == ([broken.run_id], 0)
    ok(fresh.owner.api.post(f"/v1/runs/{broken.run_id}/complete", headers=once()))
    assert world.stack.tick("purge_expired")["failed"] == 0
    shown = ok(fresh.owner.api.get(f"/v1/erasures/{erasure['id']}"))
    assert [bool(run["erased_at"]) for run in [*shown["runs"], *shown["unread"]]] == [True] * 3
    assert found(world, fresh.tenant_id, IBAN) == []
    assert ok(fresh.owner.api.get("/v1/audit/verify"))["ok"]


def test_what_does_not_open_keeps_nobody_from_deciding(fresh: Organisation, world: World) -> None:
    """The run and the exception are shown, say so, and can be decided; what the agent proposes next is not."""
    with at_work(fresh) as agent:
        seen = agent.observe()
        asked = agent.propose(NOTE, note(), confidence=0.1, evidence=[{"observation_id": seen["id"]}])
        spoil(world, agent.run_id)
        api, exception = fresh.approver.api, f"/v1/exceptions/{asked['exception']['id']}"
        [shown] = ok(api.get(exception))["observations"]
        assert (shown["result"], "does not open" in shown["error"]) == (None, True)
        read = ok(api.get(f"/v1/runs/{agent.run_id}/observations/{seen['id']}"))
        assert (read["result"], read["error"]) == (None, shown["error"])
        assert ok(api.get(f"/v1/runs/{agent.run_id}"))["actions"]
        assert ok(api.get(f"{exception}/target"))["compared"] is False
        verdict = {"verdict": "reject", "digest": asked["digest"], "reason": "Nobody can see what this rests on."}
        assert ok(api.post(f"{exception}/decision", json=verdict, headers=once()))["status"] == "rejected"


def test_what_does_not_open_is_said_and_nothing_is_decided_on_it(fresh: Organisation, world: World) -> None:
    """To the agent, and in a crash report: which key it is, what to do, and no value."""
    auth = {"authorization": f"Bearer {fresh.key}"}
    with at_work(fresh) as agent, crash_reports() as reports:
        seen = agent.observe()
        settings = world.stack.environment() | {"SENTRY_DSN": reports.dsn}
        named = settings["COUNTERSIGN_KEK"].partition(":")[0]

        def asked(path: str, body: dict[str, Any], **more: str) -> dict[str, Any]:
            with function("api.index", world, **(settings | more)) as api, unchanged(world):
                status, said, _ = api.call("POST", path, body, idempotency_key=once()["Idempotency-Key"], **auth)
            assert (status, said["code"]) == (500, "seal_broken"), said
            assert "docs/runbook.md" in said["detail"]
            assert IBAN not in str(said)
            return dict(said)

        body = agent.proposal(PAY, payment(), evidence=[{"observation_id": seen["id"]}])
        said = asked("/v1/actions", body, COUNTERSIGN_KEK=f"other:{'07' * 32}")
        assert f"“{named}” is not in COUNTERSIGN_KEK" in said["detail"]
        spoil(world, agent.run_id)
        observations, read = f"/v1/runs/{agent.run_id}/observations", {"tool": "sandbox_crm.messages.list", "args": {}}
        asked(observations, read)
        said = asked("/v1/gate/evaluate", body)
        assert f"does not open with the key-encryption key “{named}”" in said["detail"]
        assert sum(b"SealBrokenError" in report for report in reports.received) == 3
        assert IBAN.encode() not in b"".join(reports.received)


def test_who_may_not_ask_is_refused(fresh: Organisation) -> None:
    body = {"subject": {"type": "iban", "id": IBAN}, "reason": "no", "dry_run": True}
    with at_work(fresh) as agent:
        for api in (agent.api, fresh.approver.api):
            assert api.post("/v1/erasures", json=body, headers=once()).status_code == 403
