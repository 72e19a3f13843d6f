"""Invariant 6: what people decide is decided by people, and where it matters with a second factor.

Exceptions, constitutions and go-lives need a person with the permission, never an API key or a scheduled
function. Releasing a kill switch needs `aal2`; money does too (invariant 4).
"""

from __future__ import annotations

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, NOTE, Row
from tests.db.world import World

#: Who may never decide, whatever is decided.
STRANGERS: dict[str, Row | None] = {
    "nobody": None,
    "empty claims": {},
    "unknown kind": {"kind": "root", "tenant_id": ACME.id},
    "a key": ACME.service(),
    "a key of the sandbox": ACME.service("sandbox"),
    "a scheduled function": ACME.system(),
    "another tenant's owner": GLOBEX.user(),
    "another tenant's owner, who says otherwise": GLOBEX.user() | {"tenant_id": ACME.id},
    "an auditor": ACME.user("auditor"),
    "a developer": ACME.user("developer"),
    "a former member": ACME.user() | {"sub": str(new_id()), "session_id": None},
}
REFUSALS = ("unauthenticated", "permission_denied", "people_only", "not_found", "unknown_member")


def _say(claims: Row | None) -> Row:
    return {} if claims is None else claims


@pytest.mark.parametrize("who", STRANGERS)
def test_strangers_decide_nothing(world: World, who: str) -> None:
    claims = STRANGERS[who]
    action, switch = world.payment(), world.stop(scope="tool", target=NOTE)
    spec = world.value("select spec from app.workflow_versions where workflow_id = %s", ACME.workflow())
    world.call(ACME.user("developer"), "create_workflow_version_v1", {"slug": ACME.slug(), "spec": spec})
    world.call(ACME.user("developer"), "submit_workflow_version_v1", {"slug": ACME.slug(), "version": 2})
    refusals = (*REFUSALS, "author_cannot_approve")
    edit = {"exception_id": action.exception, "digest": action.digest, "reason": "", "action": action.arguments}
    for function, args in {
        "decide_exception_v1": world.verdict(action),
        "edit_exception_v1": edit,
        "assign_exception_v1": {"id": action.exception, "user_id": ACME.person("owner")},
        "comment_exception_v1": {"id": str(new_id()), "exception_id": action.exception, "text": "mine"},
        "publish_constitution_v1": {"rules": [], "reason": "mine", "expected_version": 1},
        "release_kill_switch_v1": {"id": switch, "reason": "over"},
        "approve_workflow_version_v1": {"slug": ACME.slug(), "version": 2, "reason": "fine"},
    }.items():
        if who == "another tenant's owner" and function in ("publish_constitution_v1", "approve_workflow_version_v1"):
            continue  # they may, in their own tenant, of which these arguments speak just as well
        for verdict in ("approve", "reject", "answer") if function.startswith("decide") else ("",):
            with world.refuses(*refusals, note=function):
                world.call(_say(claims), function, args | ({"verdict": verdict} if verdict else {}))


@pytest.mark.parametrize("who", STRANGERS)
def test_strangers_decide_nothing_by_writing_rows(world: World, who: str) -> None:
    """The owner of the tables, pretending to be each of them, in every session he can make."""
    action = world.payment()
    world.stop(scope="tool", target=NOTE)
    claims = STRANGERS[who]
    own = "(select user_id from app.members where role = 'owner' limit 1)"
    sub = f"coalesce((nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid, {own})"
    statements = [
        *(
            f"update app.exceptions set status = '{status}', decided_by = {sub} where action_id = '{action.id}'"
            for status in ("approved", "rejected", "edited", "answered")
        ),
        f"update app.exceptions set status = 'approved', decided_by = null where action_id = '{action.id}'",
        f"update app.exceptions set status = 'expired' where action_id = '{action.id}'",
        f"insert into app.constitution_versions values ('{ACME.id}', 2, '[]', 'mine', {sub})",
        f"update app.kill_switches set status = 'released', released_by = {sub}",
        f"insert into app.workflow_versions values ('{ACME.id}', '{ACME.workflow()}', 9, '{{}}', {sub})",
    ]
    if who == "a developer":
        statements.pop()  # may write a version, only not put it live
    for statement in statements:
        reasons = (*REFUSALS, "not_expired", "wrong_isolation")
        refused_everywhere(world, statement, claims=claims, vantages=OWNER, reasons=reasons)


def test_a_go_live_needs_somebody_else(world: World) -> None:
    slug, spec = (
        ACME.slug(),
        world.value("select spec from app.workflow_versions where workflow_id = %s", ACME.workflow()),
    )
    world.call(ACME.user("owner"), "create_workflow_version_v1", {"slug": slug, "spec": spec})
    world.call(ACME.user("owner"), "submit_workflow_version_v1", {"slug": slug, "version": 2})
    approval = {"slug": slug, "version": 2, "reason": "fine"}
    with world.refuses("author_cannot_approve"):
        world.call(ACME.user("owner"), "approve_workflow_version_v1", approval)
    with world.refuses("permission_denied"):
        world.call(ACME.user("operator"), "approve_workflow_version_v1", approval)
    here = f"workflow_id = '{ACME.workflow()}' and version = 2"
    anybody = ("people_only", "unauthenticated", "author_cannot_approve", "wrong_isolation")
    for approver in ("owner", "owner2"):
        refused_everywhere(
            world,
            f"update app.workflow_reviews set status = 'live', approved_by = '{ACME.person(approver)}' where {here}",
            claims=ACME.user("owner"),
            reasons=(*anybody, psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation),
        )
    for statement, reasons in {
        f"update app.workflow_reviews set author = '{ACME.person('admin')}' where {here}": (
            "immutable_column",
            "invalid_transition",
        ),
        f"update app.workflow_reviews set approved_by = '{ACME.person('admin')}' where {here}": ("invalid_transition",),
        f"update app.workflows set live_version = 2 where id = '{ACME.workflow()}'": ("version_not_approved",),
        f"update app.workflows set live_version = null where id = '{ACME.workflow()}'": ("version_not_approved",),
        f"delete from app.workflow_reviews where {here}": ("append_only",),
    }.items():
        refused_everywhere(world, statement, claims=ACME.user("owner"), reasons=reasons)
    world.call(ACME.user("owner2"), "approve_workflow_version_v1", approval)
    live = world.rows(
        "select version from app.workflow_reviews where workflow_id = %s and status = 'live'", ACME.workflow()
    )
    assert live == [(2,)]


def test_a_version_is_written_in_its_authors_name_and_reviewed_from_the_start(world: World) -> None:
    """Else the author would name a colleague as the author, and approve it himself."""
    version = (
        "insert into app.workflow_versions (tenant_id, workflow_id, version, spec, author)"
        f" values ('{ACME.id}', '{ACME.workflow()}', 7, '{{}}', '{ACME.person('developer')}')"
    )
    refused_everywhere(world, version, claims=ACME.user("owner"), reasons=("people_only",))
    with standing(world, "owner, replica", ACME.user("developer")) as owner:
        owner.execute(version.encode())
    assert world.rows("select status, author::text from app.workflow_reviews where version = 7") == [
        ("draft", ACME.person("developer"))
    ]
    review = (
        "insert into app.workflow_reviews (tenant_id, workflow_id, version, environment, status, author, approved_by)"
        f" values ('{ACME.id}', '{ACME.workflow()}', 8, 'production', 'live', '{ACME.person('owner')}',"
        f" '{ACME.person('admin')}')"
    )
    refused_everywhere(world, review, claims=ACME.user("admin"), reasons=("invalid_transition",))
    workflow = (
        "insert into app.workflows (tenant_id, id, slug, environment, title, live_version, created_by)"
        f" values ('{ACME.id}', '{new_id()}', 'new', 'production', 'New', 1, '{ACME.person('admin')}')"
    )
    refused_everywhere(world, workflow, claims=ACME.user("admin"), reasons=("version_not_approved",))


def test_a_kill_switch_is_released_with_a_second_factor(world: World) -> None:
    switch = world.stop(scope="tool", target=NOTE)
    for claims in (
        ACME.user("owner", "aal1"),
        ACME.user("owner") | {"aal": None},
        ACME.user("owner") | {"aal": "AAL2"},
    ):
        with world.refuses("aal2_required"):
            world.call(claims, "release_kill_switch_v1", {"id": switch, "reason": "over"})
        refused_everywhere(
            world,
            "update app.kill_switches set status = 'released', released_by = %s",
            ACME.person("owner"),
            claims=claims,
            vantages=("owner", "owner, replica"),
            reasons=("aal2_required",),
        )
    refused_everywhere(
        world,
        "update app.kill_switches set status = 'released', released_by = %s",
        ACME.person("owner2"),
        claims=ACME.user("owner"),
        vantages=("owner", "owner, replica"),
        reasons=("people_only",),
    )
    for who in ("approver", "operator", "developer", "auditor"):
        with world.refuses("permission_denied"):
            world.call(ACME.user(who), "release_kill_switch_v1", {"id": switch, "reason": "over"})
    assert world.call(ACME.user(), "release_kill_switch_v1", {"id": switch, "reason": "over"})["status"] == "released"


def test_no_key_is_given_what_people_hold(world: World) -> None:
    key = {
        "id": str(new_id()), "service_account_id": ACME.agent, "environment": "production", "prefix": "x",
        "secret_hash": "00" * 32, "expires_at": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    for scope in ("exceptions.decide", "constitution.publish", "workflows.approve", "kill_switches.release", "*", ""):
        with world.refuses("scope_not_grantable"):
            world.call(ACME.user(), "create_api_key_v1", key | {"scopes": [scope]})
        refused_everywhere(
            world,
            "insert into app.api_keys (tenant_id, id, service_account_id, environment, prefix, secret_hash, scopes,"
            " expires_at, created_by) select tenant_id, gen_random_uuid(), service_account_id, environment, prefix,"
            " secret_hash, array[%s], expires_at, created_by from app.api_keys limit 1",
            scope,
            reasons=("scope_not_grantable",),
        )
        refused_everywhere(world, "update app.api_keys set scopes = array[%s]", scope, reasons=("key_widened",))


def test_the_table_of_permissions_cannot_hand_it_to_machines(world: World) -> None:
    for permission in ("exceptions.decide", "constitution.publish", "workflows.approve", "kill_switches.release"):
        for column in ("service", "system"):
            refused_everywhere(
                world,
                f"update private.permissions set {column} = true where permission = %s",
                permission,
                reasons=(psycopg.errors.CheckViolation,),
            )
    refused_everywhere(
        world,
        "update private.permissions set aal2 = false where permission = 'kill_switches.release'",
        reasons=(psycopg.errors.CheckViolation,),
    )


def test_only_a_person_takes_an_action_out_of_the_dead_letters(world: World) -> None:
    action = world.note()
    world.finish(ACME, world.claim(action), "dead_letter")
    statement = "update app.actions set status = 'authorized' where id = %s"
    for claims in (None, ACME.service(), ACME.system(), GLOBEX.user(), ACME.user("developer")):
        refused_everywhere(world, statement, action.id, claims=claims, reasons=(*REFUSALS, "wrong_isolation"))
    for stranger in (ACME.service(), ACME.system()):
        with world.refuses("permission_denied"):
            world.call(stranger, "requeue_action_v1", {"id": action.id, "reason": "again"})
    world.call(ACME.user("approver"), "requeue_action_v1", {"id": action.id, "reason": "again"})
    assert world.status(action) == "authorized"


def test_an_exception_begins_open_and_with_its_action(world: World) -> None:
    """Nobody writes one that is decided already, or for an action that does not wait."""
    waiting, done = world.payment(), world.note()
    copy = (
        "insert into app.exceptions (tenant_id, id, environment, action_id, run_id, status, severity, summary,"
        " expires_at, decided_by) select tenant_id, gen_random_uuid(), environment, id, run_id, %s, 'low', 's',"
        " expires_at, {} from app.actions where id = %s"
    )
    for action, status, by in (
        (done, "open", "null"),
        (waiting, "approved", "null"),
        (waiting, "open", "gen_random_uuid()"),
    ):
        refused_everywhere(
            world, copy.format(by), status, action.id, claims=ACME.user(), reasons=("invalid_transition",)
        )
