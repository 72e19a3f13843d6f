"""A kill switch is released in stages, keeps the proof of what it stopped, and leaves to people what it stops."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from api.ids import new_id
from tests.db import permits, stopped
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, BILLS, GLOBEX, NOTE, Row
from tests.db.world import Action, World, refusal

EXECUTE = "update app.actions set status = 'executing' where id = %s"


def release(world: World, switch: str, stage: str | None = None, by: Row | None = None) -> Row:
    args = {"id": switch, "reason": "it is mended"} | ({"stage": stage} if stage else {})
    return world.call(by or ACME.user(), "release_kill_switch_v1", args)


def detail(world: World, switch: str, by: Row | None = None) -> Row:
    return world.call(by or ACME.user("operator"), "get_kill_switch_v1", {"id": switch})


def engage(world: World) -> Row:
    args = {"id": str(new_id()), "scope": "tenant", "target": ACME.id, "reason": "stop"}
    return world.call(ACME.user("operator", "aal1"), "engage_kill_switch_v1", args)


def unsent(world: World, claimed: Row) -> None:
    """Makes an attempt one that was claimed and not sent."""
    world.owner.execute("update app.attempts set sent_at = null where id = %s", (claimed["attempt_id"],))


def handed_out(world: World) -> set[str]:
    """What an executor is given to do right now."""
    with world.api.transaction():
        world.api.execute("set local role countersign_worker")
        (work,) = world.api.execute("select app.claim_due_actions_v1(50)").fetchone() or ([],)
    return {item["action_id"] for item in work}


def ids(lines: list[Row]) -> list[str]:
    return sorted(line["action_id"] for line in lines)


def test_the_proof_says_what_was_stopped_and_what_was_not(world: World) -> None:
    sent, leased, waiting, queued = world.authorized(), world.authorized(), world.payment(), world.note()
    permitted = permits.authorized(world)
    permits.claim(world, permitted)
    lost = world.note()
    world.finish(ACME, world.claim(lost), "unknown")
    world.claim(sent)
    held = world.claim(leased)
    world.owner.execute("update app.attempts set sent_at = coalesce(sent_at, now()) where action_id = %s", (sent.id,))
    unsent(world, held)
    answer = engage(world)
    proof = answer["proof"]
    assert ids(proof["in_flight"]) == sorted([sent.id, permitted.id])
    assert (ids(proof["leased"]), ids(proof["waiting"]), ids(proof["unsettled"])) == (
        [leased.id],
        [waiting.id],
        [lost.id],
    )
    assert ids(proof["queued"]) == sorted([leased.id, queued.id])
    assert {line["kind"] for line in proof["in_flight"]} == {"executor", "client"}
    assert [line["amounts"] for line in proof["in_flight"] if line["action_id"] == sent.id] == [
        [{"amount": 1299, "currency": None}]
    ]
    # What was leased is over, and whoever held it is refused the sending.
    assert world.status(leased) == "authorized"
    with world.refuses("lease_lost"):
        fenced = {"attempt_id": held["attempt_id"], "fence": held["fence"]}
        world.call(ACME.system(), "send_attempt_v1", fenced)
    assert world.claim(leased)["reason"] == "kill_switch_engaged"
    stored, digest = world.rows(
        "select document::text, digest from app.kill_switch_proofs where id = %s", answer["id"]
    )[0]
    assert digest == proof["digest"] == f"sha256:{sha256(stored.encode()).hexdigest()}"
    kept = [e for e in world.events() if e["type"] == "kill_switch_proof.kept"]
    assert [event["what"]["digest"] for event in kept] == [digest]


def test_the_proof_tells_how_each_one_ended_and_to_whom(world: World) -> None:
    production, sandbox = world.note(), world.note(environment="sandbox")
    claimed = world.claim(production)
    world.claim(sandbox)
    world.owner.execute("update app.attempts set sent_at = now() where sent_at is null")
    switch = engage(world)["id"]
    world.finish(ACME, claimed)
    found = {line["action_id"]: line for line in detail(world, switch)["proof"]["in_flight"]}
    assert (found[production.id]["now"], found[production.id]["attempt_ended"]) == ("succeeded", "succeeded")
    assert (found[sandbox.id]["now"], found[sandbox.id]["ended_at"]) == ("executing", None)
    seen = detail(world, switch, ACME.service())["proof"]["in_flight"]
    assert [line["action_id"] for line in seen] == [production.id]
    with world.refuses("not_found"):
        detail(world, switch, GLOBEX.user())


def test_a_proof_is_the_databases_own_and_stays(world: World) -> None:
    switch = world.stop()
    for statement in (
        "update app.kill_switch_proofs set digest = 'sha256:' || repeat('0', 64)",
        "delete from app.kill_switch_proofs",
    ):
        refused_everywhere(world, statement, claims=ACME.user(), reasons=("append_only",))
    late = (
        "insert into app.kill_switch_proofs (tenant_id, id, document, digest, created_at)"
        " select tenant_id, id, '{}', 'sha256:' || repeat('0', 64), now() from app.kill_switches where id = %s"
    )
    refused_everywhere(world, late, switch, claims=ACME.user(), reasons=("proof_too_late",))


def test_stages_go_forward_and_a_person_takes_each(world: World) -> None:
    switch = world.stop()
    for claims in (ACME.user("owner", "aal1"), ACME.user("operator"), ACME.service(), ACME.system()):
        with world.refuses("aal2_required", "permission_denied", "people_only"):
            release(world, switch, "drafts", claims)
    with world.refuses("unknown_stage"):
        release(world, switch, "engaged")
    forced = f"update app.kill_switches set stage = 'drafts', staged_at = now(), released_by = '{ACME.person('owner')}'"
    for claims in (ACME.user("operator"), ACME.user("owner", "aal1"), ACME.service()):
        reasons = ("permission_denied", "aal2_required", "people_only")
        refused_everywhere(world, forced, claims=claims, vantages=OWNER, reasons=reasons)
    refused_everywhere(
        world, forced, vantages=OWNER, reasons=("permission_denied", "not_authenticated", "unauthenticated")
    )
    assert release(world, switch, "one_at_a_time")["stage"] == "one_at_a_time"
    for stage in ("drafts", "one_at_a_time"):
        with world.refuses("invalid_transition"):
            release(world, switch, stage)
    for stage in ("engaged", "drafts"):
        back = f"update app.kill_switches set stage = '{stage}'"
        refused_everywhere(world, back, claims=ACME.user(), vantages=OWNER, reasons=("invalid_transition",))
    answer = release(world, switch)
    assert (answer["status"], answer["stage"]) == ("released", "released")
    with world.refuses("invalid_transition"):
        release(world, switch, "drafts")
    stages = [
        e["what"]["stage"]
        for e in world.events()
        if e["subject"]["id"] == switch and e["subject"]["type"] == "kill_switch"
    ]
    assert stages == ["engaged", "one_at_a_time", "released"]


def test_nothing_begins_at_a_later_stage(world: World) -> None:
    insert = (
        "insert into app.kill_switches (tenant_id, id, scope, target, reason, stage)"
        " values (%s, gen_random_uuid(), 'tenant', %s, 'stop', 'one_at_a_time')"
    )
    refused_everywhere(world, insert, ACME.id, ACME.id, claims=ACME.user(), reasons=("invalid_transition",))


def test_in_drafts_people_look_first_and_nothing_executes(world: World) -> None:
    ready = world.note()
    switch = world.stop()
    release(world, switch, "drafts")
    assert world.claim(ready)["reason"] == "kill_switch_engaged"
    refused_everywhere(world, EXECUTE, ready.id, claims=ACME.user(), reasons=("kill_switch_engaged",))
    with refusal("drafts_only"):
        world.propose(ACME, NOTE)
    waiting = world.propose(ACME, NOTE, outcome="escalate")
    world.approve(waiting)
    assert (world.status(waiting), world.claim(waiting)["reason"]) == ("authorized", "kill_switch_engaged")
    # What is read to propose may be read again.
    assert world.call(ACME.service(), "claim_observation_v1", world.observation(tool=BILLS))["credential"]
    facts = world.call(ACME.service(), "gate_facts_v1", {"workflow": ACME.slug()})["facts"]
    assert [k["stage"] for k in facts["kill_switches"]] == ["drafts"]
    # One that is engaged besides stops everything.
    world.stop(scope="workflow", target=ACME.workflow())
    with world.refuses("kill_switch_engaged"):
        world.call(ACME.service(), "claim_observation_v1", world.observation(tool=BILLS))


@pytest.fixture
def one_by_one(world: World) -> tuple[World, str, Action, Action]:
    first, second = world.note(), world.note()
    switch = world.stop()
    release(world, switch, "one_at_a_time")
    return world, switch, first, second


def test_one_at_a_time_is_one_at_a_time(one_by_one: tuple[World, str, Action, Action]) -> None:
    world, _, first, second = one_by_one
    claimed = world.claim(first)
    assert claimed["claimed"]
    with world.unchanged(), world.nothing_released():
        assert world.claim(second) == {"claimed": False, "reason": "one_at_a_time", "status": "authorized"}
    refused_everywhere(world, EXECUTE, second.id, claims=ACME.user(), vantages=OWNER, reasons=("one_at_a_time",))
    # Neither a retry that is due nor an outcome that nobody knows is final.
    world.finish(ACME, claimed, "retry")
    assert world.claim(second)["reason"] == "one_at_a_time"
    again = world.claim(first)
    world.finish(ACME, again, "unknown")
    assert world.claim(second)["reason"] == "one_at_a_time"
    world.call(ACME.user(), "reconcile_action_v1", {"id": first.id, "outcome": "failed", "reason": "not there"})
    assert world.claim(second)["claimed"]


def test_what_lost_its_turn_is_handed_out_as_soon_as_it_is_its_turn(
    one_by_one: tuple[World, str, Action, Action],
) -> None:
    world, _, first, second = one_by_one
    assert {first.id, second.id} <= handed_out(world)
    claimed = world.claim(first)
    assert world.claim(second)["reason"] == "one_at_a_time"
    assert second.id not in handed_out(world)
    world.finish(ACME, claimed)
    assert second.id in handed_out(world)
    # Nor does what met a switch wait for anything but its release.
    again = engage(world)
    assert world.claim(second)["reason"] == "kill_switch_engaged"
    assert second.id not in handed_out(world)
    release(world, again["id"])
    assert second.id in handed_out(world)


def test_what_is_not_covered_takes_no_turns(world: World) -> None:
    switch = world.stop(scope="tool", target=NOTE)
    first, second, payment = world.propose(ACME, NOTE), world.propose(ACME, NOTE), world.authorized()
    release(world, switch, "one_at_a_time")
    assert world.claim(first)["claimed"]
    assert world.claim(payment)["claimed"]
    assert world.claim(second)["reason"] == "one_at_a_time"
    assert world.claim(world.authorized(GLOBEX))["claimed"]


def test_a_permit_takes_its_turn(world: World) -> None:
    action, note = permits.authorized(world), world.note()
    switch = world.stop()
    release(world, switch, "one_at_a_time")
    claimed = world.claim(note)
    with world.refuses("one_at_a_time"):
        permits.claim(world, action)
    world.finish(ACME, claimed)
    assert permits.claim(world, action)["claimed"]


# What people do by hand meanwhile.


def test_what_is_stopped_becomes_work_for_people(world: World) -> None:
    switch = world.stop()
    action = stopped.manual(world)
    assert detail(world, switch)["manual"] == 1
    kind, named = world.rows("select kind, kill_switch_id::text from app.exceptions where id = %s", action.exception)[0]
    assert (kind, named) == ("manual", switch)
    done = world.verdict(action, "answer", provider_reference="note 17", reason="written by hand")
    answer = world.call(ACME.user(), "decide_exception_v1", done)
    assert (answer["status"], answer["action"]["status"]) == ("answered", "denied")
    assert world.value("select provider_reference from app.exceptions where id = %s", action.exception) == "note 17"
    assert detail(world, switch)["manual"] == 0


def test_nothing_lets_it_run(world: World) -> None:
    world.stop()
    action = stopped.manual(world)
    with world.refuses("manual_only"):
        world.approve(action)
    edit = {"exception_id": action.exception, "digest": action.digest, "reason": "x"}
    with world.refuses("invalid_transition", "manual_only"):
        world.call(ACME.user("approver"), "edit_exception_v1", edit | {"action": world.proposal(ACME, NOTE)})
    for status in ("approved", "edited"):
        forced = f"update app.exceptions set status = '{status}', decided_by = '{ACME.person('owner')}'"
        refused_everywhere(world, forced, claims=ACME.user(), reasons=("manual_only",))
    for status in ("authorized", "executing", "awaiting_approval"):
        forced = f"update app.actions set status = '{status}' where id = %s"
        refused_everywhere(world, forced, action.id, claims=ACME.user(), reasons=("invalid_transition",))
    assert world.call(ACME.user(), "decide_exception_v1", world.verdict(action, "reject"))["status"] == "rejected"


def test_what_is_denied_anyway_is_nobodys_work(world: World) -> None:
    switch = world.stop()
    proposal = world.proposal(ACME, NOTE, outcome="deny", limits=[])
    proposal["decision"] |= {"findings": [*stopped.FINDINGS, {"check": "scope", "outcome": "deny"}]}
    assert world.call(ACME.service(), "record_action_v1", proposal)["exception"] is None
    assert detail(world, switch)["manual"] == 0
    # Nor is it opened for an action that waits, or approved work turned into it.
    waiting = world.payment()
    forced = "update app.exceptions set kind = 'manual' where id = %s"
    reasons = ("immutable_column",)
    refused_everywhere(world, forced, waiting.exception, claims=ACME.user(), reasons=reasons)


def test_it_is_proposed_again_as_a_persons_own(world: World) -> None:
    switch = world.stop()
    action = stopped.manual(world)
    release(world, switch)
    args = json.loads(action.payload)["args"]
    by = ACME.user("owner")
    again = world.proposal(ACME, NOTE, args, outcome="allow", by=by, limits=[])
    asked = {"exception_id": action.exception, "digest": action.digest, "reason": "still needed", "action": again}
    other = world.proposal(ACME, NOTE, {"body": "other"}, outcome="allow", by=by, limits=[])
    with world.refuses("another_payload"):
        world.call(by, "repropose_exception_v1", asked | {"action": other})
    answer = world.call(by, "repropose_exception_v1", asked)
    assert answer["status"] == "authorized"
    row = world.rows(
        "select e.status, a.proposed_by::text, a.supersedes from app.exceptions e"
        " join app.actions a on a.tenant_id = e.tenant_id and a.id = e.reproposed_as where e.id = %s",
        action.exception,
    )[0]
    assert row == ("answered", ACME.person("owner"), None)
    with world.refuses("already_decided"):
        world.call(by, "repropose_exception_v1", asked)
    waiting = world.payment()
    with world.refuses("not_manual"):
        world.call(by, "repropose_exception_v1", asked | {"exception_id": waiting.exception, "digest": waiting.digest})
