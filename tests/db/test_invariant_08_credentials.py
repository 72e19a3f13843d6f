"""Invariant 8: a credential leaves the database for a claim of its own tenant, environment and connection only.

A write credential leaves for a claimed attempt, a read credential for an observation, and each leaving is a
release and an audit event. What leaves is sealed twice; the key is not in the database at all.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import APPLICATION, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, NOTE, PAY, Row, Tenant, soon
from tests.db.world import World

DENIED = psycopg.errors.InsufficientPrivilege


def _releases(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        "select t.name, r.connection_id::text, r.environment, r.purpose, r.released_for::text"
        " from app.credential_releases r join app.tenants t using (tenant_id) order by r.at"
    )


# The ways in that are none.


@pytest.mark.parametrize("vantage", APPLICATION)
def test_no_role_reads_secrets_directly(busy_world: World, vantage: str) -> None:
    for claims in (ACME.user(), ACME.service(), ACME.system()):
        for statement in (
            "select * from app.credentials",
            "select secret_id from app.credentials",
            "select * from app.oauth_flows",
            "select verifier from app.oauth_flows",
            "select secret_hash from app.api_keys",
            "select * from app.api_keys",
            "select answer from app.idempotency_keys",
            "select private.release_credential(c, 'attempt', gen_random_uuid(), null, null) from app.connections c",
        ):
            with busy_world.refuses(DENIED, note=statement), standing(busy_world, vantage, claims) as connection:
                connection.execute(statement.encode())
        # A hosted project lets service_role read the vault, and nothing that we may do takes that away. What it
        # finds there is sealed with a key that is not in the database.
        if vantage != "service_role":
            for statement in ("select * from vault.secrets", "select * from vault.decrypted_secrets"):
                with busy_world.refuses(DENIED), standing(busy_world, vantage, claims) as connection:
                    connection.execute(statement.encode())


def test_no_role_may_call_what_releases(world: World) -> None:
    found = world.rows(
        "select r.rolname from pg_proc p cross join pg_roles r"
        " where p.proname = 'release_credential' and has_function_privilege(r.oid, p.oid, 'execute')"
        " and not r.rolsuper and r.rolname !~ '^pg_'"
    )
    assert found == [("postgres",)]


# An observation reads, and reads with a read credential.


def test_an_observation_releases_its_read_credential_and_says_so(world: World) -> None:
    args, seen = world.observation(), world.last_event()
    answer = world.call(ACME.service(), "claim_observation_v1", args)
    assert answer["credential"]["envelope"] == ACME.envelope("bank/read")
    assert _releases(world) == [("acme", ACME.connection("bank/read"), "production", "observation", args["id"])]
    assert [event["type"] for event in world.events(after=seen)] == ["observation.recorded", "credential.released"]


OBSERVATIONS: dict[str, Row] = {
    "with a write connection": {"connection_id": ACME.connection("bank/write")},
    "of the other environment": {"connection_id": ACME.connection("bank/read", "sandbox")},
    "of another tenant": {"connection_id": GLOBEX.connection("bank/read")},
    "of another provider": {"connection_id": ACME.connection("crm/read")},
    "with no connection": {"connection_id": None},
    "with a write tool": {"tool": PAY},
    "with a write tool through its write connection": {"tool": PAY, "connection_id": ACME.connection("bank/write")},
    "with an unknown tool": {"tool": "sandbox_bank.everything"},
    "with another version": {"contract_version": 2},
    "in another tenant's run": {"run_id": GLOBEX.run()},
    "in a run of the other environment": {"run_id": ACME.run("sandbox")},
}


@pytest.mark.parametrize("how", OBSERVATIONS)
def test_an_observation_gets_nothing(world: World, how: str) -> None:
    for claims in (ACME.service(), ACME.user(), ACME.system()):
        with world.refuses("connection_not_readable", "not_a_read_tool", "not_found", "wrong_environment"):
            world.call(claims, "claim_observation_v1", world.observation() | OBSERVATIONS[how])


def test_a_key_of_the_sandbox_gets_nothing_of_production(world: World) -> None:
    with world.refuses("wrong_environment"):
        world.call(ACME.service("sandbox"), "claim_observation_v1", world.observation())
    with world.refuses("connection_not_readable"):
        sandbox = world.observation(environment="sandbox") | {"connection_id": ACME.connection("bank/read")}
        world.call(ACME.service("sandbox"), "claim_observation_v1", sandbox)


# An attempt writes, and writes with the write credential that its approved payload names.


def test_an_attempt_releases_its_write_credential_and_says_so(world: World) -> None:
    action, seen = world.authorized(), world.last_event()
    claimed = world.claim(action)
    assert claimed["credential"]["envelope"] == ACME.envelope("bank/write")
    assert _releases(world) == [("acme", ACME.connection("bank/write"), "production", "attempt", claimed["attempt_id"])]
    released = [event for event in world.events(after=seen) if event["type"] == "credential.released"]
    assert [(e["action_id"], e["why"]["released_for"]) for e in released] == [(action.id, claimed["attempt_id"])]
    assert claimed["credential"]["envelope"] not in str(world.events())


@pytest.mark.parametrize(
    ("connection", "tool"),
    [
        (ACME.connection("bank/read"), PAY),
        (ACME.connection("bank/write", "sandbox"), PAY),
        (ACME.connection("crm/write"), PAY),
        (ACME.connection("bank/write"), NOTE),
    ],
)
def test_an_attempt_gets_nothing_through_another_connection(world: World, connection: str, tool: str) -> None:
    """Even when a human approved exactly that payload."""
    action = world.authorized(tool=tool, connection=connection)
    with world.nothing_released():
        assert world.claim(action)["claimed"] is False


def test_a_payload_cannot_name_another_tenant_s_connection(world: World) -> None:
    with world.refuses(psycopg.errors.ForeignKeyViolation):
        world.payment(connection=GLOBEX.connection("bank/write"))


def test_claims_of_others_get_nothing(world: World) -> None:
    action = world.authorized()
    args = {"action_id": action.id, "attempt_id": str(new_id()), "lease_seconds": 60}
    for claims in (ACME.service(), ACME.user(), GLOBEX.user(), {}):
        with world.refuses("permission_denied", "unauthenticated"):
            world.call(claims, "claim_attempt_v1", args)
    with world.unchanged():
        assert world.call(GLOBEX.system(), "claim_attempt_v1", args)["claimed"] is False
        assert world.claim(action, action_id=str(new_id()))["claimed"] is False
    assert world.status(action) == "authorized"


def test_a_replayed_answer_carries_no_credential(world: World) -> None:
    """The stored answer of a call that released one would be a release that nobody recorded."""
    first = world.answer(ACME.service(), "claim_observation_v1", world.observation(), key="k", request="r")
    assert first["result"]["credential"]["envelope"]
    with world.unchanged():
        again = world.answer(ACME.service(), "claim_observation_v1", world.observation(), key="k", request="r")
    assert again["replayed"]
    assert "credential" not in again["result"]
    assert ACME.envelope("bank/read") not in world.value(
        "select string_agg(answer::text, '') from app.idempotency_keys"
    )


# A refresh is for who holds the credential already.


def _tokens(connection: str, **more: object) -> Row:
    return {"connection_id": connection, "envelope": "sealed:new", "token_expires_at": soon()} | more


def _refresh(world: World, tenant: Tenant, connection: str, claimed_for: str) -> Row:
    args = {"connection_id": connection, "claimed_for": claimed_for, "generation": 1}
    return world.call(tenant.system("refresh_tokens"), "claim_refresh_v1", args)


def test_a_refresh_is_for_live_claims_of_that_connection(world: World) -> None:
    write, read = ACME.connection("bank/write"), ACME.connection("bank/read")
    attempt = world.claim(world.authorized())["attempt_id"]
    reading = str(world.call(ACME.service(), "claim_observation_v1", world.observation())["id"])
    foreign = world.claim(world.authorized(GLOBEX))["attempt_id"]
    for connection, claim in (
        (write, str(new_id())), (write, reading), (read, attempt), (write, foreign), (write, write), (write, None),
        (GLOBEX.connection("bank/write"), foreign), (ACME.connection("bank/write", "sandbox"), attempt),
    ):  # fmt: skip
        with world.refuses("no_live_claim"):
            _refresh(world, ACME, connection, claim)  # type: ignore[arg-type]
    for claims in (ACME.service(), ACME.user()):
        with world.refuses("permission_denied"):
            world.call(claims, "claim_refresh_v1", {"connection_id": write, "claimed_for": attempt, "generation": 1})
    assert _refresh(world, ACME, write, attempt)["credential"]["envelope"] == ACME.envelope("bank/write")
    assert _refresh(world, ACME, write, attempt) == {"claimed": False}  # one at a time
    assert _refresh(world, ACME, read, reading)["claimed"]


def test_a_refresh_is_not_for_claims_that_are_over(world: World) -> None:
    action = world.authorized()
    late, done = world.claim(action, lease_seconds=0), world.claim(world.authorized())
    world.finish(ACME, done)
    abandoned = world.observation(lease_seconds=0)
    world.call(ACME.service(), "claim_observation_v1", abandoned)
    for claim in (late["attempt_id"], done["attempt_id"]):
        with world.refuses("no_live_claim"):
            _refresh(world, ACME, ACME.connection("bank/write"), claim)
    with world.refuses("no_live_claim"):
        _refresh(world, ACME, ACME.connection("bank/read"), abandoned["id"])


def test_a_token_set_gives_way_to_the_next_generation_only(world: World) -> None:
    connection = ACME.connection("bank/write")
    for replaces in (None, 0, 2, 7, -1):
        for claims in (ACME.system(), ACME.user()):
            with world.refuses("generation_moved", "permission_denied"):
                world.call(claims, "store_credential_v1", _tokens(connection, replaces=replaces))
    for claims in (ACME.user(), ACME.service(), GLOBEX.system()):
        with world.refuses("permission_denied", "not_found"):
            world.call(claims, "store_credential_v1", _tokens(connection, replaces=1))
    assert world.call(ACME.system(), "store_credential_v1", _tokens(connection, replaces=1))["generation"] == 2
    with world.refuses("generation_moved"):
        world.call(ACME.system(), "store_credential_v1", _tokens(connection, replaces=1))
    assert world.claim(world.authorized())["credential"] | {"expires_at": ""} == {
        "connection_id": connection, "tenant_id": ACME.id, "environment": "production", "provider": "sandbox_bank",
        "generation": 2, "envelope": "sealed:new", "expires_at": "", "access": "write", "values": {},
    }  # fmt: skip
    assert world.value("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%") == 1


def test_a_credential_is_not_repointed(world: World) -> None:
    """To another tenant's secret, environment or connection: not even by the owner of the table."""
    theirs = "(select secret_id from app.credentials where connection_id = %s)"
    for other in (
        GLOBEX.connection("bank/write"),
        ACME.connection("bank/write", "sandbox"),
        ACME.connection("bank/read"),
    ):
        refused_everywhere(
            world,
            f"update app.credentials set secret_id = {theirs} where connection_id = %s",
            other,
            ACME.connection("bank/write"),
            reasons=("generation_moved",),
        )
        world.owner.execute(
            f"update app.credentials set secret_id = {theirs}, generation = generation + 1"
            " where connection_id = %s".encode(),
            (other, ACME.connection("bank/write")),
        )
        action = world.authorized()
        with world.refuses("credential_missing"):
            world.claim(action)
    for column, value in (("connection_id", "gen_random_uuid()"), ("tenant_id", f"'{GLOBEX.id}'"), ("generation", "1")):
        refused_everywhere(
            world,
            f"update app.credentials set {column} = {value} where connection_id = '{ACME.connection('bank/write')}'",
            reasons=("immutable_column", "generation_moved", psycopg.errors.IntegrityError),
        )
    refused_everywhere(world, "delete from app.credentials", reasons=("append_only",))


def test_a_sign_in_is_taken_once_by_the_browser_that_began_it(world: World) -> None:
    state, binding = b"s" * 32, b"b" * 32
    connection = str(new_id())
    begin = {
        "id": connection, "provider": "sandbox_bank", "environment": "production", "access": "read", "scopes": ["all"],
        "state_hash": state.hex(), "binding_hash": binding.hex(), "verifier": "sealed", "redirect_uri": "https://x.example",
        "expires_at": soon(minutes=1),
    }  # fmt: skip
    world.call(ACME.user("admin"), "create_connection_v1", begin)
    take = "select app.claim_oauth_flow_v1(%s, %s)"
    with world.unchanged(), standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        for wrong in ((state, state), (binding, binding), (state, None), (None, None)):
            assert worker.execute(take.encode(), wrong).fetchone() == (None,)
    with standing(world, "countersign_api") as worker:
        worker.execute("set local role countersign_worker")
        taken = [worker.execute(take.encode(), (state, binding)).fetchone() for _ in range(2)]
    assert [row and row[0] and row[0]["user_id"] for row in taken] == [ACME.person("admin"), None]
    refused_everywhere(world, take, state, binding, vantages=APPLICATION)
