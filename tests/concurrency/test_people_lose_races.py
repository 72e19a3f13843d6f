"""Who loses a permission while he waits for the tenant's lock does nothing with it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.postgres import Server
from tests.concurrency.patience import eventually
from tests.concurrency.together import or_refused, patient, types_of
from tests.db.examples import EXAMPLES, Here
from tests.db.founding import busy, world_from
from tests.db.matrix import Place
from tests.db.names import ACME, Row
from tests.db.world import World

PRODUCTION = Place(ACME, "production")
#: Every function that a person or a key may call and that takes the lock alone: it waits for who takes a permission.
WAITING = [
    "adopt_amendment_v1", "approve_workflow_version_v1", "change_role_v1", "complete_reconnect_v1", "create_api_key_v1",
    "create_connection_v1", "create_workflow_v1", "decide_constitution_draft_v1",
    "decide_directory_change_v1", "describe_service_account_v1",
    "disable_service_account_v1",
    "engage_kill_switch_v1", "invite_v1", "narrow_api_key_v1", "publish_constitution_v1", "register_tool_v1",
    "reject_amendment_v1", "release_kill_switch_v1",
    "remove_member_v1", "revoke_api_key_v1", "revoke_connection_v1", "rotate_api_key_v1",
    "change_model_provider_v1", "register_model_provider_v1", "revoke_model_provider_v1",
    "create_webhook_trigger_v1", "revoke_webhook_trigger_v1", "rotate_webhook_secret_v1",
    "set_confidence_threshold_v1", "transfer_ownership_v1", "update_tenant_v1",
]  # fmt: skip
#: Those that need no permission of the tenant's: who founds one, who joins by an invitation, and who leaves.
FREE = {"accept_invitation_v1", "create_tenant_v1", "leave_tenant_v1"}
#: What only an owner may; everything else is tried by an admin.
OWNERS = {"transfer_ownership_v1", "update_tenant_v1"}


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Two tenants at work, in a database of this test's own."""
    with world_from(cluster, busy(cluster)) as made:
        yield made


@pytest.mark.parametrize("loses", ["remove_member_v1", "change_role_v1"])
@pytest.mark.parametrize("function", WAITING)
def test_what_waited_for_a_removal_is_refused(world: World, function: str, loses: str) -> None:
    """The removal answers which keys the person issued: none comes after it, and nothing else of his is done either."""
    who = "owner2" if function in OWNERS else "admin"
    given = EXAMPLES[function](Here(world, PRODUCTION))
    with world.database.connect(autocommit=False) as trial:  # with nobody in the way he may
        world.call(ACME.user(who), function, given, connection=trial)
        trial.rollback()
    removal = (loses, {"user_id": ACME.person(who), "role": "auditor"})
    assert _meanwhile(world, ACME.user(who), function, given, removal) == {
        "refused": {"remove_member_v1": "unauthenticated", "change_role_v1": "permission_denied"}[loses],
        "told": [{"remove_member_v1": "member.removed", "change_role_v1": "member.updated"}[loses]],
    }


def test_a_key_that_was_revoked_meanwhile_stops_nothing(world: World) -> None:
    given = EXAMPLES["engage_kill_switch_v1"](Here(world, PRODUCTION))
    revocation = ("revoke_api_key_v1", {"id": ACME.key()})
    answer = _meanwhile(world, ACME.service(), "engage_kill_switch_v1", given, revocation)
    assert answer == {"refused": "unauthenticated", "told": ["key.updated"]}


def test_every_function_that_takes_the_lock_alone_is_tried_above(world: World) -> None:
    """A function that is new in the catalog has an example, and with it is looked at here."""
    alone = set()
    for function, example in EXAMPLES.items():
        given = example(Here(world, PRODUCTION))
        for claims in (ACME.user("admin"), ACME.user("owner2"), ACME.service()):
            if _takes_the_lock_alone(world, claims, function, given):
                alone.add(function)
    assert alone - FREE == set(WAITING)


def _takes_the_lock_alone(world: World, claims: Row, function: str, given: Row) -> bool:
    with world.database.connect(autocommit=False) as trial:
        if "refused" in or_refused(lambda: world.call(claims, function, given, connection=trial)):
            return False
        held = world.value(
            "select count(*) from pg_locks where pid = %s and locktype = 'advisory' and mode = 'ExclusiveLock'"
            " and (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 20261120)",
            trial.info.backend_pid, ACME.id,
        )  # fmt: skip
        trial.rollback()
        return bool(held)


def _meanwhile(world: World, claims: Row, function: str, given: Row, loss: tuple[str, Row]) -> Row:
    """Calls a function while an owner's change is being committed; answers the refusal and what the log tells."""
    seen = world.last_event()
    with ThreadPoolExecutor(1) as pool, patient(world.database.connect()) as waiting:
        with patient(world.database.connect(autocommit=False)) as taking:
            world.call(ACME.user(), *loss, connection=taking)
            call = pool.submit(or_refused, lambda: world.call(claims, function, given, connection=waiting))
            _somebody_waits(world)
            taking.commit()
        # A removal also raises alerts, of channels that the person made, and hands over those that were theirs.
        events = [event for event in types_of(world, seen) if not event.startswith("alert.")]
        return call.result(timeout=60) | {"told": events}


def _somebody_waits(world: World) -> None:
    # The cluster has other databases, in which others wait at the same time.
    waiting = (
        "select count(*) from pg_locks where not granted and locktype = 'advisory'"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    eventually(lambda: world.value(waiting), "somebody waits")
