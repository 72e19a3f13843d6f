"""Invariant 3: an action's status moves only along the state machine (docs/state-machines.md), whoever moves it."""

from __future__ import annotations

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, NOTE, PAY, Row
from tests.db.world import Action, World

ALLOWED = {
    "awaiting_approval": {"authorized", "rejected", "expired", "superseded", "cancelled"},
    # `unknown` for what an earlier attempt may have done already.
    "authorized": {"executing", "cancelled", "expired", "unknown"},
    # `superseded`: proposed again, because what it rests on has moved.
    # `expired`: its authorization ended before it was sent.
    "executing": {"authorized", "succeeded", "failed", "unknown", "dead_letter", "superseded", "expired"},
    "unknown": {"succeeded", "failed", "authorized"},
    "dead_letter": {"authorized", "cancelled", "superseded"},
}
FINAL = ("succeeded", "failed", "rejected", "expired", "superseded", "cancelled", "denied")
STATUSES = (*ALLOWED, *FINAL)


def _at(world: World, status: str) -> Action:
    """An action that came to a status through the doors."""
    if status in ("awaiting_approval", "rejected", "superseded", "expired"):
        action = world.propose(ACME, NOTE, outcome="escalate")
    else:
        action = world.propose(ACME, NOTE, outcome="deny" if status == "denied" else "allow")
    match status:
        case "executing":
            world.claim(action)
        case "succeeded" | "failed" | "unknown" | "dead_letter":
            world.finish(ACME, world.claim(action), status)
        case "rejected":
            world.call(ACME.user("approver"), "decide_exception_v1", world.verdict(action, "reject"))
        case "superseded":
            world.call(ACME.user("approver"), "edit_exception_v1", _edit(world, action))
        case "cancelled":
            world.call(ACME.user("operator"), "cancel_action_v1", {"id": action.id, "reason": "not needed"})
        case "expired":
            # Time cannot be turned back through a door; the owner may take this edge of the machine.
            world.owner.execute("update app.actions set status = 'expired' where id = %s", (action.id,))
    assert world.status(action) == status
    return action


def _edit(world: World, action: Action) -> Row:
    edited = world.proposal(ACME, NOTE, outcome="escalate", by=ACME.user("approver"))
    return {"exception_id": action.exception, "digest": action.digest, "reason": "amended", "action": edited}


@pytest.mark.parametrize("status", STATUSES)
def test_no_edge_but_those_of_the_machine(shared_world: World, status: str) -> None:
    action = _at(shared_world, status)
    for target in STATUSES:
        if target != status and target not in ALLOWED.get(status, set()):
            refused_everywhere(
                shared_world,
                "update app.actions set status = %s where id = %s",
                target,
                action.id,
                claims=ACME.user(),
                reasons=("invalid_transition",),
            )


@pytest.mark.parametrize(("status", "target"), [(s, t) for s in ALLOWED for t in sorted(ALLOWED[s])])
def test_every_edge_of_the_machine_is_open(shared_world: World, status: str, target: str) -> None:
    """Refusing everything would pass the test above; the owner, as somebody who may, takes each edge once."""
    action = _at(shared_world, status)
    if (status, target) == ("awaiting_approval", "authorized"):
        shared_world.approve(action)
    else:
        with standing(shared_world, "owner", ACME.user()) as owner:
            if (status, target) == ("executing", "expired"):
                over = "update app.attempts set status = 'failed', sent_at = null where action_id = %s"
                owner.execute(over, (action.id,))
            owner.execute("update app.actions set status = %s where id = %s", (target, action.id))
    assert shared_world.status(action) == target


@pytest.mark.parametrize("status", [s for s in STATUSES if s not in ("awaiting_approval", "authorized", "denied")])
def test_an_action_begins_where_the_machine_begins(shared_world: World, status: str) -> None:
    copy = _copy(shared_world.note(), f"'{status}'")
    refused_everywhere(shared_world, copy, vantages=APPLICATION)
    refused_everywhere(
        shared_world, copy, claims=ACME.service(), vantages=OWNER, reasons=("invalid_transition", "wrong_isolation")
    )


def test_an_action_is_never_removed_or_rewritten(shared_world: World) -> None:
    action = shared_world.payment()
    refused_everywhere(shared_world, "delete from app.actions where id = %s", action.id, reasons=("append_only",))
    columns = [
        name
        for (name,) in shared_world.rows(
            "select column_name from information_schema.columns where table_schema = 'app' and table_name = 'actions'"
        )
        # erased_at has a guard of its own: test_erasure.py
        if name not in ("status", "status_reason", "next_attempt_at", "updated_at", "erased_at")
    ]
    other = shared_world.payment()
    for column in columns:
        statement = f"update app.actions a set {column} = case when a.{column} is null then b.{column} end"
        values = {
            "effect": "'write'", "payload": "a.payload || ' '", "digest": "b.digest", "id": "gen_random_uuid()",
            "environment": "'sandbox'", "required_approvals": "0", "required_aal": "'aal2'", "edited_by": "a.id",
            "required_roles": "'{auditor}'", "proposed_by": "gen_random_uuid()", "supersedes": "b.id",
            "tool": f"'{NOTE}'", "contract_version": "9", "workflow_version": "2", "rationale": "'other'",
            "citations": "'[1]'", "evidence": "'[1]'", "expires_at": "a.expires_at + interval '1 day'",
            "moved": "'[]'", "compensates": "b.id",
        }  # fmt: skip
        if column in values:
            statement = f"update app.actions a set {column} = {values[column]}"
        refused_everywhere(
            shared_world,
            f"{statement} from app.actions b where a.id = %s and b.id = %s",
            action.id,
            other.id,
            reasons=("immutable_column", psycopg.errors.IntegrityConstraintViolation, psycopg.errors.NotNullViolation),
        )


def test_the_doors_keep_to_the_machine_as_well(shared_world: World) -> None:
    """Outcomes that a finisher, a reconciler or a person makes up do not reach an action."""
    claimed = shared_world.claim(shared_world.note())
    for outcome in ("executing", "authorized", "cancelled", "awaiting_approval", "", None):
        with shared_world.refuses("invalid_outcome"):
            shared_world.call(
                ACME.system(),
                "finish_attempt_v1",
                {"attempt_id": claimed["attempt_id"], "fence": claimed["fence"], "outcome": outcome},
            )
    unknown = _at(shared_world, "unknown")
    for outcome in ("executing", "authorized", "cancelled", "rejected", "dead_letter", "denied", None):
        with shared_world.refuses("invalid_outcome"):
            shared_world.call(
                ACME.system(), "reconcile_action_v1", {"id": unknown.id, "outcome": outcome, "reason": "said so"}
            )
    for status in ("executing", "succeeded", "unknown"):
        begun = _at(shared_world, status)
        with shared_world.refuses("invalid_transition"):
            shared_world.call(ACME.user(), "cancel_action_v1", {"id": begun.id, "reason": "too late"})
    waiting = shared_world.payment()
    for verdict in ("approved", "authorize", "", None):
        with shared_world.refuses("unknown_verdict"):
            shared_world.call(ACME.user(), "decide_exception_v1", shared_world.verdict(waiting) | {"verdict": verdict})


def test_other_state_machines_hold_for_the_owner_too(busy_world: World) -> None:
    connection = ACME.connection("bank/write")
    busy_world.call(ACME.user(), "revoke_connection_v1", {"id": connection})
    for statement in (
        f"update app.connections set status = 'active' where id = '{connection}'",
        f"update app.connections set status = 'pending' where id = '{ACME.connection('bank/read')}'",
        "update app.exceptions set status = 'open' where status <> 'open'",
        "update app.exceptions set status = 'rejected' where status = 'approved'",
        "update app.workflow_reviews set status = 'draft' where status = 'live'",
        "update app.kill_switches set status = 'engaged' where status = 'released'",
        "update app.attempts set status = 'executing' where status = 'succeeded'",
        "update app.attempts set status = 'failed' where status = 'succeeded'",
        "update app.runs set status = 'active' where status = 'completed'",
        "update app.observations set status = 'reading' where status = 'succeeded'",
    ):
        if " app.runs " in statement:
            busy_world.owner.execute("update app.runs set status = 'completed' where driven_by = 'client'")
        if " app.observations " in statement:
            reading = busy_world.value("select id::text from app.observations where status = 'reading' limit 1")
            busy_world.owner.execute("update app.observations set status = 'succeeded' where id = %s", (reading,))
        changed = busy_world.rows(statement.replace("update", "select count(*) from", 1).partition(" set ")[0])
        assert changed[0][0] > 0
        refused_everywhere(
            busy_world,
            statement,
            reasons=("invalid_transition", "already_decided", "attempt_closed", "observation_closed"),
            claims=ACME.user(),
            vantages=OWNER,
        )


def _copy(action: Action, status: str) -> str:
    """SQL that inserts the action again under a new id and with another status."""
    return (
        "insert into app.actions select (jsonb_populate_record(null::app.actions, to_jsonb(a)"
        f" || jsonb_build_object('id', '{new_id()}', 'status', {status}))).*"
        f" from app.actions a where a.id = '{action.id}'"
    )


def test_a_payment_is_no_exception(shared_world: World) -> None:
    """What is authorized from the start is refused where a human has to come first."""
    action = shared_world.payment()
    refused_everywhere(
        shared_world,
        _copy(action, "'authorized'"),
        claims=ACME.service(),
        vantages=OWNER,
        reasons=("approvals_missing", "wrong_isolation"),
    )
    with shared_world.refuses("approvals_missing"):
        shared_world.propose(ACME, PAY, outcome="allow", required={"count": 1})
