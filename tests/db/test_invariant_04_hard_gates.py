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
from tests.db.attacks import APPLICATION, OWNER, refused_everywhere, run_out, standing
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
def test_no_verdict_of_the_gate_authorizes_it(shared_world: World, tool: str) -> None:
    for required in ({"count": 0}, {"count": 1}, {"count": 1, "roles": []}):
        with shared_world.refuses("hard_gate", "approvals_missing"):
            shared_world.propose(ACME, tool, outcome="allow", required=required)
    with shared_world.refuses("hard_gate"):
        shared_world.propose(ACME, tool, outcome="escalate", required={"count": 0})


@pytest.mark.parametrize("effect", ["write", "read", "outbound_message", "destructive", ""])
def test_a_lie_about_the_effect_is_refused(shared_world: World, effect: str) -> None:
    with shared_world.refuses("contract_moved"):
        shared_world.propose(ACME, PAY, outcome="allow", effect=effect)


def test_a_lie_about_the_contract_is_refused(shared_world: World) -> None:
    """Another version, or another tool than the payload names."""
    with shared_world.refuses("contract_moved"):
        shared_world.call(
            ACME.service(), "record_action_v1", shared_world.proposal(ACME, PAY) | {"contract_version": 99}
        )
    note = shared_world.proposal(ACME, NOTE, outcome="allow")
    with shared_world.refuses(psycopg.errors.CheckViolation):
        shared_world.call(
            ACME.service(),
            "record_action_v1",
            shared_world.proposal(ACME, PAY) | {"tool": NOTE, "effect": "write", "contract_version": 1},
        )
    with shared_world.refuses(psycopg.errors.CheckViolation, "contract_moved"):
        shared_world.call(ACME.service(), "record_action_v1", note | {"tool": PAY})


@pytest.mark.parametrize("effect", sorted(HARD_GATES))
def test_the_database_and_the_gate_agree_on_what_is_hard(shared_world: World, effect: str) -> None:
    assert shared_world.value("select private.is_hard_gate(%s)", effect) is True


def test_no_later_version_of_a_tool_lifts_its_gate(world: World) -> None:
    publish = (
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, 99, provider, access, {effect}, contract || jsonb_build_object('effect', {effect})"
        " from private.tool_catalog where name = %s"
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
            """ select name, 99, provider, access, effect, contract || '{"effect": "write"}'"""
            " from private.tool_catalog where name = %s",
            (PAY,),
        )


@pytest.mark.parametrize("status", ["authorized", "executing"])
def test_its_owner_cannot_move_it_past_the_gate(shared_world: World, status: str) -> None:
    action = shared_world.payment()
    refused_everywhere(
        shared_world,
        "update app.actions set status = %s where id = %s",
        status,
        action.id,
        claims=ACME.user(),
        reasons=("approvals_missing", "invalid_transition"),
    )


def test_an_escalation_that_asks_for_nobody_still_waits_for_somebody(shared_world: World) -> None:
    """Not a hard gate, but what was escalated is authorized by an approval and by nothing else."""
    action = shared_world.propose(ACME, NOTE, outcome="escalate", required={"count": 0})
    refused_everywhere(
        shared_world,
        "update app.actions set status = 'authorized' where id = %s",
        action.id,
        reasons=("approvals_missing",),
    )


# Whose approval counts.


def test_an_approval_written_by_hand_names_a_person_who_is_there(shared_world: World) -> None:
    action = shared_world.payment()
    for claims in (None, {}, ACME.system(), ACME.service(), GLOBEX.user(), ACME.user() | {"sub": str(new_id())}):
        with shared_world.refuses("unauthenticated", "permission_denied", "people_only"):
            _forged(shared_world, action, claims)
    with shared_world.refuses("people_only"):
        _forged(shared_world, action, ACME.user("owner2"))  # another person's name
    for role in APPLICATION:
        with (
            shared_world.refuses(psycopg.errors.InsufficientPrivilege),
            standing(shared_world, role, ACME.user()) as connection,
        ):
            connection.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(), "action": action.id})


@pytest.mark.parametrize("isolation", OWNER[1:])
def test_an_approval_from_an_old_snapshot_is_refused(shared_world: World, isolation: str) -> None:
    action = shared_world.payment()
    refusals = ("wrong_isolation",) if isolation != "owner, replica" else ("people_only",)
    claims = ACME.user("owner2") if isolation == "owner, replica" else ACME.user()
    with shared_world.refuses(*refusals), standing(shared_world, isolation, claims) as owner:
        owner.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(), "action": action.id})


def test_a_second_factor_for_money_whatever_the_payload_asks_for(shared_world: World) -> None:
    for required in ({"aal": "aal1"}, {"aal": "aal2"}):
        action = shared_world.payment(required=required)
        for aal in ("aal1", "aal3", "", None):
            with shared_world.refuses("aal2_required"):
                shared_world.call(
                    ACME.user("owner") | {"aal": aal}, "decide_exception_v1", shared_world.verdict(action)
                )
            with shared_world.refuses("aal2_required"):
                _forged(shared_world, action, ACME.user("owner") | {"aal": aal})
    deletion = shared_world.propose(ACME, DELETE, outcome="escalate", required={"aal": "aal2"})
    with shared_world.refuses("aal2_required"):
        shared_world.approve(deletion, "owner", "aal1")
    assert shared_world.approve(deletion, "owner", "aal2")["status"] == "approved"


def test_only_roles_that_were_asked_for(shared_world: World) -> None:
    action = shared_world.payment(required={"roles": ["owner"]})
    with shared_world.refuses("role_not_asked_for"):
        shared_world.approve(action, "approver")
    for who in ("admin", "operator", "developer", "auditor"):
        with shared_world.refuses("permission_denied"):
            shared_world.approve(action, who)
        with shared_world.refuses("permission_denied"):
            _forged(shared_world, action, ACME.user(who), user=ACME.person(who))
    for claims in (ACME.service(), ACME.system(), GLOBEX.user()):
        with shared_world.refuses("permission_denied", "not_found"):
            shared_world.call(claims, "decide_exception_v1", shared_world.verdict(action))
    assert shared_world.approve(action, "owner")["action"]["status"] == "authorized"


def test_the_required_number_of_distinct_people(shared_world: World) -> None:
    action = shared_world.payment(required={"count": 2})
    assert shared_world.approve(action, "owner")["approvals"] == {"given": 1, "required": 2}
    for _ in range(2):
        with shared_world.refuses("already_approved"):
            shared_world.approve(action, "owner")
    with shared_world.refuses(psycopg.errors.UniqueViolation):
        _forged(shared_world, action, ACME.user())
    refused_everywhere(
        shared_world,
        "update app.actions set status = 'authorized' where id = %s",
        action.id,
        claims=ACME.user(),
        reasons=("approvals_missing",),
    )
    with shared_world.refuses("approvals_missing"), standing(shared_world, "owner", ACME.user()) as owner:
        owner.execute(
            "update app.exceptions set status = 'approved', decided_by = %s where action_id = %s",
            (ACME.person("owner"), action.id),
        )
        owner.execute("update app.actions set status = 'authorized' where id = %s", (action.id,))
    assert shared_world.approve(action, "approver")["action"]["status"] == "authorized"


def test_nobody_approves_what_he_proposed(shared_world: World) -> None:
    action = shared_world.payment(by=ACME.user("owner"))
    with shared_world.refuses("own_payload"):
        shared_world.approve(action, "owner")
    with shared_world.refuses("own_payload"):
        _forged(shared_world, action, ACME.user())
    assert shared_world.approve(action, "owner2")["status"] == "approved"


def test_nobody_proposes_under_anothers_name(shared_world: World) -> None:
    """So that the person who proposed cannot hide behind a colleague and approve it himself."""
    action = shared_world.payment(by=ACME.user("owner"))
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
            with (
                shared_world.refuses("not_the_proposer", "wrong_isolation"),
                standing(shared_world, vantage, ACME.user()) as owner,
            ):
                owner.execute(copy.encode(), (Jsonb(lie | {"id": str(new_id())}), action.id))
    with shared_world.refuses("not_the_proposer"), standing(shared_world, "owner") as owner:
        owner.execute(copy.encode(), (Jsonb({"id": str(new_id())}), action.id))
    with (
        shared_world.refuses(psycopg.errors.CheckViolation, "not_the_proposer"),
        standing(shared_world, "owner", ACME.user()) as owner,
    ):
        owner.execute(copy.encode(), (Jsonb({"id": str(new_id()), "proposed_by": None}), action.id))


def test_nobody_approves_what_he_edited(shared_world: World) -> None:
    """And the edited payload is a new action: the approvals of the old one are not its own."""
    first = shared_world.payment(required={"count": 2})
    shared_world.approve(first, "approver")
    edited = shared_world.proposal(ACME, PAY, required={"count": 1}, by=ACME.user("owner"))
    answer = shared_world.call(
        ACME.user("owner"),
        "edit_exception_v1",
        {"exception_id": first.exception, "digest": first.digest, "reason": "amended", "action": edited},
    )
    assert answer["superseded_by"]["status"] == "awaiting_approval"
    second = shared_world.recorded(edited, answer["superseded_by"])
    with shared_world.refuses("own_payload"):
        shared_world.approve(second, "owner")
    with shared_world.refuses("approvals_missing"), standing(shared_world, "owner", ACME.user()) as owner:
        owner.execute("update app.actions set status = 'authorized' where id = %s", (second.id,))
    with shared_world.refuses("already_decided"):
        shared_world.approve(first, "owner2")
    assert shared_world.approve(second, "owner2")["status"] == "approved"
    assert shared_world.status(first) == "superseded"


def test_an_edit_cannot_authorize_itself(shared_world: World) -> None:
    action = shared_world.payment()
    for required in ({"count": 0}, {"count": 1}):
        edited = shared_world.proposal(ACME, PAY, outcome="allow", required=required, by=ACME.user("owner"))
        with shared_world.refuses("hard_gate", "approvals_missing"):
            shared_world.call(
                ACME.user("owner"),
                "edit_exception_v1",
                {"exception_id": action.exception, "digest": action.digest, "reason": "", "action": edited},
            )


# Exactly this digest.


def test_another_digest_is_not_an_approval(shared_world: World) -> None:
    action, other = shared_world.payment(), shared_world.payment()
    for digest in (other.digest, action.digest.upper(), action.digest + " ", "", None):
        with shared_world.refuses("digest_mismatch"):
            shared_world.call(ACME.user(), "decide_exception_v1", shared_world.verdict(action) | {"digest": digest})
    with shared_world.refuses("digest_mismatch"), standing(shared_world, "owner", ACME.user()) as owner:
        owner.execute(
            APPROVAL.replace("digest, %(user)s", "%(other)s, %(user)s").encode(),
            {"user": ACME.person("owner"), "until": soon(), "action": action.id, "other": other.digest},
        )


def test_an_approval_does_not_carry_over_to_another_action(shared_world: World) -> None:
    approved, other = shared_world.authorized(), shared_world.payment()
    refused_everywhere(
        shared_world,
        "update app.approvals set action_id = %s, digest = %s where action_id = %s",
        other.id,
        other.digest,
        approved.id,
        reasons=("append_only",),
    )
    refused_everywhere(
        shared_world,
        "update app.actions set status = 'authorized' where id = %s",
        other.id,
        reasons=("approvals_missing",),
    )


def test_the_payload_cannot_change_after_the_approval(shared_world: World) -> None:
    action = shared_world.authorized()
    payload = json.loads(action.payload)
    payload["args"]["amount"] = 10**9
    for change in (
        {"payload": json.dumps(payload)},
        {"digest": shared_world.payment().digest},
        {"connection_id": ACME.connection("bank/write", "sandbox")},
        {"required_approvals": 0},
        {"effect": "write"},
    ):
        column, value = next(iter(change.items()))
        refused_everywhere(
            shared_world,
            f"update app.actions set {column} = %s where id = %s",
            value,
            action.id,
            reasons=("immutable_column", "approvals_missing", psycopg.errors.CheckViolation),
        )


@pytest.mark.parametrize("part", ["tenant", "environment", "workflow_version", "tool_contract_version", "connection"])
def test_the_digest_covers_what_it_says_it_covers(shared_world: World, part: str) -> None:
    """A payload that names another tenant, environment, version or connection than its row is refused."""
    proposal = shared_world.proposal(ACME, PAY)
    payload = json.loads(proposal["payload"])
    payload[part] = {
        "tenant": GLOBEX.id, "environment": "sandbox", "connection": ACME.connection("bank/write", "sandbox"),
    }.get(part, 99)  # fmt: skip
    text = json.dumps(payload)
    digest = shared_world.value("select 'sha256:' || encode(sha256(convert_to(%s, 'UTF8')), 'hex')", text)
    with shared_world.refuses(psycopg.errors.CheckViolation):
        shared_world.call(ACME.service(), "record_action_v1", proposal | {"payload": text, "digest": digest})
    with shared_world.refuses(psycopg.errors.CheckViolation):
        shared_world.call(ACME.service(), "record_action_v1", proposal | {"digest": digest})


# Unexpired.


def test_an_expired_approval_does_not_count(shared_world: World) -> None:
    action = shared_world.payment()
    with shared_world.refuses("approvals_missing"), standing(shared_world, "owner", ACME.user()) as owner:
        owner.execute(APPROVAL.encode(), {"user": ACME.person("owner"), "until": soon(hours=-1), "action": action.id})
        owner.execute("update app.actions set status = 'authorized' where id = %s", (action.id,))
    assert shared_world.approve(action, approval_expires_at=soon(seconds=-1))["approvals"]["given"] == 0
    assert shared_world.status(action) == "awaiting_approval"


def test_no_approval_lasts_longer_than_a_week(shared_world: World) -> None:
    action = shared_world.payment()
    shared_world.approve(action, approval_expires_at=soon(days=3650))
    assert shared_world.value("select max(expires_at) <= now() + interval '7 days' from app.approvals")


def test_an_approval_that_ran_out_is_not_executed(shared_world: World) -> None:
    action = shared_world.payment()
    shared_world.approve(action)
    assert shared_world.status(action) == "authorized"
    run_out(shared_world, "app.approvals", "action_id", action.id)
    refused_everywhere(
        shared_world, "update app.actions set status = 'executing' where id = %s", action.id,
        reasons=("approvals_missing",),
    )  # fmt: skip
    assert shared_world.claim(action) == {"claimed": False, "reason": "its approvals have expired", "status": "expired"}
    assert shared_world.status(action) == "expired"


def test_an_approval_does_not_survive_a_new_version(world: World) -> None:
    """Of the tool's contract, and of the workflow."""
    pay, delete = world.authorized(), world.authorized(tool=DELETE)
    world.owner.execute(
        "insert into private.tool_catalog (name, version, provider, access, effect, contract)"
        " select name, 99, provider, access, effect, contract from private.tool_catalog"
        " where name = %s",
        (PAY,),
    )  # fmt: skip
    assert world.claim(pay)["status"] == "expired"
    slug = ACME.slug()
    spec = world.value("select spec from app.workflow_versions where workflow_id = %s", ACME.workflow())
    world.call(ACME.user("developer"), "create_workflow_version_v1", {"slug": slug, "spec": spec})
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": slug, "version": 2})
    world.call(ACME.user("admin"), "approve_workflow_version_v1", {"slug": slug, "version": 2, "reason": "seen"})
    assert world.claim(delete)["status"] == "expired"


def test_a_retry_needs_its_approvals_still(shared_world: World) -> None:
    action = shared_world.payment()
    shared_world.approve(action)
    claimed = shared_world.claim(action)
    assert claimed["claimed"]
    run_out(shared_world, "app.approvals", "action_id", action.id)
    assert shared_world.finish(ACME, claimed, "retry")["status"] == "dead_letter"
    with shared_world.refuses("approvals_missing"):
        shared_world.call(ACME.user("owner"), "requeue_action_v1", {"id": action.id, "reason": "again"})


def test_approving_twice_at_the_deadline_is_too_late(shared_world: World) -> None:
    action = shared_world.payment()
    run_out(shared_world, "app.exceptions", "id", action.exception)
    with shared_world.refuses("exception_expired"):
        shared_world.approve(action)
