"""A tenant that was founded on the first released schema goes on working after every migration since."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from api.ids import new_id
from sandbox.bootstrap import create_database, drop_database, enable_login
from sandbox.postgres import Server
from scripts.migrate import FOLDER, migrate
from tests.cluster import Database
from tests.db.founding import connect
from tests.db.names import ACME, soon
from tests.db.world import World, refusal

#: The last migration of the release that had tenants in it.
RELEASED = "20261120001200"


@pytest.fixture
def upgraded(cluster: Server, tmp_path: Path) -> Iterator[World]:
    """Founded by the functions of then, migrated since."""
    database = Database(cluster, f"upgrade_{secrets.token_hex(6)}")
    create_database(cluster, database.name)
    for path in FOLDER.glob("*.sql"):
        if path.name[:14] <= RELEASED:
            shutil.copy(path, tmp_path)
    migrate(database.url("postgres"), tmp_path, log=lambda _: None)
    enable_login(cluster, "countersign_api")
    world = World(database)
    founding = {
        "id": ACME.id,
        "name": "acme",
        "email": "owner@example.com",
        "constitution": {"rules": [], "reason": "x"},
    }
    world.call(ACME.user() | {"tenant_id": None}, "create_tenant_v1", founding)
    for who in ("admin", "approver", "developer"):
        member = {"user_id": ACME.person(who), "role": who, "email": f"{who}@example.com"}
        world.call(ACME.user(), "put_member_v1", member)
    world.call(ACME.user("developer"), "create_service_account_v1", {"id": ACME.agent, "name": "agent"})
    for environment in ("sandbox", "production"):
        key = {
            "id": ACME.key(environment), "service_account_id": ACME.agent, "environment": environment, "prefix": "p",
            "secret_hash": ACME.key_hash(environment), "scopes": ["tenant.read"], "expires_at": soon(days=30),
        }  # fmt: skip
        world.call(ACME.user(), "create_api_key_v1", key)
    connect(world, ACME, "bank/read", "sandbox", "sandbox_bank")
    world.close()
    migrate(database.url("postgres"), log=lambda _: None)
    world = World(database)
    yield world
    world.close()
    drop_database(cluster, database.name)


def test_people_keys_and_log_are_still_there(upgraded: World) -> None:
    assert upgraded.call(ACME.user("approver"), "me_v1")["role"] == "approver"
    assert upgraded.verified()["ok"]
    settings = upgraded.call(ACME.user(), "get_tenant_v1")["settings"]
    assert settings == {"separation_of_duties": False}


def test_a_key_from_before_works_and_its_use_is_noted(upgraded: World) -> None:
    used = "select used_at is not null from app.key_uses where key_id = %s"
    for environment in ("sandbox", "production"):
        assert not upgraded.value(used, ACME.key(environment))
        told = upgraded.call(ACME.service(environment, key_environment=environment), "me_v1")
        assert told["environment"] == environment
        assert upgraded.value(used, ACME.key(environment))
    # And an application of before, which does not say what the key calls itself, is served as well.
    assert upgraded.call(ACME.service(), "me_v1")["kind"] == "service"


def test_who_was_added_before_is_a_member_and_nobody_is_added_so_any_more(upgraded: World) -> None:
    member = {"user_id": str(new_id()), "role": "auditor", "email": "new@example.com"}
    with refusal(psycopg.errors.UndefinedFunction):
        upgraded.call(ACME.user(), "put_member_v1", member)
    upgraded.admit(ACME, member["user_id"], "auditor", "new@example.com")
    upgraded.call(ACME.user(), "change_role_v1", {"user_id": ACME.person("developer"), "role": "admin"})
    gone = upgraded.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("developer")})
    assert gone["keys"] == []
    upgraded.call(ACME.user(), "transfer_ownership_v1", {"user_id": ACME.person("approver")})
    keys = upgraded.call(ACME.user() | {"tenant_id": None}, "leave_tenant_v1")["keys"]
    assert {key["id"] for key in keys} == {ACME.key("sandbox"), ACME.key("production")}


def test_a_credential_learns_its_environment_and_nothing_happened_to_it(upgraded: World) -> None:
    told = "select environment, generation from app.credentials where tenant_id = %s"
    assert upgraded.rows(told, ACME.id) == [("sandbox", 1)]
    assert [event["type"] for event in upgraded.events() if event["type"].startswith("credential")] == [
        "credential.stored"
    ]
    assert upgraded.verified()["ok"]
