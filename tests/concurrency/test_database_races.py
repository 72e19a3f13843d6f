"""Many connections at once against the functions of the schema: whatever the order, the invariants hold.

The order of a tenant's commits is the order of its audit chain, so most of what must not happen can be read there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.ids import new_id
from sandbox.postgres import Server
from tests.concurrency.patience import eventually
from tests.concurrency.together import acting, bring_back, or_refused, patient, together, types_of
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, GLOBEX, NOTE, PAY, Row, soon
from tests.db.world import Action, World

CONNECTIONS = 8


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Two tenants, ready for business, in a database of this test's own."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


def _claim(world: World, action: Action) -> Callable[[psycopg.Connection[Any]], Row]:
    args = {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": 60}
    return lambda connection: world.call(action.tenant.system(), "claim_attempt_v1", args, connection=connection)


def _stop(world: World, scope: str = "tenant", target: str = ACME.id) -> Callable[[psycopg.Connection[Any]], Row]:
    args = {"id": str(new_id()), "scope": scope, "target": target, "reason": "stop"}
    return acting(world, ACME.user("operator"), "engage_kill_switch_v1", args)


def _blocked(world: World, count: int) -> None:
    """Waits until that many sessions of the application wait for a lock."""
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    eventually(lambda: world.value(waiting) >= count, f"{count} wait")


# The kill switch.


def test_a_switch_about_to_commit_stops_everyone_who_comes(world: World) -> None:
    """Engaged but not committed when eight claims come: they wait, and see it."""
    actions = [world.note() for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool, patient(world.database.connect(autocommit=False)) as stopping:
        _stop(world)(stopping)
        claims: list[Future[Row]] = []
        connections = [patient(world.database.connect()) for _ in actions]
        for action, connection in zip(actions, connections, strict=True):
            claims.append(pool.submit(_claim(world, action), connection))
        _blocked(world, CONNECTIONS)
        stopping.commit()
        answers = [claim.result(timeout=60) for claim in claims]
        for connection in connections:
            connection.close()
    assert [answer["reason"] for answer in answers] == ["kill_switch_engaged"] * CONNECTIONS
    assert "attempt.started" not in types_of(world)


def test_a_switch_and_what_is_proposed_again_do_not_wait_for_each_other(world: World) -> None:
    """Who proposes again has the attempt that a switch takes back: without the tenant's lock first, one would fail."""
    action = world.note()
    claimed = world.claim(action)
    world.owner.execute("update app.attempts set sent_at = null where id = %s", (claimed["attempt_id"],))
    unchanged = json.loads(action.payload)["args"]
    again = world.proposal(ACME, NOTE, unchanged, outcome="escalate", moved=[{"what": "read"}], by=ACME.system())
    args = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "reason": "moved", "action": again}
    propose = acting(world, ACME.system(), "repropose_action_v1", args)
    with (
        ThreadPoolExecutor(2) as pool,
        patient(world.database.connect("postgres", autocommit=False)) as holding,
        patient(world.database.connect()) as first,
        patient(world.database.connect()) as second,
    ):
        holding.execute("select from app.actions where id = %s for update", (action.id,))
        proposing = pool.submit(or_refused, lambda: propose(first))
        _blocked(world, 1)
        stopping = pool.submit(or_refused, lambda: _stop(world)(second))
        _blocked(world, 2)
        holding.commit()
        answers = [proposing.result(timeout=60), stopping.result(timeout=60)]
    assert not [answer for answer in answers if "refused" in answer]
    assert world.status(action) == "superseded"


def test_a_switch_waits_for_a_claim_about_to_commit_and_says_that_it_is_in_flight(world: World) -> None:
    started, waiting = world.note(), world.note()
    with ThreadPoolExecutor(1) as pool, patient(world.database.connect(autocommit=False)) as claiming:
        assert _claim(world, started)(claiming)["claimed"]
        with patient(world.database.connect()) as connection:
            stopping = pool.submit(_stop(world), connection)
            _blocked(world, 1)
            claiming.commit()
            answer = stopping.result(timeout=60)
    assert (answer["in_flight"], answer["stopped"]) == ([started.id], [waiting.id])
    assert world.claim(waiting)["reason"] == "kill_switch_engaged"


@pytest.mark.parametrize(("scope", "target"), [("tenant", ACME.id), ("tool", NOTE), ("service_account", ACME.agent)])
def test_nothing_starts_after_the_switch_in_the_order_of_commits(world: World, scope: str, target: str) -> None:
    for _ in range(4):
        seen, actions = world.last_event(), [world.note() for _ in range(CONNECTIONS - 1)]
        calls = [_claim(world, action) for action in actions]
        calls.insert(CONNECTIONS // 2, _stop(world, scope, target))
        answers = together(world, calls)
        types = types_of(world, seen)
        after = types[types.index("kill_switch.engaged") :]
        assert "attempt.started" not in after
        assert "credential.released" not in after
        claimed = [answer for answer in answers if answer.get("claimed")]
        assert types.count("attempt.started") == len(claimed)
        assert not [answer for answer in answers if "refused" in answer]
        switch = next(answer for answer in answers if "in_flight" in answer)
        assert {answer["action_id"] for answer in claimed} <= set(switch["in_flight"])
        world.call(ACME.user(), "release_kill_switch_v1", {"id": switch["id"], "reason": "over"})


def test_the_owner_s_update_races_the_switch_as_well(world: World) -> None:
    action = world.note()
    with (
        patient(world.database.connect(autocommit=False)) as stopping,
        patient(world.database.connect("postgres")) as owner,
    ):
        _stop(world)(stopping)
        with ThreadPoolExecutor(1) as pool:
            update = "update app.actions set status = 'executing' where id = %s"
            moved = pool.submit(or_refused, lambda: {"rows": owner.execute(update, (action.id,)).rowcount})
            _blocked(world, 1)
            stopping.commit()
            assert moved.result(timeout=60) == {"refused": "kill_switch_engaged"}
    assert world.status(action) == "authorized"


def test_no_decision_is_recorded_on_facts_that_are_over(world: World) -> None:
    for _ in range(3):
        proposals = [world.proposal(ACME, NOTE, outcome="allow") for _ in range(CONNECTIONS - 1)]
        seen = world.last_event()
        calls = [acting(world, ACME.service(), "record_action_v1", proposal) for proposal in proposals]
        answers = together(world, [*calls, _stop(world, "tool", PAY)])
        recorded = [answer for answer in answers if answer.get("recorded")]
        stale = [answer for answer in answers if answer.get("recorded") is False]
        assert len(recorded) + len(stale) == CONNECTIONS - 1
        assert all(answer["facts"]["epoch"] > proposals[0]["epoch"] for answer in stale)
        types = types_of(world, seen)
        assert "action.proposed" not in types[types.index("kill_switch.engaged") :]


# One attempt.


def test_many_claims_of_one_action_start_it_once(world: World) -> None:
    for action in (world.authorized(), world.note()):
        answers = together(world, [_claim(world, action) for _ in range(CONNECTIONS)])
        assert Counter(answer["claimed"] for answer in answers) == {True: 1, False: CONNECTIONS - 1}
        assert world.value("select count(*) from app.attempts where action_id = %s", action.id) == 1


def test_finishing_and_expiring_at_once_settles_once(world: World) -> None:
    """At the very end of a lease the holder and the scheduled function both come."""
    for _ in range(4):
        action = world.note()
        claimed = world.claim(action, lease_seconds=1)
        finish = {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "outcome": "succeeded"}
        expire = {"attempt_id": claimed["attempt_id"], "outcome": "retry"}
        world.rows(
            "select pg_sleep(extract(epoch from %s::timestamptz - clock_timestamp()))", claimed["lease_expires_at"]
        )
        half = CONNECTIONS // 2
        answers = together(
            world,
            [acting(world, ACME.system(), "finish_attempt_v1", finish)] * half
            + [acting(world, ACME.system(), "expire_attempt_v1", expire)] * half,
        )
        settled = [answer["status"] for answer in answers if "status" in answer]
        assert len(settled) <= 1
        assert world.status(action) == (settled or ["executing"])[0]
        assert {answer.get("refused") for answer in answers} <= {None, "lease_lost"}


# People who decide at once.


def test_two_approvals_at_once_authorize_once(world: World) -> None:
    people = ("owner", "owner2", "approver", "approver2")
    for _ in range(3):
        action = world.payment(required={"count": 2})
        seen = world.last_event()
        answers = together(
            world, [acting(world, ACME.user(who), "decide_exception_v1", world.verdict(action)) for who in people]
        )
        assert Counter(answer.get("status", answer.get("refused")) for answer in answers) == {
            "open": 1, "approved": 1, "already_decided": 2,
        }  # fmt: skip
        types = types_of(world, seen)
        assert (types.count("approval.recorded"), types.count("action.authorized")) == (2, 1)


def test_one_person_on_many_connections_is_one_person(world: World) -> None:
    action = world.payment(required={"count": 2})
    answers = together(
        world, [acting(world, ACME.user(), "decide_exception_v1", world.verdict(action)) for _ in range(CONNECTIONS)]
    )
    assert Counter(answer.get("status", answer.get("refused")) for answer in answers) == {
        "open": 1, "already_approved": CONNECTIONS - 1,
    }  # fmt: skip
    assert world.status(action) == "awaiting_approval"


def test_contrary_decisions_at_once_leave_one(world: World) -> None:
    """Approve, reject, answer, edit, cancel: whoever is first; the action and its exception agree."""
    agree = {
        "authorized": "approved", "rejected": "rejected", "cancelled": "answered", "superseded": "edited",
    }  # fmt: skip
    for _ in range(6):
        action = world.payment()
        edited = world.proposal(ACME, PAY, by=ACME.user("owner2"))
        edit = {"exception_id": action.exception, "digest": action.digest, "reason": "amended", "action": edited}
        cancel = {"id": action.id, "reason": "not needed"}
        answers = together(
            world,
            [
                acting(world, ACME.user("owner"), "decide_exception_v1", world.verdict(action)),
                acting(world, ACME.user("approver"), "decide_exception_v1", world.verdict(action, "reject")),
                acting(world, ACME.user("approver2"), "decide_exception_v1", world.verdict(action, "answer")),
                acting(world, ACME.user("owner2"), "edit_exception_v1", edit),
                acting(world, ACME.user("operator"), "cancel_action_v1", cancel),
            ],
        )
        exception = world.value("select status from app.exceptions where id = %s", action.exception)
        # A cancel may come after an approval: what is authorized and has not started can be cancelled.
        allowed = {agree[world.status(action)]} | ({"approved"} if world.status(action) == "cancelled" else set())
        assert exception in allowed
        refusals = {answer["refused"] for answer in answers if "refused" in answer}
        assert refusals <= {"already_decided", "invalid_transition"}


def test_two_owners_who_remove_each_other_leave_one(world: World) -> None:
    for _ in range(3):
        answers = together(
            world,
            [
                acting(world, ACME.user(one), "remove_member_v1", {"user_id": ACME.person(other)})
                for one, other in (("owner", "owner2"), ("owner2", "owner"))
            ],
        )
        assert sorted(answer.get("refused", "done") for answer in answers) in (
            ["done", "last_owner"], ["done", "unauthenticated"],
        )  # fmt: skip
        (left,) = world.rows("select user_id::text from app.members where tenant_id = %s and role = 'owner'", ACME.id)
        stayed, gone = ("owner", "owner2") if left[0] == ACME.person("owner") else ("owner2", "owner")
        bring_back(world, stayed, gone)


# Credentials.


def test_disconnecting_and_claiming_at_once_never_deadlocks(world: World) -> None:
    """And no credential of the connection leaves after its end, in the order of commits."""
    for kind, provider in (("bank/write", PAY), ("crm/write", NOTE)):
        actions = [world.authorized(tool=provider) for _ in range(CONNECTIONS - 1)]
        seen = world.last_event()
        revoke = acting(
            world, ACME.user("admin"), "revoke_connection_v1", {"id": ACME.connection(kind), "reason": "left"}
        )
        answers = together(world, [*(_claim(world, action) for action in actions), revoke])
        assert not [answer for answer in answers if "refused" in answer]
        types = types_of(world, seen)
        ended = types.index("connection.revoked")
        assert "attempt.started" not in types[ended:]
        claimed = sum(1 for answer in answers if answer.get("claimed"))
        assert types.count("attempt.started") == claimed


def test_one_refresher_at_a_time_and_one_next_generation(world: World) -> None:
    connection = ACME.connection("bank/write")
    attempts = [world.claim(world.authorized())["attempt_id"] for _ in range(CONNECTIONS)]
    refresh = [
        acting(
            world, ACME.system(), "claim_refresh_v1",
            {"connection_id": connection, "claimed_for": attempt, "generation": 1},
        )
        for attempt in attempts
    ]  # fmt: skip
    answers = together(world, refresh)
    assert Counter(answer["claimed"] for answer in answers) == {True: 1, False: CONNECTIONS - 1}
    stores = [
        acting(
            world, ACME.system(), "store_credential_v1",
            {"connection_id": connection, "replaces": 1, "envelope": f"new {n}", "token_expires_at": soon()},
        )
        for n in range(CONNECTIONS)
    ]  # fmt: skip
    answers = together(world, stores)
    assert Counter(answer.get("generation", answer.get("refused")) for answer in answers) == {
        2: 1, "generation_moved": CONNECTIONS - 1,
    }  # fmt: skip
    assert world.value("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%") == 1


def test_claims_during_refreshes_get_one_whole_generation(world: World) -> None:
    connection = ACME.connection("bank/write")
    for generation in range(1, 6):
        actions = [world.authorized() for _ in range(3)]
        store = acting(
            world, ACME.system(), "store_credential_v1",
            {
                "connection_id": connection, "replaces": generation, "envelope": f"tokens {generation + 1}",
                "token_expires_at": soon(),
            },
        )  # fmt: skip
        answers = together(world, [*(_claim(world, action) for action in actions), store])
        assert not [answer for answer in answers if "refused" in answer]
        for answer in answers[:-1]:
            credential = answer["credential"]
            names = {1: ACME.envelope("bank/write")}
            assert credential["envelope"] == names.get(credential["generation"], f"tokens {credential['generation']}")


def test_a_claim_waits_for_tokens_that_are_being_replaced(world: World) -> None:
    """Between the old generation and its destroyed secret there is no moment to read them in."""
    action, connection = world.authorized(), ACME.connection("bank/write")
    tokens = {"connection_id": connection, "replaces": 1, "envelope": "new", "token_expires_at": soon()}
    with patient(world.database.connect(autocommit=False)) as storing, patient(world.database.connect()) as claiming:
        acting(world, ACME.system(), "store_credential_v1", tokens)(storing)
        with ThreadPoolExecutor(1) as pool:
            claim = pool.submit(_claim(world, action), claiming)
            _blocked(world, 1)
            storing.commit()
            credential = claim.result(timeout=60)["credential"]
    assert (credential["generation"], credential["envelope"]) == (2, "new")


def test_nothing_happens_with_a_key_after_it_was_revoked(world: World) -> None:
    proposals = [world.proposal(ACME, NOTE, outcome="allow") for _ in range(CONNECTIONS - 1)]
    seen = world.last_event()
    revoke = acting(world, ACME.user("developer"), "revoke_api_key_v1", {"id": ACME.key()})
    calls = [acting(world, ACME.service(), "record_action_v1", proposal) for proposal in proposals]
    answers = together(world, [*calls[:3], revoke, *calls[3:]])
    events = world.events(after=seen)
    revoked = next(n for n, event in enumerate(events) if event["type"] == "key.updated")
    assert not [event for event in events[revoked:] if event["principal"].get("key_id") == ACME.key()]
    assert {answer.get("refused") for answer in answers} <= {None, "unauthenticated"}


# The log.


def test_the_chain_has_no_gaps_under_load(world: World) -> None:
    """Eight writers in two tenants, some of them rolled back."""

    def write(tenant_number: int, connection: psycopg.Connection[Any]) -> Row:
        tenant = (ACME, GLOBEX)[tenant_number % 2]
        for n in range(6):
            run = {
                "id": str(new_id()),
                "workflow": tenant.slug(),
                "trigger": "call",
                "instruction": "x",
                "subject": None,
            }
            with connection.transaction(force_rollback=n == 3):
                world.call(tenant.service(), "start_run_v1", run, connection=connection)
        return {}

    def writer(number: int) -> Callable[[psycopg.Connection[Any]], Row]:
        return lambda connection: write(number, connection)

    before = {tenant: world.last_event(tenant) for tenant in (ACME, GLOBEX)}
    answers = together(world, [writer(number) for number in range(CONNECTIONS)])
    assert answers == [{}] * CONNECTIONS
    for tenant in (ACME, GLOBEX):
        assert world.last_event(tenant) == before[tenant] + CONNECTIONS // 2 * 5
        assert world.verified(tenant)["ok"]


def test_changes_of_every_kind_at_once_do_not_deadlock(world: World) -> None:
    """What raises the epoch, what decides under it and what executes, in one heap, several times."""
    spec = world.value("select spec from app.workflow_versions where workflow_id = %s", ACME.workflow())
    for round_number in range(4):
        version = round_number + 2
        slug = {"slug": ACME.slug(), "version": version}
        world.call(ACME.user("developer"), "create_workflow_version_v1", slug | {"spec": spec})
        world.call(ACME.user("developer"), "submit_workflow_version_v1", slug)
        run = {"id": str(new_id()), "workflow": ACME.slug(), "trigger": "call", "instruction": "x", "subject": None}
        world.call(ACME.service(), "start_run_v1", run)
        note = world.proposal(ACME, NOTE, outcome="allow", run_id=run["id"])
        payment, ready = world.payment(run_id=run["id"]), world.authorized(run_id=run["id"])
        change = {"user_id": ACME.person("auditor"), "role": ("operator", "auditor")[round_number % 2]}
        constitution = {"rules": [], "reason": "again", "expected_version": round_number + 1}
        answers = together(
            world,
            [
                acting(world, ACME.user("admin"), "approve_workflow_version_v1", slug | {"reason": "fine"}),
                acting(world, ACME.service(), "record_action_v1", note),
                acting(world, ACME.user("owner2"), "decide_exception_v1", world.verdict(payment)),
                _claim(world, ready),
                acting(world, ACME.user(), "change_role_v1", change),
                acting(world, ACME.user(), "publish_constitution_v1", constitution),
                _stop(world, "tool", NOTE),
                _publish(world, version),
                acting(world, ACME.service(), "claim_observation_v1", world.observation()),
            ],
        )
        refusals = {answer["refused"] for answer in answers if "refused" in answer}
        # A go-live that comes after the kill switch waits for its release.
        assert refusals <= {"workflow_version_moved", "epoch_moved", "not_ready"}, refusals
        switch = next(answer["id"] for answer in answers if "in_flight" in answer)
        world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "over"})
    assert world.verified()["ok"]


def _publish(world: World, version: int) -> Callable[[psycopg.Connection[Any]], Row]:
    """A deployment publishes a tool, as the owner of the tables, meanwhile."""

    def publish(_: psycopg.Connection[Any]) -> Row:
        with world.database.connect("postgres") as owner:
            owner.execute(
                "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
                " select 'sandbox_crm.other' || %(version)s, 1, provider, access, effect,"
                " contract || jsonb_build_object('name', 'sandbox_crm.other' || %(version)s)"
                " from private.tool_catalog where name = %(like)s",
                {"version": str(version), "like": NOTE},
            )
        return {}

    return publish
