"""The watch over the audit log, attacked as whoever owns its tables and switches its guards off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sandbox.postgres import Server
from tests.concurrency.together import together
from tests.db.channels import alert
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, GLOBEX, Row, Tenant
from tests.db.world import World

HERE = f"tenant_id = '{ACME.id}'"
EVENTS, HEADS = "app.audit_events", "app.audit_heads"
#: A chain that is consistent in itself from event 5 on, its head included.
REWRITTEN = (
    f"do $$ declare e record; h bytea; begin select prev_hash into h from {EVENTS} where {HERE} and seq = 5;"
    f" for e in select * from {EVENTS} where {HERE} and seq >= 5 order by seq loop"
    f" update {EVENTS} set prev_hash = h, record = replace(e.record, 'a', 'A'),"
    " hash = sha256(h || convert_to(replace(e.record, 'a', 'A'), 'UTF8'))"
    " where tenant_id = e.tenant_id and seq = e.seq returning hash into h; end loop;"
    f" update {HEADS} set hash = h where {HERE}; end $$"
).replace("'a', 'A'", "'owner', 'OWNER'")
CHANGED = f"update {EVENTS} set record = replace(record, '\"v\": %s', '\"v\": %s') where {HERE} and seq = 5"
REHASHED = (
    f"update {EVENTS} e set record = n.record, hash = sha256(e.prev_hash || convert_to(n.record, 'UTF8'))"
    f" from (select %s as record from {EVENTS} where {HERE} and seq = 5) n where e.{HERE} and e.seq = 5"
)
SWAPPED = (
    f"update {EVENTS} a set record = b.record, hash = b.hash, prev_hash = b.prev_hash from {EVENTS} b"
    f" where a.{HERE} and a.seq in (5, 6) and b.tenant_id = a.tenant_id and b.seq = 11 - a.seq"
)
#: The newest gone, with a head that is right for what is left.
CUT = (
    f"delete from {EVENTS} where {HERE} and seq >= {{n}} - {{k}}; update {HEADS} h set seq = e.seq, hash = e.hash"
    f" from {EVENTS} e where h.{HERE} and e.{HERE} and e.seq = {{n}} - {{k}} - 1"
)
FORGOTTEN = f"delete from private.audit_watches where {HERE}"
#: What is done to a log of n events, and the first event that is named then: a number, or counted from the head.
ATTACKS: dict[str, tuple[str, int]] = {
    "the newest removed": (f"delete from {EVENTS} where {HERE} and seq = {{n}}", 0),
    "the newest removed, and the head moved back": (CUT.replace("{k}", "0"), 0),
    "a record changed": (CHANGED % (1, 2), 5),
    "a record changed, and its hash": (REHASHED % "record || ' '", 6),
    "a number that is none": (REHASHED % """replace(record, '"seq": 5,', '"seq": "x",')""", 5),
    "two swapped": (SWAPPED, 5),
    "one cut out": (f"delete from {EVENTS} where {HERE} and seq = 5", 6),
    "all removed": (f"delete from {EVENTS} where {HERE}", 1),
    "rewritten from one on, with its head": (REWRITTEN, 0),
    "rewritten, and what was seen forgotten": (f"{REWRITTEN}; {FORGOTTEN}", 0),
    "what was seen forgotten, and cut before what was signed": (f"{CUT.replace('{k}', '1')}; {FORGOTTEN}", -1),
}


@pytest.fixture(scope="module")
def seen(cluster: Server) -> Iterator[World]:
    """Both tenants, whose logs were looked at and signed."""
    with world_from(cluster, peopled(cluster)) as made:
        for tenant in (ACME, GLOBEX):
            found = made.call(tenant.system(), "watch_audit_v1", {"limit": 20000})
            assert (found["done"], found["broken_at"], found["seq"]) == (True, None, made.last_event(tenant))
            signed = {"seq": found["seq"], "hash": found["head"], "signature": "s", "key_id": "k"}
            assert made.call(tenant.system(), "sign_audit_head_v1", signed) == {"signed": True}
            assert made.call(tenant.system(), "sign_audit_head_v1", signed) == {"signed": False}
            assert made.call(tenant.system(), "sign_audit_head_v1", signed | {"hash": "00"}) == {"signed": False}
        yield made


@contextmanager
def owning(world: World) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """The owner of the tables with every guard of the log off and its foreign keys gone; undone at exit."""
    with world.owner.transaction(force_rollback=True):
        world.owner.execute("alter table app.audit_checkpoints drop constraint audit_checkpoints_tenant_id_seq_fkey")
        for table in ("audit_events", "audit_heads", "audit_checkpoints"):
            world.owner.execute(f"alter table app.{table} disable trigger user".encode())
        yield world.owner


def guarded_again(owner: psycopg.Connection[tuple[Any, ...]]) -> None:
    """As somebody leaves the log who is done with it."""
    for table in ("audit_events", "audit_heads", "audit_checkpoints"):
        owner.execute(f"select private.guard_table('app.{table}')".encode())


def as_system(world: World, function: str, args: Row, tenant: Tenant = ACME) -> Row:
    world.owner.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(tenant.system()),))
    row = world.owner.execute(f"select app.{function}(%s)".encode(), (json.dumps(args),)).fetchone()
    assert row is not None
    answer: Row = row[0]
    return answer


@pytest.mark.parametrize("how", ATTACKS)
@pytest.mark.parametrize("limit", [20000, 4])
def test_whatever_is_done_to_the_log_is_found(seen: World, how: str, limit: int) -> None:
    """In one part or in many; the first event that does not fit is named, and the other tenant's log holds."""
    last = seen.last_event()
    statement, first = ATTACKS[how]
    with owning(seen) as owner:
        owner.execute(statement.replace("{n}", str(last)).encode())
        looks = [as_system(seen, "watch_audit_v1", {"limit": limit})]
        while not looks[-1]["done"]:
            looks.append(as_system(seen, "watch_audit_v1", {"limit": limit}))
        assert looks[-1]["broken_at"] == (first if first > 0 else last + first)
        assert as_system(seen, "watch_audit_v1", {"limit": limit}, GLOBEX)["broken_at"] is None
        # Found again, from the first event on, and not forgotten because a later look happened to hold.
        while not (again := as_system(seen, "watch_audit_v1", {"limit": limit}))["done"]:
            assert again["broken_at"] is not None
        assert again["broken_at"] == looks[-1]["broken_at"]


def test_what_only_an_anchor_outside_would_tell(seen: World) -> None:
    """Whoever owns the tables and removes every anchor in them leaves a log that verifies: docs/audit.md says so."""
    with owning(seen) as owner:
        owner.execute(REWRITTEN.encode())
        owner.execute(f"delete from app.audit_checkpoints where {HERE}; {FORGOTTEN}".encode())
        assert as_system(seen, "watch_audit_v1", {"limit": 20000})["broken_at"] is None


def test_a_forged_signature_is_a_broken_log(seen: World) -> None:
    with owning(seen):
        found = as_system(seen, "watch_audit_v1", {"limit": 20000, "forged_at": 7})
        assert (found["done"], found["broken_at"]) == (True, 7)


def test_a_broken_log_is_a_critical_alert_and_an_incident(seen: World) -> None:
    """Of whoever answers for the organisation, with the number and nothing of what was written; it ends by itself."""
    with owning(seen) as owner:
        guarded_again(owner)
        owner.execute("alter table app.audit_events disable trigger refuse_change")
        owner.execute((CHANGED % (1, 2)).encode())
        for _ in range(3):
            assert as_system(seen, "watch_audit_v1", {"limit": 20000})["broken_at"] == 5
            assert as_system(seen, "tell_of_audit_v1", {}) == {"broken_at": 5}
        owner.execute("set constraints all immediate")
        shown = "select to_jsonb(a) from app.alerts a where kind = 'audit.chain_broken'"
        [(alert,)] = owner.execute(shown.encode()).fetchall()
        assert (alert["severity"], alert["status"], alert["occurrences"], alert["environment"]) == (
            "critical",
            "open",
            3,
            None,
        )
        assert (alert["owner_id"], alert["detail"]["broken_at"]) == (ACME.person("owner"), 5)
        assert "event 5 is the first" in alert["title"]
        incidents = "select severity, owner_id::text, status from app.incidents where subject_type = 'audit_log'"
        assert owner.execute(incidents.encode()).fetchall() == [("critical", ACME.person("owner"), "open")]
        owner.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(ACME.user()),))
        row = owner.execute("select app.controls_v1('{\"types\": []}')").fetchone()
        assert row is not None
        assert (row[0]["chain"]["broken_at"], row[0]["workflows"][0]["controls"][2]["verified"]) == (5, False)
        assert any("event 5 is the first" in each for each in row[0]["workflows"][0]["controls"][2]["missing"])
        assert _heartbeats(seen)["broken_logs"] == 1
        owner.execute((CHANGED % (2, 1)).encode())  # restored
        assert as_system(seen, "watch_audit_v1", {"limit": 20000}) | {"seq": 0, "head": ""} == {
            "looked": True, "done": True, "seq": 0, "head": "", "broken_at": None, "mended": True,
        }  # fmt: skip
        as_system(seen, "tell_of_audit_v1", {})
        [(alert,)] = owner.execute(shown.encode()).fetchall()
        assert (alert["status"], alert["resolved_by"]) == ("resolved", "system:execute_actions")
        assert _heartbeats(seen)["broken_logs"] == 0


def test_a_log_on_which_nothing_can_be_written_is_known_all_the_same(seen: World) -> None:
    """The finding stands though its alert cannot be written: every new event would have a number that is taken."""
    with owning(seen) as owner:
        owner.execute(f"delete from {HEADS} where {HERE}".encode())
        guarded_again(owner)
        assert as_system(seen, "watch_audit_v1", {"limit": 20000})["broken_at"] == 1
        owner.execute("savepoint before")
        as_system(seen, "tell_of_audit_v1", {})
        with pytest.raises(psycopg.errors.UniqueViolation):
            owner.execute("set constraints all immediate")
        owner.execute("rollback to before")
        assert _heartbeats(seen)["broken_logs"] == 1


def _heartbeats(world: World) -> Row:
    row = world.owner.execute("select app.read_heartbeats_v1()").fetchone()
    assert row is not None
    found: Row = row[0]
    return found


def test_a_long_log_is_followed_hourly_and_recomputed_daily(seen: World) -> None:
    """Each look takes one part and goes on where the last one stopped; what was seen is looked at again in a day."""
    last = seen.last_event()
    with owning(seen) as owner:
        state = "select verified_seq, next_at <= clock_timestamp() from private.audit_watches where tenant_id = %s"
        parts = []
        while not (found := as_system(seen, "watch_audit_v1", {"limit": 10}))["done"]:
            parts.append(owner.execute(state.encode(), (ACME.id,)).fetchone())
        assert parts == [(10 * n, True) for n in range(1, len(parts) + 1)]
        assert (found["seq"], owner.execute(state.encode(), (ACME.id,)).fetchone()) == (last, (last, False))
        assert owner.execute("select app.claim_audit_watches_v1(10)").fetchall() == [([],)]
        owner.execute((CHANGED % (1, 2)).encode())
        assert as_system(seen, "watch_audit_v1", {"limit": 10})["broken_at"] is None  # it was seen to hold today
        owner.execute("update private.audit_watches set began_at = now() - interval '25 hours', verified_seq = 0")
        assert as_system(seen, "watch_audit_v1", {"limit": 10})["broken_at"] == 5


def test_only_the_schedule_watches(seen: World) -> None:
    for claims in (ACME.user(), ACME.service()):
        for function, args in (("watch_audit_v1", {"limit": 1}), ("tell_of_audit_v1", {}), ("sign_audit_head_v1", {})):
            with seen.refuses("permission_denied"):
                seen.call(claims, function, args)
    due = seen.value("select app.claim_audit_watches_v1(10)")
    assert {item["tenant_id"] for item in due}.isdisjoint({ACME.id, GLOBEX.id})


def test_what_is_written_meanwhile_breaks_nothing(world: World) -> None:
    """Two watches at once, part by part, while others write without pause: no false alarm, and one looks at a time."""
    before = world.last_event()

    def writing(connection: psycopg.Connection[Any]) -> Row:
        for _ in range(60):
            world.call(ACME.system(), "raise_alert_v1", alert(ACME), connection=connection)
        return {}

    def watching(connection: psycopg.Connection[Any]) -> Row:
        looks = [world.call(ACME.system(), "watch_audit_v1", {"limit": 7}, connection=connection) for _ in range(60)]
        return {"broken": [look["broken_at"] for look in looks if look["broken_at"] is not None]}

    answers = together(world, [writing, watching, writing, watching])
    assert answers == [{}, {"broken": []}, {}, {"broken": []}]
    while not (found := world.call(ACME.system(), "watch_audit_v1", {"limit": 1000}))["done"]:
        pass
    assert (found["broken_at"], found["seq"]) == (None, world.last_event())
    assert found["seq"] == before + 120
