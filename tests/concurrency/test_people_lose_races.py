"""Who loses a permission while he waits for the tenant's lock does nothing with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.ids import new_id
from sandbox.postgres import Server
from tests.concurrency.together import or_refused
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, Row, soon
from tests.db.world import World

SIGN_IN = {"state_hash": "aa" * 32, "binding_hash": "bb" * 32}


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Two tenants, ready for business, in a database of this test's own."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


def issuing(world: World) -> Row:
    return {
        "id": str(new_id()), "service_account_id": ACME.agent, "environment": "production", "prefix": "cs_live_x",
        "secret_hash": "ab" * 32, "scopes": ["tenant.read"], "expires_at": soon(days=3),
    }  # fmt: skip


def rotating(world: World) -> Row:
    old = issuing(world)
    world.call(ACME.user(), "create_api_key_v1", old)
    return {
        "old_id": old["id"],
        "id": str(new_id()),
        "prefix": "cs_live_y",
        "secret_hash": "cd" * 32,
        "grace_seconds": 0,
    }


def signing_in_again(world: World) -> Row:
    connection = ACME.connection("crm/read")
    begun = SIGN_IN | {"id": connection, "scopes": ["all"], "verifier": "v", "redirect_uri": "x", "expires_at": soon()}
    world.call(ACME.user("admin"), "begin_reconnect_v1", begun)
    with world.database.connect() as api, api.transaction():
        api.execute("set local role countersign_worker")
        api.execute("select app.claim_oauth_flow_v1(decode(%s, 'hex'), decode(%s, 'hex'))", tuple(SIGN_IN.values()))
    account = world.value("select account from app.connections where id = %s", connection)
    return {
        "connection_id": connection, "state_hash": SIGN_IN["state_hash"], "replaces": 1, "envelope": "sealed:theirs",
        "token_expires_at": soon(), "scopes_granted": ["all"], "account": account, "values": {},
    }  # fmt: skip


@pytest.mark.parametrize("loses", ["remove_member_v1", "change_role_v1"])
@pytest.mark.parametrize(
    ("function", "args"),
    [("create_api_key_v1", issuing), ("rotate_api_key_v1", rotating), ("complete_reconnect_v1", signing_in_again)],
)
def test_what_waited_for_a_removal_is_refused(
    world: World, function: str, args: Callable[[World], Row], loses: str
) -> None:
    """The removal answers which keys the person issued: none may come after it, and no sign-in of his is kept."""
    given, before = args(world), _state(world)
    removal = {"user_id": ACME.person("admin"), "role": "auditor"}
    with ThreadPoolExecutor(1) as pool, world.database.connect() as waiting:
        with world.database.connect(autocommit=False) as removing:
            world.call(ACME.user(), loses, removal, connection=removing)
            call = pool.submit(or_refused, lambda: world.call(ACME.user("admin"), function, given, connection=waiting))
            _somebody_waits(world)
            removing.commit()
        refused = {"remove_member_v1": "unauthenticated", "change_role_v1": "permission_denied"}[loses]
        assert call.result(timeout=30) == {"refused": refused}
    assert _state(world) == before


def _state(world: World) -> list[tuple[object, ...]]:
    return world.rows(
        "select id::text, revoked_at::text from app.api_keys union all"
        " select connection_id::text, generation::text from app.credentials order by 1"
    )


def _somebody_waits(world: World) -> None:
    deadline = time.monotonic() + 30
    while not world.value("select count(*) from pg_locks where not granted"):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)
