"""Invariant 9: a state change and its audit event commit together or not at all, and the chain shows tampering."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import psycopg
import pytest

from tests.db.attacks import VANTAGES, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, TENANTS, Row, Tenant
from tests.db.world import World

#: Tables whose changes are no events: the log itself, what is derived, secrets of a sign-in under way, answers.
NOT_AUDITED = {
    "app.audit_events", "app.audit_heads", "app.audit_checkpoints", "app.gate_facts", "app.idempotency_keys",
    "app.oauth_flows",
    # What an action takes of a limit is in the decision on it, whose digest is logged.
    "app.limit_reservations",
    # What a key does is logged; that it was used is known from there, to the minute.
    "app.key_uses",
    # Its review begins in the same statement, and is the event.
    "app.workflow_versions",
}  # fmt: skip


def test_every_table_that_holds_state_writes_events(still_world: World) -> None:
    audited = {
        name
        for (name,) in still_world.rows(
            "select format('app.%%s', c.relname) from pg_trigger t join pg_class c on c.oid = t.tgrelid"
            " where t.tgname = 'zz_audit_change' and t.tgenabled = 'A' and t.tginitdeferred"
        )
    }
    assert audited == set(still_world.tables("app")) - NOT_AUDITED


def test_state_and_log_agree(still_world: World) -> None:
    """Every row that began and every status that was reached has its event, and no event is without its row."""
    for tenant in map(Tenant, TENANTS):
        logged = Counter((event["type"], event["subject"]["id"]) for event in still_world.events(tenant))
        for table, noun, word, identity in (
            ("members", "member", "added", "user_id"),
            ("service_accounts", "service_account", "created", "id"),
            ("api_keys", "key", "issued", "id"),
            ("connections", "connection", "created", "id"),
            ("credentials", "credential", "stored", "connection_id"),
            ("credential_releases", "credential", "released", "id"),
            ("workflows", "workflow", "created", "id"),
            ("constitution_versions", "constitution", "published", "version"),
            ("runs", "run", "started", "id"),
            ("observations", "observation", "recorded", "id"),
            ("actions", "action", "proposed", "id"),
            ("decisions", "decision", "made", "id"),
            ("exceptions", "exception", "opened", "id"),
            ("approvals", "approval", "recorded", "id"),
            ("exception_comments", "comment", "added", "id"),
            ("attempts", "attempt", "started", "id"),
            ("kill_switches", "kill_switch", "engaged", "id"),
            ("tenants", "tenant", "created", "tenant_id"),
        ):
            rows = still_world.rows(f"select {identity}::text from app.{table} where tenant_id = %s", tenant.id)
            begun = {key[1]: n for key, n in logged.items() if key[0] == f"{noun}.{word}"}
            assert begun == {identity: 1 for (identity,) in rows}, table
        for table, noun in (
            ("actions", "action"), ("attempts", "attempt"), ("exceptions", "exception"), ("connections", "connection"),
            ("kill_switches", "kill_switch"),
        ):  # fmt: skip
            for identity, status in still_world.rows(
                f"select id::text, status from app.{table} where tenant_id = %s", tenant.id
            ):
                last = [
                    e["after"] for e in still_world.events(tenant) if e["subject"] == {"type": noun, "id": identity}
                ]
                assert last[-1] == status


#: What the owner of the tables may change by hand, and the event that says he did.
BY_HAND = {
    "update app.members set role = 'admin' where user_id = '{auditor}'": "member.updated",
    "update app.members set email = 'other@example.com' where user_id = '{auditor}'": "member.updated",
    "update app.tenants set name = 'other' where tenant_id = '{tenant}'": "tenant.updated",
    "update app.service_accounts set disabled_at = now() where tenant_id = '{tenant}'": "service_account.updated",
    "update app.api_keys set revoked_at = now() where id = '{key}'": "key.updated",
    "update app.api_keys set expires_at = now() where id = '{key}'": "key.updated",
    "update app.connections set status = 'degraded' where id = '{connection}'": "connection.degraded",
    "update app.connections set scopes_granted = '{{}}' where id = '{connection}'": "connection.updated",
    "update app.connections set account = '{{\"id\": 2}}' where id = '{connection}'": "connection.updated",
    "update app.credentials set token_expires_at = now() where connection_id = '{connection}'": "credential.updated",
    "update app.credentials set secret_id = null where connection_id = '{connection}'": "credential.updated",
    "update app.workflows set title = 'Other' where id = '{workflow}'": "workflow.updated",
    "update app.exceptions set assigned_to = '{auditor}' where action_id = '{waiting}'": "exception.updated",
    "update app.actions set status = 'cancelled' where id = '{waiting}'": "action.cancelled",
    "update app.actions set next_attempt_at = now() + interval '1 day' where id = '{ready}'": "action.updated",
    "update app.actions set status_reason = 'because' where id = '{ready}'": "action.updated",
    "update app.runs set status = 'completed' where id = '{run}'": "run.completed",
    "delete from app.members where user_id = '{auditor}'": "member.removed",
}  # fmt: skip


def test_what_is_changed_by_hand_is_logged_as_well(world: World) -> None:
    """With the database login as the principal, also from a session in which ordinary triggers do not fire."""
    names = {
        "tenant": ACME.id, "auditor": ACME.person("auditor"), "key": ACME.key(), "workflow": ACME.workflow(),
        "connection": ACME.connection("bank/write"), "run": ACME.run(),
        "waiting": world.payment().id, "ready": world.note().id,
    }  # fmt: skip
    for statement, event in BY_HAND.items():
        seen = world.last_event()
        with standing(world, "owner, replica") as owner:
            assert owner.execute(statement.format(**names).encode()).rowcount == 1
        logged = world.events(after=seen)
        assert [e["type"] for e in logged] == [event], statement
        assert logged[0]["principal"] == {"kind": "database", "id": "postgres", "login": "postgres"}
    assert world.verified()["ok"]


def test_an_event_names_who_did_it(world: World) -> None:
    seen = world.last_event()
    action = world.payment(by=ACME.user("operator", "aal1", request_id="req-1"))
    world.approve(action)
    world.claim(action)
    who = {event["type"]: event["principal"] for event in world.events(after=seen)}
    assert who["action.proposed"] == {
        "kind": "user", "id": ACME.person("operator"), "aal": "aal1", "login": "countersign_api",
        "session_id": ACME.session("operator"),
    }  # fmt: skip
    assert who["approval.recorded"]["id"] == ACME.person("owner")
    assert who["attempt.started"] == {"kind": "system", "id": "execute_actions", "login": "countersign_api"}
    note = world.note()
    by_key = world.events(after=world.last_event() - 2)
    assert {(e["principal"]["id"], e["principal"]["key_id"]) for e in by_key} == {(ACME.agent, ACME.key())}
    assert {e["action_id"] for e in by_key} == {note.id}


def test_a_caller_cannot_sign_with_another_name_than_its_login(world: World) -> None:
    """Claims can be made up by who holds a login; the login itself cannot."""
    seen = world.last_event()
    with standing(world, "owner", ACME.user("owner") | {"login": "countersign_api"}) as owner:
        owner.execute("update app.tenants set name = 'other' where tenant_id = %s", (ACME.id,))
    assert world.events(after=seen)[0]["principal"]["login"] == "postgres"


# Together or not at all.


def test_a_change_without_its_event_does_not_commit(world: World) -> None:
    """The superuser breaks the log; from then on nothing that the log would have to tell happens any more."""
    action, other = world.payment(), world.authorized()
    world.root.execute(
        "create function pg_temp.fail() returns trigger language plpgsql as"
        " $$ begin raise exception 'the log is full'; end $$"
    )
    world.root.execute(
        "create trigger a_broken before insert on app.audit_events for each row execute function pg_temp.fail()"
    )
    world.root.execute("alter table app.audit_events enable always trigger a_broken")
    proposal = world.proposal(ACME)
    for attempt in (
        lambda: world.approve(action),
        lambda: world.claim(other),
        lambda: world.call(ACME.service(), "record_action_v1", proposal),
        lambda: world.stop(),
        lambda: world.call(ACME.user(), "cancel_action_v1", {"id": action.id, "reason": "no"}),
        lambda: world.call(ACME.user("admin"), "revoke_connection_v1", {"id": ACME.connection("bank/write")}),
    ):
        with world.refuses(psycopg.errors.RaiseException):
            attempt()
    for vantage in ("owner", "owner, replica"):
        with world.refuses(psycopg.errors.RaiseException), standing(world, vantage) as owner:
            owner.execute("update app.members set role = 'auditor' where user_id = %s", (ACME.person("admin"),))
    world.root.execute("drop trigger a_broken on app.audit_events")
    assert world.approve(action)["status"] == "approved"


def test_a_change_that_is_rolled_back_leaves_no_event(world: World) -> None:
    action = world.payment()
    with world.unchanged(), world.database.connect(autocommit=False) as api:
        world.call(ACME.user(), "decide_exception_v1", world.verdict(action), connection=api)
        api.execute("set constraints all immediate")
        api.rollback()
    with world.unchanged(), standing(world, "owner") as owner:
        owner.execute("savepoint here")
        owner.execute("update app.members set role = 'auditor' where user_id = %s", (ACME.person("admin"),))
        owner.execute("set constraints all immediate")
        owner.execute("rollback to here")
    assert world.verified()["ok"]


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_deferring_or_not_changes_nothing(world: World, mode: str) -> None:
    seen = world.last_event()
    with standing(world, "owner") as owner:
        owner.execute(f"set constraints all {mode}".encode())
        owner.execute("update app.members set role = 'auditor' where user_id = %s", (ACME.person("admin"),))
        owner.execute("update app.members set role = 'admin' where user_id = %s", (ACME.person("admin"),))
        owner.execute("set constraints all deferred")
    assert [e["what"]["role"] for e in world.events(after=seen)] == ["auditor", "admin"]


def test_nobody_writes_an_event_by_hand(world: World) -> None:
    """An event without its change is a lie as well."""
    for statement in (
        "insert into app.audit_events (tenant_id, record) values ('{tenant}', '{{\"type\": \"approval.recorded\"}}')",
        "insert into app.audit_events values ('{tenant}', 1000, '', '', '{{\"type\": \"x\"}}')",
        "insert into app.audit_heads (tenant_id, seq, hash) values (gen_random_uuid(), 0, '')",
        "update app.audit_heads set seq = seq - 1",
        "update app.audit_heads set hash = ''",
        "delete from app.audit_heads",
    ):
        refused_everywhere(world, statement.format(tenant=ACME.id), claims=ACME.user(), reasons=("append_only",))


def test_a_checkpoint_signs_what_is_there(world: World) -> None:
    checkpoint = (
        "insert into app.audit_checkpoints (tenant_id, seq, hash, signature, key_id) values (%s, %s, %s, 's', 'k')"
    )
    last = world.last_event()
    with world.refuses(psycopg.errors.ForeignKeyViolation):
        world.owner.execute(checkpoint.encode(), (ACME.id, last + 1, b"x"))
    refused_everywhere(world, checkpoint, ACME.id, last, b"x", vantages=VANTAGES[:3])


# The chain.


def test_the_chain_is_what_it_says(world: World) -> None:
    """Recomputed here from the exported bytes alone, as an auditor would."""
    world.authorized()
    head = sha256(ACME.id.encode()).digest()
    rows = world.rows(
        "select seq, prev_hash, hash, record from app.audit_events where tenant_id = %s order by seq", ACME.id
    )
    for number, (seq, prev, digest, record) in enumerate(rows, 1):
        assert (seq, prev, json.loads(record)["seq"]) == (number, head, number)
        head = sha256(head + record.encode()).digest()
        assert digest == head
    assert world.verified() == {"ok": True, "events": len(rows), "head": head.hex(), "broken_at": None}


TAMPERING: dict[str, str] = {
    "a record rewritten": "update {events} set record = replace(record, 'owner', 'admin') where {here} and seq = 2",
    "a record and its hash rewritten": "update {events} set record = record || ' ',"
    " hash = sha256(prev_hash || convert_to(record || ' ', 'UTF8')) where {here} and seq = 2",
    "a record removed": "delete from {events} where {here} and seq = 2",
    "the first one removed": "delete from {events} where {here} and seq = 1",
    "the last ones removed": "delete from {events} where {here} and seq > 30",
    "all removed": "delete from {events} where {here}",
    "all removed, and the head": "with e as (delete from {events} where {here}) delete from {heads} where {here}",
    "two swapped": "update {events} a set record = b.record, hash = b.hash, prev_hash = b.prev_hash from {events} b"
    " where a.{here} and a.seq in (2, 3) and b.tenant_id = a.tenant_id and b.seq = 5 - a.seq",
    "the head moved": "update {heads} set seq = seq - 1 where {here}",
    "the head's hash changed": "update {heads} set hash = sha256('x') where {here}",
    "the head removed": "delete from {heads} where {here}",
    "a record of another tenant put in": "update {events} a set record = b.record, hash = b.hash from {events} b"
    " where a.{here} and a.seq = 3 and b.tenant_id <> a.tenant_id and b.seq = 3",
}


@contextmanager
def _tampered(world: World, statement: str) -> Iterator[None]:
    """A superuser's statement with every trigger and foreign key of the log switched off; undone at exit."""
    with world.root.transaction(force_rollback=True):
        for table in ("audit_events", "audit_heads", "audit_checkpoints"):
            world.root.execute(f"alter table app.{table} disable trigger all".encode())
        world.root.execute(statement.encode())
        yield


def _found(world: World, tenant: Tenant = ACME) -> Row:
    """What verification says to who looks from within the superuser's transaction."""
    world.root.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(tenant.user()),))
    found: Row = world.value("select app.verify_audit_v1('{}')")
    return found


def _holds_in_parts(world: World, size: int, tenant: Tenant = ACME) -> bool:
    """What going through the chain part by part says."""
    world.root.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(tenant.user()),))
    part: Row = {"ok": True, "last": 0, "done": False}
    while part["ok"] and not part["done"]:
        asked = json.dumps({"after": part["last"], "limit": size})
        part = world.value("select app.verify_audit_part_v1(%s)", asked)
    return bool(part["ok"])


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(still_world: World, how: str) -> None:
    names = {"events": "app.audit_events", "heads": "app.audit_heads", "here": f"tenant_id = '{ACME.id}'"}
    with _tampered(still_world, "select 1"):
        assert _found(still_world)["ok"]
        assert _holds_in_parts(still_world, 3)
    with _tampered(still_world, TAMPERING[how].format(**names)):
        found = _found(still_world)
        assert (found["ok"], found["broken_at"] is None) == (False, False)
        # Wherever the parts are cut, what joins them is looked at, too.
        assert not any(_holds_in_parts(still_world, size) for size in (1, 2, 3, 1000))
        assert _found(still_world, GLOBEX)["ok"]


def test_a_chain_that_was_rewritten_whole_does_not_meet_its_checkpoint(still_world: World) -> None:
    """Consistent in itself, head included: only what was signed before tells."""
    forge = (
        "do $$ declare e record; h bytea := sha256(convert_to('{tenant}', 'UTF8')); begin"
        " for e in select * from app.audit_events where tenant_id = '{tenant}' order by seq loop"
        " update app.audit_events set prev_hash = h, record = replace(e.record, 'approver', 'operator'),"
        " hash = sha256(h || convert_to(replace(e.record, 'approver', 'operator'), 'UTF8'))"
        " where tenant_id = e.tenant_id and seq = e.seq returning hash into h; end loop;"
        " update app.audit_heads set hash = h where tenant_id = '{tenant}'; end $$"
    )
    checkpoint = still_world.value("select seq from app.audit_checkpoints where tenant_id = %s", ACME.id)
    with _tampered(still_world, forge.format(tenant=ACME.id)):
        found = _found(still_world)
        assert not _holds_in_parts(still_world, 3)
    assert found | {"head": ""} == {
        "ok": False, "events": still_world.last_event(), "head": "", "broken_at": checkpoint,
    }  # fmt: skip


def test_sequences_have_no_gaps_and_cross_no_tenants(still_world: World) -> None:
    for tenant in (ACME, GLOBEX):
        sequence = [event["seq"] for event in still_world.events(tenant)]
        assert sequence == list(range(1, len(sequence) + 1))
        assert {event["tenant_id"] for event in still_world.events(tenant)} == {tenant.id}


def test_no_secret_and_no_payload_enters_the_log(busy_world: World) -> None:
    busy_world.authorized(args={"reference": "nobody's business"})
    text = json.dumps([busy_world.events(tenant) for tenant in (ACME, GLOBEX)])
    fences = [fence for (fence,) in busy_world.rows("select fence::text from app.attempts")]
    for secret in (*fences, ACME.key_hash(), ACME.envelope("bank/write"), "nobody's business"):
        assert secret not in text


@pytest.mark.parametrize("vantage", ["owner", "owner, replica"])
def test_the_log_stamps_what_a_change_says_about_itself(world: World, vantage: str) -> None:
    """Number, tenant, principal and time are the log's own, even where a row spells an event."""
    seen = world.last_event()
    lie = {"type": "x", "seq": 1, "tenant_id": GLOBEX.id, "principal": {"kind": "user"}, "at": "1999-01-01"}
    with standing(world, vantage) as owner:
        owner.execute("update app.tenants set name = %s where tenant_id = %s", (json.dumps(lie), ACME.id))
    (event,) = world.events(after=seen)
    assert (event["type"], event["seq"], event["tenant_id"]) == ("tenant.updated", seen + 1, ACME.id)
    assert (event["principal"]["kind"], event["at"] > "2020") == ("database", True)
