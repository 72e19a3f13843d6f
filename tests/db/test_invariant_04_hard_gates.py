"""Invariant 4: what is a hard gate waits for people, for the right ones, and for exactly what they saw.

An attacker with the application's login can pretend to be any person: who a person is, the database takes from
the claims that api/auth.py verified. Everything else it checks itself, and the tests below hold it to that.
"""

from __future__ import annotations

import json

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.gate.models import HARD_GATES
from api.ids import new_id
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, standing
from tests.db.names import ACME, DELETE, GLOBEX, NOTE, PAY, Row, soon
from tests.db.world import Action, World

APPROVAL = (
    "insert into app.approvals"
    " (tenant_id, id, environment, action_id, run_id, digest, user_id, role, aal, verdict, expires_at)"
    " select tenant_id, gen_random_uuid(), environment, id, run_id, digest, %(user)s, 'owner', 'aal2', 'approve',"
    " %(until)s from app.actions where id = %(action)s"
)


def _forged(world: World, action: Action, claims: Row | None, **values: object) -> psycopg.Cursor[tuple[object, ...]]:
    """The owner of the table writes an approval by hand, pretending to be somebody or not."""
    with standing(world, "owner", claims) as owner:
        given = {"user": ACME.person("owner"), "until": soon(), "action": action.id} | values
        return owner.execute(APPROVAL.encode(), given)


# Nothing that is a hard gate starts without a human.


@pytest.mark.parametrize("tool", [PAY, DELETE])
def test_no_verdict_of_the_gate_authorizes_it(world: World, tool: str) -> None:
    for required in ({"count": 0}, {"count": 1}, {"count": 1, "roles": []}):
        with world.refuses("hard_gate", "approvals_missing"):
            world.propose(ACME, tool, outcome="allow", required=required)
    with world.refuses("hard_gate"):
        world.propose(ACME, tool, outcome="escalate", required={"count": 0})


@pytest.mark.parametrize("effect", ["write", "read", "outbound_message", "destructive", ""])
def test_a_lie_about_the_effect_is_refused(world: World, effect: str) -> None:
    with world.refuses("contract_moved"):
        world.propose(ACME, PAY, outcome="allow", effect=effect)


def test_a_lie_about_the_contract_is_refused(world: World) -> None:
    """Another version, or another tool than the payload names."""
    with world.refuses("contract_moved"):
        world.call(ACME.service(), "record_action_v1", world.proposal(ACME, PAY) | {"contract_version": 2})
    note = world.proposal(ACME, NOTE, outcome="allow")
    with world.refuses(psycopg.errors.CheckViolation):
        world.call(ACME.service(), "record_action_v1", world.proposal(ACME, PAY) | {"tool": NOTE, "effect": "write"})
    with world.refuses(psycopg.errors.CheckViolation, "contract_moved"):
        world.call(ACME.service(), "record_action_v1", note | {"tool": PAY})


@pytest.mark.parametrize("effect", sorted(HARD_GATES))
def test_the_database_and_the_gate_agree_on_what_is_hard(world: World, effect: str) -> None:
    assert world.value("select private.is_hard_gate(%s)", effect) is True


def test_no_later_version_of_a_tool_lifts_its_gate(world: World) -> None:
    publish = (
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, 2, provider, access, {effect}, contract || jsonb_build_object('effect', {effect})"
        " from private.tool_catalog where name = %s and version = 1"
    )
    for tool in (PAY, DELETE):
        for effect in ("'write'", "'outbound_message'", "'legal'"):
            refused_everywhere(
                world,
                publish.format(effect=effect),
                tool,
                reasons=("hard_gate_lifted",),
                vantages=(*APPLICATION, *OWNER),
            )
    # Nor does a document, which the gate reads, that differs from its columns, which the database reads.
    with world.refuses(psycopg.errors.CheckViolation):
        world.owner.execute(
            "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
            """ select name, 2, provider, access, effect, contract || '{"effect": "write"}'"""
            " from private.tool_catalog where name = %s and version = 1",
            (PAY,),
        )


@pytest.mark.parametrize("status", ["authorized", "executing"])
def test_its_owner_cannot_move_it_past_the_gate(world: World, status: str) -> None:
    action = world.payment()
    refused_everywhere(
        world,
        "update app.actions set status = %s where id = %s",
        status,
        action.id,
        claims=ACME.user(),
        reasons=("approvals_missing", "invalid_transition"),
    )


def test_an_escalation_that_asks_for_nobody_still_waits_for_somebody(world: World) -> None:
    """Not a hard gate, but what was escalated is authorized by an approval and by nothing else."""
    action = world.propose(ACME, NOTE, outcome="escalate", required={"count": 0})
    refused_everywhere(
        world, "update app.actions set status = 'authorized' where id = %s", action.id, reasons=("approvals_missing",)
    )


# Whose approval counts.


def test_an_approval_written_by_hand_names_a_person_who_is_there(world: World) -> None:
    action = world.payment()
    for claims in (None, {}, ACME.system(), ACME.service(), GLOBEX.user(), ACME.user() | {"sub": str(new_id())}):
        with world.refuses("unauthenticated", "permission_denied", "people_only"):
            _forged(world, action, claims)
    with world.refuses("people_only"):
        _forged(world, action, ACME.user("owner2"))  # another person's name
    for role in APPLICATION:
        with world.refuses(psycopg.errors.InsufficientPrivilege), standing(world, role, ACME.user()) as connection:
            connection.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(), "action": action.id})


@pytest.mark.parametrize("isolation", OWNER[1:])
def test_an_approval_from_an_old_snapshot_is_refused(world: World, isolation: str) -> None:
    action = world.payment()
    refusals = ("wrong_isolation",) if isolation != "owner, replica" else ("people_only",)
    claims = ACME.user("owner2") if isolation == "owner, replica" else ACME.user()
    with world.refuses(*refusals), standing(world, isolation, claims) as owner:
        owner.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(), "action": action.id})


def test_a_second_factor_for_money_whatever_the_payload_asks_for(world: World) -> None:
    for required in ({"aal": "aal1"}, {"aal": "aal2"}):
        action = world.payment(required=required)
        for aal in ("aal1", "aal3", "", None):
            with world.refuses("aal2_required"):
                world.call(ACME.user("owner") | {"aal": aal}, "decide_exception_v1", world.verdict(action))
            with world.refuses("aal2_required"):
                _forged(world, action, ACME.user("owner") | {"aal": aal})
    deletion = world.propose(ACME, DELETE, outcome="escalate", required={"aal": "aal2"})
    with world.refuses("aal2_required"):
        world.approve(deletion, "owner", "aal1")
    assert world.approve(deletion, "owner", "aal2")["status"] == "approved"


def test_only_roles_that_were_asked_for(world: World) -> None:
    action = world.payment(required={"roles": ["owner"]})
    with world.refuses("role_not_asked_for"):
        world.approve(action, "approver")
    for who in ("admin", "operator", "developer", "auditor"):
        with world.refuses("permission_denied"):
            world.approve(action, who)
        with world.refuses("permission_denied"):
            _forged(world, action, ACME.user(who), user=ACME.person(who))
    for claims in (ACME.service(), ACME.system(), GLOBEX.user()):
        with world.refuses("permission_denied", "not_found"):
            world.call(claims, "decide_exception_v1", world.verdict(action))
    assert world.approve(action, "owner")["action"]["status"] == "authorized"


def test_the_required_number_of_distinct_people(world: World) -> None:
    action = world.payment(required={"count": 2})
    assert world.approve(action, "owner")["approvals"] == {"given": 1, "required": 2}
    for _ in range(2):
        with world.refuses("already_approved"):
            world.approve(action, "owner")
    with world.refuses(psycopg.errors.UniqueViolation):
        _forged(world, action, ACME.user())
    refused_everywhere(
        world,
        "update app.actions set status = 'authorized' where id = %s",
        action.id,
        claims=ACME.user(),
        reasons=("approvals_missing",),
    )
    with world.refuses("approvals_missing"), standing(world, "owner", ACME.user()) as owner:
        owner.execute("update app.exceptions set status = 'approved', decided_by = %s", (ACME.person("owner"),))
        owner.execute("update app.actions set status = 'authorized' where id = %s", (action.id,))
    assert world.approve(action, "approver")["action"]["status"] == "authorized"


def test_nobody_approves_what_he_proposed(world: World) -> None:
    action = world.payment(by=ACME.user("owner"))
    with world.refuses("own_payload"):
        world.approve(action, "owner")
    with world.refuses("own_payload"):
        _forged(world, action, ACME.user())
    assert world.approve(action, "owner2")["status"] == "approved"


def test_nobody_proposes_under_anothers_name(world: World) -> None:
    """So that the person who proposed cannot hide behind a colleague and approve it himself."""
    action = world.payment(by=ACME.user("owner"))
    copy = (
        "insert into app.actions select (jsonb_populate_record(null::app.actions, to_jsonb(a) || %s)).*"
        " from app.actions a where a.id = %s"
    )
    for lie in (
        {"proposed_by": ACME.person("operator")},
        {"proposed_by": None, "proposed_by_kind": "system"},
        {"proposed_by": ACME.agent, "proposed_by_kind": "service"},
        {"edited_by": ACME.person("operator")},
        {"supersedes": action.id},
    ):
        for vantage in OWNER:
            with world.refuses("not_the_proposer", "wrong_isolation"), standing(world, vantage, ACME.user()) as owner:
                owner.execute(copy.encode(), (Jsonb(lie | {"id": str(new_id())}), action.id))
    with world.refuses("not_the_proposer"), standing(world, "owner") as owner:
        owner.execute(copy.encode(), (Jsonb({"id": str(new_id())}), action.id))
    with (
        world.refuses(psycopg.errors.CheckViolation, "not_the_proposer"),
        standing(world, "owner", ACME.user()) as owner,
    ):
        owner.execute(copy.encode(), (Jsonb({"id": str(new_id()), "proposed_by": None}), action.id))


def test_nobody_approves_what_he_edited(world: World) -> None:
    """And the edited payload is a new action: the approvals of the old one are not its own."""
    first = world.payment(required={"count": 2})
    world.approve(first, "approver")
    edited = world.proposal(ACME, PAY, required={"count": 1}, by=ACME.user("owner"))
    answer = world.call(
        ACME.user("owner"),
        "edit_exception_v1",
        {"exception_id": first.exception, "digest": first.digest, "reason": "amended", "action": edited},
    )
    assert answer["superseded_by"]["status"] == "awaiting_approval"
    second = world.recorded(edited, answer["superseded_by"])
    with world.refuses("own_payload"):
        world.approve(second, "owner")
    with world.refuses("approvals_missing"), standing(world, "owner", ACME.user()) as owner:
        owner.execute("update app.actions set status = 'authorized' where id = %s", (second.id,))
    with world.refuses("already_decided"):
        world.approve(first, "owner2")
    assert world.approve(second, "owner2")["status"] == "approved"
    assert world.status(first) == "superseded"


def test_an_edit_cannot_authorize_itself(world: World) -> None:
    action = world.payment()
    for required in ({"count": 0}, {"count": 1}):
        edited = world.proposal(ACME, PAY, outcome="allow", required=required, by=ACME.user("owner"))
        with world.refuses("hard_gate", "approvals_missing"):
            world.call(
                ACME.user("owner"),
                "edit_exception_v1",
                {"exception_id": action.exception, "digest": action.digest, "reason": "", "action": edited},
            )


# Exactly this digest.


def test_another_digest_is_not_an_approval(world: World) -> None:
    action, other = world.payment(), world.payment()
    for digest in (other.digest, action.digest.upper(), action.digest + " ", "", None):
        with world.refuses("digest_mismatch"):
            world.call(ACME.user(), "decide_exception_v1", world.verdict(action) | {"digest": digest})
    with world.refuses("digest_mismatch"), standing(world, "owner", ACME.user()) as owner:
        owner.execute(
            APPROVAL.replace("digest, %(user)s", "%(other)s, %(user)s").encode(),
            {"user": ACME.person("owner"), "until": soon(), "action": action.id, "other": other.digest},
        )


def test_an_approval_does_not_carry_over_to_another_action(world: World) -> None:
    approved, other = world.authorized(), world.payment()
    refused_everywhere(
        world,
        "update app.approvals set action_id = %s, digest = %s where action_id = %s",
        other.id,
        other.digest,
        approved.id,
        reasons=("append_only",),
    )
    refused_everywhere(
        world, "update app.actions set status = 'authorized' where id = %s", other.id, reasons=("approvals_missing",)
    )


def test_the_payload_cannot_change_after_the_approval(world: World) -> None:
    action = world.authorized()
    payload = json.loads(action.payload)
    payload["args"]["amount"] = 10**9
    for change in (
        {"payload": json.dumps(payload)},
        {"digest": world.payment().digest},
        {"connection_id": ACME.connection("bank/write", "sandbox")},
        {"required_approvals": 0},
        {"effect": "write"},
    ):
        column, value = next(iter(change.items()))
        refused_everywhere(
            world,
            f"update app.actions set {column} = %s where id = %s",
            value,
            action.id,
            reasons=("immutable_column", "approvals_missing", psycopg.errors.CheckViolation),
        )


@pytest.mark.parametrize("part", ["tenant", "environment", "workflow_version", "tool_contract_version", "connection"])
def test_the_digest_covers_what_it_says_it_covers(world: World, part: str) -> None:
    """A payload that names another tenant, environment, version or connection than its row is refused."""
    proposal = world.proposal(ACME, PAY)
    payload = json.loads(proposal["payload"])
    payload[part] = {
        "tenant": GLOBEX.id, "environment": "sandbox", "connection": ACME.connection("bank/write", "sandbox"),
    }.get(part, 2)  # fmt: skip
    text = json.dumps(payload)
    digest = world.value("select 'sha256:' || encode(sha256(convert_to(%s, 'UTF8')), 'hex')", text)
    with world.refuses(psycopg.errors.CheckViolation):
        world.call(ACME.service(), "record_action_v1", proposal | {"payload": text, "digest": digest})
    with world.refuses(psycopg.errors.CheckViolation):
        world.call(ACME.service(), "record_action_v1", proposal | {"digest": digest})


# Unexpired.


def test_an_expired_approval_does_not_count(world: World) -> None:
    action = world.payment()
    with world.refuses("approvals_missing"), standing(world, "owner", ACME.user()) as owner:
        owner.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(hours=-1), "action": action.id})
        owner.execute("update app.actions set status = 'authorized' where id = %s", (action.id,))
    assert world.approve(action, approval_expires_at=soon(seconds=-1))["approvals"]["given"] == 0
    assert world.status(action) == "awaiting_approval"


def test_no_approval_lasts_longer_than_a_week(world: World) -> None:
    action = world.payment()
    world.approve(action, approval_expires_at=soon(days=3650))
    assert world.value("select max(expires_at) <= now() + interval '7 days' from app.approvals")


def test_an_approval_that_ran_out_is_not_executed(world: World) -> None:
    action = world.payment()
    world.approve(action, approval_expires_at=soon(milliseconds=400))
    assert world.status(action) == "authorized"
    world.rows("select pg_sleep(0.5)")
    refused_everywhere(
        world, "update app.actions set status = 'executing' where id = %s", action.id,
        reasons=("approvals_missing",),
    )  # fmt: skip
    assert world.claim(action) == {"claimed": False, "reason": "its approvals have expired", "status": "expired"}
    assert world.status(action) == "expired"


def test_an_approval_does_not_survive_a_new_version(world: World) -> None:
    """Of the tool's contract, and of the workflow."""
    pay, delete = world.authorized(), world.authorized(tool=DELETE)
    world.owner.execute(
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, 2, provider, access, effect, contract from private.tool_catalog where name = %s", (PAY,),
    )  # fmt: skip
    assert world.claim(pay)["status"] == "expired"
    slug = ACME.slug()
    spec = world.value("select spec from app.workflow_versions where workflow_id = %s", ACME.workflow())
    world.call(ACME.user("developer"), "create_workflow_version_v1", {"slug": slug, "spec": spec})
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": slug, "version": 2})
    world.call(ACME.user("admin"), "approve_workflow_version_v1", {"slug": slug, "version": 2, "reason": "seen"})
    assert world.claim(delete)["status"] == "expired"


def test_a_retry_needs_its_approvals_still(world: World) -> None:
    action = world.payment()
    world.approve(action, approval_expires_at=soon(milliseconds=500))
    claimed = world.claim(action)
    assert claimed["claimed"]
    world.rows("select pg_sleep(0.6)")
    assert world.finish(ACME, claimed, "retry")["status"] == "dead_letter"
    with world.refuses("approvals_missing"):
        world.call(ACME.user("owner"), "requeue_action_v1", {"id": action.id, "reason": "again"})


def test_approving_twice_at_the_deadline_is_too_late(world: World) -> None:
    action = world.payment(expires_at=soon(milliseconds=300))
    world.rows("select pg_sleep(0.4)")
    with world.refuses("exception_expired"):
        world.approve(action)
