"""What a review found that got through: each attack as it was, and what it meets now."""

from __future__ import annotations

import json

import pytest

from tests.db.attacks import OWNER, refused_everywhere
from tests.db.directory import OTHER_IBAN, account, change, domain, settings, vouch
from tests.db.names import ACME, BILLS, Row
from tests.db.test_readiness import APPROVAL, approve, changed, controls, reviewed, with_tool
from tests.db.test_retention import age, due, erase, read
from tests.db.world import World

PROPOSE = "propose_directory_change_v1"


def test_no_guard_of_any_table_goes_unmissed(world: World) -> None:
    """Each guard that there is, switched off alone, keeps a version from being ready."""
    reviewed(world)
    guards = world.rows("select relation, trigger from private.guards order by 1, 2")
    assert len(guards) > 100
    unnoticed = []
    for relation, trigger in guards:
        with world.root.transaction(force_rollback=True):
            world.root.execute(f"alter table {relation} disable trigger {trigger}".encode())
            found = world.root.execute("select private.readiness(%s, %s, 2)", (ACME.id, ACME.workflow())).fetchone()
            if found is None or all(control["verified"] for control in found[0]):
                unnoticed.append(f"{relation}.{trigger}")
    assert unnoticed == []


@pytest.mark.parametrize("field", ["/*", "/*/*"])
def test_everything_by_another_name_is_everything(world: World, field: str) -> None:
    reviewed(world, with_tool(BILLS, read_fields=[field]))
    assert any("Name the fields" in missing for missing in controls(world)[1]["missing"])
    with world.refuses("not_ready"):
        approve(world)


def _narrowed_meanwhile(world: World) -> None:
    """While the second version is in review, a third that does less goes live."""
    reviewed(world)
    third = {"slug": ACME.slug(), "version": 3}
    world.call(ACME.user("developer"), "create_workflow_version_v1", third | {"spec": changed(stage="shadow")})
    world.call(ACME.user("developer"), "submit_workflow_version_v1", third)
    world.call(ACME.user("admin"), "approve_workflow_version_v1", third | {"reason": "an incident"})


def test_an_older_version_does_not_undo_a_newer_one(world: World) -> None:
    _narrowed_meanwhile(world)
    with world.refuses("newer_version_approved"):
        approve(world)
    world.rows("alter table app.workflow_reviews disable trigger workflow_reviews_guard")
    refused_everywhere(
        world,
        "update app.workflow_reviews set status = 'live', approved_by = %s where workflow_id = %s and version = 2",
        ACME.person("admin"), ACME.workflow(),
        claims=ACME.user("admin"), vantages=OWNER, reasons=("newer_version_approved",),
    )  # fmt: skip


def test_what_was_compared_with_another_version_is_read_again(world: World) -> None:
    reviewed(world)
    for another in (None, 2, 7):
        with world.refuses("base_moved"):
            world.call(ACME.user("admin"), "approve_workflow_version_v1", APPROVAL | {"compared_with": another})
    answer = world.call(ACME.user("admin"), "approve_workflow_version_v1", APPROVAL | {"compared_with": 1})
    assert answer["status"] == "live"


def test_what_is_removed_keeps_no_account(world: World) -> None:
    """A removal that names details would leave an account that is known, of an entry that is not."""
    known = vouch(world, ACME)
    removal = change(kind="remove", entry_id=known, base_version=1, entry=None)
    hidden = settings(1)
    payload = json.loads(hidden["payload"]) | {"details": [account()]}
    hidden |= {"payload": json.dumps(payload)}
    hidden["digest"] = world.value(
        "select 'sha256:' || encode(sha256(convert_to(%s, 'UTF8')), 'hex')", hidden["payload"]
    )
    for proposed in (removal, hidden):
        with world.refuses("payload_mismatch"):
            world.call(ACME.user("operator"), PROPOSE, proposed)


@pytest.mark.parametrize(
    "detail",
    [
        account() | {"key": f"iban:{OTHER_IBAN}"},
        account() | {"value": {"routing_number": "021000021", "account_number": "7"}},
        account() | {"value": {"bank_code": "X", "account_number": "7"}},
        account() | {"value": None},
        account() | {"type": "email"},
        domain("northwind.example") | {"key": "n0rthwind.example"},
        {"type": "external_id", "key": "vat/DE2", "skeleton": None, "value": {"system": "vat", "id": "DE1"}},
    ],
    ids=lambda detail: f"{detail['type']} {detail['key']} {detail['value']}",
)
def test_a_checker_reads_what_is_compared(world: World, detail: Row) -> None:
    """One account shown and another one trusted, by whoever writes the row."""
    with world.refuses("payload_mismatch"):
        world.call(ACME.user("operator"), PROPOSE, change(details=[detail]))


def test_what_is_kept_for_years_costs_the_purge_nothing(world: World) -> None:
    """What is due is found by an index, and not by looking at all that is not."""
    observation = read(world)
    wanted = "select id from app.observations where erased_at is null and due_at <= now() order by due_at"
    with world.root.transaction(force_rollback=True):
        world.root.execute("set local enable_seqscan = off")
        world.root.execute("set local enable_sort = off")
        found = world.root.execute(f"explain (format json) {wanted}".encode()).fetchone()
    assert "observations_by_due" in json.dumps(found)
    for days, left in ((0, 10), (10.1, 20), (20.1, 30)):
        age(world, days)
        erase(world, observation)
        waits = world.value(
            "select extract(epoch from due_at - finished_at) / 86400 from app.observations where id = %s", observation
        )
        assert (round(waits), due(world)) == (left, [])
    age(world, 30.1)
    assert due(world) == [observation]
    assert erase(world, observation) == 1
    assert world.value("select due_at from app.observations where id = %s", observation) is None


def test_nobody_puts_an_erasure_off(world: World) -> None:
    observation = read(world)
    refused_everywhere(
        world, "update app.observations set due_at = 'infinity' where id = %s", observation,
        claims=ACME.system("purge_expired"), vantages=OWNER, reasons=("immutable_column", "observation_closed"),
    )  # fmt: skip
