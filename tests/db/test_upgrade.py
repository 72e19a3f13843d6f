"""A tenant that was founded on the first released schema goes on working after every migration since."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.ids import new_id
from sandbox.auth.schema import install_schema
from sandbox.bootstrap import create_database, drop_database, enable_login
from sandbox.postgres import Server
from scripts.migrate import FOLDER, migrate
from tests.cluster import Database
from tests.db.founding import connect, sign_in
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
    install_schema(database.url("supabase_auth_admin"))
    migrate(database.url("postgres"), tmp_path, log=lambda _: None)
    enable_login(cluster, "countersign_api")
    world = World(database)
    sign_in(world, ACME)
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
    _connect(world)
    world.close()
    migrate(database.url("postgres"), log=lambda _: None)
    world = World(database)
    yield world
    world.close()
    drop_database(cluster, database.name)


#: What the application of then sealed, to a connection of then.
ENVELOPE = '{"v": 1, "kek": "then", "key": "wrapped", "data": "tokens"}'
CONNECTION = ACME.connection("bank/read")


def _connect(world: World) -> None:
    begin = {
        "id": CONNECTION, "provider": "sandbox_bank", "environment": "production", "access": "read", "scopes": ["all"],
        "state_hash": "aa", "binding_hash": "aa", "verifier": "sealed", "redirect_uri": "https://example.com/",
        "expires_at": soon(minutes=10),
    }  # fmt: skip
    world.call(ACME.user(), "create_connection_v1", begin)
    tokens = {
        "connection_id": CONNECTION, "replaces": None, "envelope": ENVELOPE, "token_expires_at": soon(),
        "scopes_granted": ["all"], "account": {"id": "1"},
    }  # fmt: skip
    world.call(ACME.user(), "store_credential_v1", tokens)


def test_a_connection_from_before_is_refreshed_rewrapped_and_closed(upgraded: World) -> None:
    shown: Any = upgraded.call(ACME.user(), "list_connections_v1", {"id": CONNECTION})
    assert [(c["id"], c["status"], c["parameters"]) for c in shown] == [(CONNECTION, "active", {})]
    claimed = upgraded.call(ACME.system(), "claim_rewrap_v1", {"connection_id": CONNECTION, "kek": "now"})
    assert claimed["credential"]["envelope"] == ENVELOPE
    rewrapped = {"connection_id": CONNECTION, "generation": 1, "envelope": ENVELOPE.replace("then", "now")}
    assert upgraded.call(ACME.system(), "store_rewrapped_v1", rewrapped) == {"stored": True}
    fresh = {"connection_id": CONNECTION, "replaces": 1, "envelope": ENVELOPE, "token_expires_at": soon()}
    assert upgraded.call(ACME.system(), "store_credential_v1", fresh)["status"] == "active"
    closed = upgraded.call(ACME.user(), "revoke_connection_v1", {"id": CONNECTION})
    assert closed["disconnect"]["at_provider"] == "pending"


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
    told, connection = "select environment, generation from app.credentials where connection_id = %s", ACME.connection
    assert upgraded.rows(told, connection("bank/read", "sandbox")) == [("sandbox", 1)]
    events = [event for event in upgraded.events() if event["subject"]["id"] == connection("bank/read", "sandbox")]
    assert [event["type"] for event in events if event["type"].startswith("credential")] == ["credential.stored"]
    assert upgraded.verified()["ok"]
