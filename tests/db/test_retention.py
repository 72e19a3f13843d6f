"""What was read is kept as long as its workflow says: not a day longer, and by nobody's hand a day shorter.

The workflow of tests/db/founding.py keeps what it reads for 30 days, financial data for 20 and personal data for 10.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.ids import new_id
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, ENVIRONMENTS, GLOBEX, Row, Tenant, soon
from tests.db.world import World

RESULT = {
    "bills": [
        {"id": "b1", "iban": "DE94", "payer": {"name": "Ada", "7": "seven"}},
        {"id": "b2", "iban": "NL13", "payer": {"name": "Bo"}},
    ],
    "names": ["Cy", "Di"],
    "none": [],
}
LABELS = {
    "/bills/*/id": {"trust": "trusted"},
    "/bills/*/iban": {"trust": "trusted", "data_class": "financial"},
    "/bills/*/payer/name": {"trust": "untrusted", "data_class": "personal"},
    "/bills/*/payer/*": {"trust": "untrusted", "data_class": "internal"},
    "/names/*": {"trust": "untrusted", "data_class": "personal"},
    "/none": {"trust": "untrusted"},
}


def read(world: World, tenant: Tenant = ACME, key: str | None = None) -> str:
    """An observation that has ended well; with a key its answer is stored."""
    by = tenant.service()
    claimed = world.call(by, "claim_observation_v1", world.observation(tenant, args={"reference": "Ada"}))
    finish = {"id": claimed["id"], "status": "succeeded", "result": RESULT, "labels": LABELS, "digest": "sha256:ab"}
    world.call(by, "finish_observation_v1", finish, key=key, request="read" if key else None)
    return str(claimed["id"])


def age(world: World, days: float) -> None:
    """Makes every observation so many days old, which only the superuser can."""
    for trigger in ("observations_keep_columns", "observations_transition"):
        world.rows(f"alter table app.observations disable trigger {trigger}")
    world.rows(
        "update app.observations set created_at = now() - %s * interval '1 day',"
        " finished_at = case when finished_at is not null then now() - %s * interval '1 day' end",
        days, days,
    )  # fmt: skip
    for trigger in ("observations_keep_columns", "observations_transition"):
        world.rows(f"alter table app.observations enable always trigger {trigger}")


def row(world: World, observation: str) -> Row:
    found: Row = world.value("select to_jsonb(o) from app.observations o where id = %s", observation)
    return found


def due(world: World) -> list[str]:
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        [work] = world.api.execute("select app.claim_expired_observations_v1(100)").fetchone() or [[]]
    return [item["id"] for item in work]


def erase(world: World, *observations: str, by: Row | None = None) -> int:
    args = {"ids": list(observations)}
    return int(world.call(by or ACME.system("purge_expired"), "erase_observations_v1", args)["erased"])


def test_nothing_is_due_while_it_is_to_be_kept(world: World) -> None:
    observation = read(world)
    age(world, 9.9)
    assert due(world) == []
    with world.unchanged():
        assert erase(world, observation) == 0


def test_a_class_goes_before_the_rest(world: World) -> None:
    observation = read(world)
    age(world, 10.1)
    assert due(world) == [observation]
    assert erase(world, observation) == 1
    left = row(world, observation)
    assert left["result"] == {
        "bills": [{"id": "b1", "iban": "DE94", "payer": {"7": "seven"}}, {"id": "b2", "iban": "NL13"}],
        "none": [],
    }
    assert (left["erased_classes"], left["erased_at"]) == (["personal"], None)
    assert not any(label.get("data_class") == "personal" for label in left["labels"].values())
    assert (left["args"], left["digest"], left["status"]) == ({"reference": "Ada"}, "sha256:ab", "succeeded")
    assert due(world) == []
    assert erase(world, observation) == 0
    age(world, 20.1)
    assert erase(world, observation) == 1
    left = row(world, observation)
    assert left["result"]["bills"] == [{"id": "b1", "payer": {"7": "seven"}}, {"id": "b2"}]
    assert left["erased_classes"] == ["financial", "personal"]


def test_at_the_end_only_what_proves_the_read_is_left(world: World) -> None:
    observation, before = read(world), world.last_event()
    was = row(world, observation)
    age(world, 30.1)
    assert erase(world, observation) == 1
    left = row(world, observation)
    assert (left["args"], left["result"], left["labels"]) == ({}, None, None)
    assert left["erased_at"] is not None
    for column in ("tool", "digest", "run_id", "connection_id", "contract_version", "status", "source"):
        assert left[column] == was[column]
    assert "Ada" not in json.dumps(left)
    [*_, event] = [e for e in world.events(after=before) if e["type"] == "observation.updated"]
    assert event["subject"]["id"] == observation
    assert event["what"]["erased_at"]
    assert event["principal"] == {"kind": "system", "id": "purge_expired", "login": "countersign_api"}
    assert world.verified()["ok"]
    assert due(world) == []


def test_a_read_that_never_ended_is_erased_too(world: World) -> None:
    claimed = world.call(ACME.service(), "claim_observation_v1", world.observation(args={"reference": "Ada"}))
    age(world, 31)
    assert erase(world, claimed["id"]) == 1
    left = row(world, claimed["id"])
    assert (left["args"], left["status"]) == ({}, "failed")
    finish = {"id": claimed["id"], "status": "succeeded", "result": RESULT, "labels": LABELS, "digest": "sha256:ab"}
    with world.refuses("observation_closed"):
        world.call(ACME.service(), "finish_observation_v1", finish)


def test_the_stored_answer_goes_with_the_observation(world: World) -> None:
    """The same request again must not bring back what was erased."""
    observation = read(world, key="once")
    age(world, 10.1)
    erase(world, observation)
    again = {"id": str(new_id()), "status": "succeeded"}
    repeated = world.answer(ACME.service(), "finish_observation_v1", again, key="once", request="read")
    assert repeated["replayed"]
    assert "Ada" not in json.dumps(repeated["result"]["result"])
    age(world, 31)
    erase(world, observation)
    repeated = world.answer(ACME.service(), "finish_observation_v1", again, key="once", request="read")
    assert (repeated["result"]["result"], repeated["result"]["args"]) == (None, {})
    assert world.value("select count(*) from app.idempotency_keys k where k::text like '%%Ada%%'") == 0
    refused_everywhere(
        world, "update app.idempotency_keys set answer = '{}' where key = 'once'",
        claims=ACME.system("purge_expired"), reasons=("append_only",),
    )  # fmt: skip


CHANGES: dict[str, str] = {
    "another result": "result = '{}'",
    "no result": "result = null",
    "other labels": "labels = '{}'",
    "other arguments": "args = '{}'",
    "another digest": "digest = 'sha256:cd'",
    "erased": "erased_at = now()",
    "erased classes": "erased_classes = '{personal}'",
    "a class that nobody named": "erased_classes = '{internal}'",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["nobody", "an owner", "a key", "the executor"])
def test_nobody_changes_or_erases_early(world: World, who: str, change: str) -> None:
    observation = read(world)
    age(world, 9.9)
    claims: dict[str, Any] = {
        "nobody": {}, "an owner": ACME.user(), "a key": ACME.service(), "the executor": ACME.system("purge_expired"),
    }  # fmt: skip
    refused_everywhere(
        world, f"update app.observations set {CHANGES[change]} where id = %s", observation, claims=claims[who],
        reasons=("observation_closed", "not_due", "permission_denied", "unauthenticated"),
    )  # fmt: skip


def test_nobody_erases_otherwise_when_it_is_due(world: World) -> None:
    """Whoever may erase cannot use that to write something of their own, nor to bring anything back."""
    observation = read(world)
    age(world, 30.1)
    for claims in (ACME.user(), ACME.service(), GLOBEX.system("purge_expired"), {}):
        refused_everywhere(
            world, "update app.observations set erased_at = now() where id = %s", observation, claims=claims,
            vantages=OWNER, reasons=("permission_denied", "unauthenticated"),
        )  # fmt: skip
    refused_everywhere(world, "delete from app.observations where id = %s", observation, reasons=("append_only",))
    with world.owner.transaction():
        world.owner.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(ACME.system("purge")),))
        world.owner.execute(
            "update app.observations set erased_at = '2000-01-01', result = '{\"forged\": 1}', digest = 'sha256:00',"
            " args = '{\"forged\": 1}' where id = %s",
            (observation,),
        )
    left = row(world, observation)
    assert (left["result"], left["args"], left["digest"]) == (None, {}, "sha256:ab")
    assert left["erased_at"] > "2020"
    for change in ("erased_at = null", "erased_at = now()", "result = '{}'", "erased_classes = '{personal}'"):
        refused_everywhere(
            world, f"update app.observations set {change} where id = %s", observation,
            claims=ACME.system("purge_expired"), reasons=("observation_closed",),
        )  # fmt: skip


def test_what_is_another_tenants_is_not_touched(world: World) -> None:
    ours, theirs = read(world), read(world, GLOBEX)
    age(world, 31)
    assert set(due(world)) == {ours, theirs}
    assert erase(world, ours, theirs) == 1
    assert row(world, theirs)["result"] == RESULT


def test_only_the_scheduled_function_may_call_it(world: World) -> None:
    observation = read(world)
    age(world, 31)
    for by in (ACME.user(), ACME.user("auditor"), *(ACME.service(e) for e in ENVIRONMENTS)):
        with world.refuses("permission_denied"):
            erase(world, observation, by=by)


def test_the_time_of_a_heartbeat_is_the_databases(world: World) -> None:
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        world.api.execute("select app.note_function_run_v1('some_function', %s, false)", (soon(days=9),))
        world.api.execute("select app.note_function_run_v1('other_function', %s, true)", (soon(hours=-1),))
    assert world.rows(
        "select function, ok, started_at <= now(), finished_at <= clock_timestamp(), succeeded_at is not null"
        " from private.function_runs where function like '%%er_function' or function = 'some_function' order by 1"
    ) == [("other_function", True, True, True, True), ("some_function", False, True, True, False)]
