"""The key-encryption key is changed while connections are in use; without the right key and place, nothing opens."""

import json
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from os import environ
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from sandbox.organisation import Organisation, ok, once
from sandbox.postgres import Server
from sandbox.state import CHECKOUT
from tests.cluster import cloned
from tests.concurrency.patience import eventually
from tests.http.channels import new_channel
from tests.http.integrator import CONNECTED, Agent, access_spec, at_work, new_organisation
from tests.http.model_providers import KEY, registered
from tests.http.sealed import unseal
from tests.http.test_hooks import Sender
from tests.http.webhook_triggers import PATH as WEBHOOKS
from tests.http.webhook_triggers import webhook_trigger
from tests.http.world import World, running

#: How often connections are read before the keys are rotated, and after it.
READS = 10
OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)
SETTINGS: dict[str, str] = {}
ENVELOPES = (
    "select k.tenant_id::text, k.id::text, k.environment, c.generation, s.decrypted_secret from app.credentials c"
    " join app.connections k on k.tenant_id = c.tenant_id and k.id = c.connection_id"
    " join vault.decrypted_secrets s on s.id = c.secret_id"
)


@pytest.fixture(scope="module")
def world(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose access tokens live for less than 30 seconds, so that using a connection means refreshing it."""
    SETTINGS["COUNTERSIGN_KEK"] = f"old:{OLD}"
    state = tmp_path_factory.mktemp("state")
    with cloned(cluster) as database, running(state, database, access_seconds=20, settings=SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def organisation(world: World) -> Organisation:
    made = new_organisation(world)
    made.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(made))
    return made


def deploy(world: World, keys: str) -> None:
    """Restarts the API with other keys, as a deployment does."""
    SETTINGS["COUNTERSIGN_KEK"] = keys
    world.stack.kill("api")
    world.stack.restart("api")


def keys_in_use(world: World) -> set[str]:
    """The ids that the envelopes of tokens and of sign-ins under way name."""
    sealed = [envelope for *_, envelope in world.rows(ENVELOPES)]
    sealed += [verifier for (verifier,) in world.rows("select verifier from app.oauth_flows where verifier <> ''")]
    return {json.loads(envelope)["kek"] for envelope in sealed}


def rotate(world: World) -> subprocess.CompletedProcess[str]:
    """Runs the operator's command with the deployment's settings."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.rotate_keys"],
        cwd=CHECKOUT,
        env=dict(environ) | world.stack.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def begin(organisation: Organisation) -> dict[str, Any]:
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}
    started: dict[str, Any] = ok(organisation.owner.api.post("/v1/connections", json=body))
    return started


def look(agent: Agent) -> str:
    body = {"tool": "sandbox_bank.bills.list", "args": {}}
    answer = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
    return str(answer.json().get("status") if answer.status_code == 201 else answer.text)


def test_keys_are_rotated_while_connections_are_in_use(world: World, organisation: Organisation) -> None:
    """Every step that docs/deploy.md names, with agents that read (and refresh) all the while."""
    begin(organisation)  # whose verifier is sealed, too
    assert keys_in_use(world) == {"old"}
    deploy(world, f"old:{OLD},new:{NEW}")
    deploy(world, f"new:{NEW},old:{OLD}")
    begin(organisation)
    assert keys_in_use(world) == {"old", "new"}
    seen: list[str] = []
    over = threading.Event()

    def read_on() -> None:
        with at_work(organisation) as agent:
            while not over.is_set():
                seen.append(look(agent))
                time.sleep(0.05)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_on) for _ in range(3)]
        try:
            eventually(lambda: len(seen) >= READS, "connections are in use")
            done = rotate(world)
            runs = [world.stack.tick("rotate_keys") for _ in range(3)]
            before = len(seen)
            eventually(lambda: len(seen) >= before + READS, "connections are still in use")
        finally:
            over.set()
        for reader in readers:
            reader.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "old: 0 envelopes, may be removed" in done.stdout
    assert all((run["rewrapped"], run["failed"], run.get("left_old", 0)) == (0, 0, 0) for run in runs)
    assert set(seen) == {"succeeded"}
    assert keys_in_use(world) == {"new"}
    assert world.rows("select count(*) from vault.secrets where name like 'countersign/%%'") == [(len(CONNECTED),)]

    deploy(world, f"new:{NEW}")
    with at_work(organisation) as agent:
        assert look(agent) == "succeeded"

    deploy(world, f"old:{OLD}")
    with at_work(organisation) as agent:
        assert look(agent) == "failed"
    for connection_id in organisation.connections.values():
        assert ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))["status"] == "active"
    refused = rotate(world)  # which cannot open what is there, and says so
    assert refused.returncode == 1
    assert re.search(r"^new: \d+ envelopes, still needed$", refused.stdout, re.MULTILINE)

    deploy(world, f"new:{NEW}")
    with at_work(organisation) as agent:
        assert look(agent) == "succeeded"


def test_rotating_releases_each_envelope_and_says_so(world: World, organisation: Organisation) -> None:
    deploy(world, f"next:{secrets.token_hex(32)},new:{NEW},old:{OLD}")
    before = world.rows("select count(*) from app.credential_releases where purpose = 'key_rotation'")[0][0]
    assert world.stack.tick("rotate_keys")["rewrapped"] >= len(CONNECTED)
    assert keys_in_use(world) == {"next"}
    after = world.rows("select count(*) from app.credential_releases where purpose = 'key_rotation'")[0][0]
    assert after - before == len(CONNECTED)
    events = ok(organisation.owner.api.get("/v1/audit/events", params={"type": "credential.released", "limit": "4"}))
    assert {event["event"]["why"]["purpose"] for event in events["items"]} == {"key_rotation"}


def test_a_dump_of_the_whole_database_opens_nothing(world: World, organisation: Organisation) -> None:
    """Every text and every byte that is stored: no token is in it in the clear, or under a key that is in it."""
    key = bytes.fromhex(SETTINGS["COUNTERSIGN_KEK"].partition(":")[2].partition(",")[0])
    rows = world.rows(ENVELOPES)
    tokens = [
        token
        for tenant, connection, environment, generation, envelope in rows
        for token in unseal(key, envelope, f"{tenant}|{connection}|{environment}|{generation}").values()
    ]
    assert len(tokens) == 2 * len(CONNECTED)
    tables = world.rows(
        "select format('%%I.%%I', schemaname, tablename) from pg_tables"
        " where schemaname in ('app', 'private', 'vault', 'auth')"
    )
    dump = "".join(
        text or "" for (table,) in tables for (text,) in world.rows(f"select string_agg(t::text, '') from {table} t")
    )
    dump += "".join(envelope for *_, envelope in rows)  # with the vault's own encryption undone, too
    assert [token for token in tokens if token in dump] == []
    assert key.hex() not in dump
    stored = (text.encode()[:32].ljust(32) for text in dump.split(",")[:500])
    for candidate in {bytes.fromhex(OLD), bytes.fromhex(NEW), bytes(32), *stored} - {key}:
        for tenant, connection, environment, generation, envelope in rows:
            with pytest.raises(InvalidTag):
                unseal(candidate, envelope, f"{tenant}|{connection}|{environment}|{generation}")


def test_with_the_key_an_envelope_opens_in_its_own_row_only(world: World) -> None:
    """Not in another tenant's, connection's, environment's or generation's."""
    key = bytes.fromhex(SETTINGS["COUNTERSIGN_KEK"].partition(":")[2].partition(",")[0])
    other = new_organisation(world, name="Another BV")
    rows = world.rows(ENVELOPES)
    assert {row[0] for row in rows} >= {other.tenant_id}
    for (*_, envelope), (tenant, connection, environment, generation, _) in permutations(rows, 2):
        with pytest.raises(InvalidTag):
            unseal(key, envelope, f"{tenant}|{connection}|{environment}|{generation}")
    for tenant, connection, environment, generation, envelope in rows:
        assert environment == "sandbox"
        for wrong in (
            f"production|{generation}",
            f"sandbox|{generation + 1}",
            f"sandbox|{generation - 1}",
            "sandbox|flow",
        ):
            with pytest.raises(InvalidTag):
                unseal(key, envelope, f"{tenant}|{connection}|{wrong}")


def test_the_application_opens_no_envelope_that_was_moved(world: World, organisation: Organisation) -> None:
    """Whoever can write the database past every guard makes the application fail, not act with another's account."""
    other = new_organisation(world, name="Third BV")
    mine, theirs = organisation.connections["sandbox_bank/read"], other.connections["sandbox_bank/read"]
    envelopes = {connection: envelope for _, connection, *_, envelope in world.rows(ENVELOPES)}
    put = (
        "select vault.update_secret((select secret_id from app.credentials where connection_id = %s), %s)::text,"
        " (select generation from app.credentials where connection_id = %s)"
    )
    with at_work(organisation) as agent:
        world.rows(put, mine, envelopes[theirs], mine)
        assert look(agent) == "failed"
        world.rows(put, mine, envelopes[mine], mine)
        assert look(agent) == "succeeded"


def test_the_secrets_of_webhooks_and_the_keys_of_models_go_along(world: World, organisation: Organisation) -> None:
    """Both secrets of an address that is being rotated: what they sign is accepted under the new key alone."""
    owner = organisation.owner
    trigger, provider = webhook_trigger(owner, "pay-vendor-bills"), registered(owner)
    channel = new_channel(owner)
    before = Sender(world, trigger)
    address = f"{WEBHOOKS}/{trigger['id']}"
    after = Sender(world, ok(owner.api.post(f"{address}/rotate", json={}, headers=once())))
    keys = SETTINGS["COUNTERSIGN_KEK"]
    last = secrets.token_hex(32)
    deploy(world, f"last:{last},{keys}")
    assert world.stack.tick("rotate_keys")["rewrapped"] >= 4
    again = world.stack.tick("rotate_keys")
    assert (again["rewrapped"], again["beaten"], again["failed"]) == (0, 0, 0)
    sealed = world.rows(
        "select decrypted_secret from vault.decrypted_secrets"
        " where name like any (array['countersign/webhook/%%', 'countersign/model/%%', 'countersign/channel/%%'])"
    )
    assert [json.loads(envelope)["kek"] for (envelope,) in sealed] == ["last"] * 4

    deploy(world, f"last:{last}")
    for sender in (before, after):
        assert ok(sender.send())["outcome"] == "ignored"  # and not refused; this workflow has no loop
    assert before.send(secret="whsec_" + "QUFB" * 8).status_code == 401
    assert ok(owner.api.get(address))["secret_generation"] == 2
    [(envelope,)] = world.rows(
        "select decrypted_secret from vault.decrypted_secrets where name like %s",
        f"countersign/model/{provider['id']}/%",
    )
    bound_to = f"{organisation.tenant_id}|{provider['id']}|sandbox|model_key/1"
    assert unseal(bytes.fromhex(last), envelope, bound_to) == {"api_key": KEY}
    [(envelope,)] = world.rows(
        "select decrypted_secret from vault.decrypted_secrets where name like %s",
        f"countersign/channel/{channel['id']}/%",
    )
    bound_to = f"{organisation.tenant_id}|{channel['id']}|channel|1"
    assert unseal(bytes.fromhex(last), envelope, bound_to) == {"secret": channel["secret"]}
    events = ok(owner.api.get("/v1/audit/events", params={"type": "sealed_key.released"}))["items"]
    assert {event["event"]["why"]["purpose"] for event in events} == {"key_rotation"}
    said = [event["event"]["what"] for event in events]
    released = [{"webhook_trigger_id": trigger["id"], "generation": one} for one in (1, 2)]
    released.append({"model_provider_id": provider["id"], "generation": 1})
    released.append({"channel_id": channel["id"], "generation": 1})
    assert all(one in said for one in released)
    assert len(said) == 4

    ok(owner.api.delete(address, headers=once()))
    assert world.rows("select count(*) from vault.secrets where name like 'countersign/webhook/%%'") == [(0,)]
    assert before.send().status_code == after.send().status_code == 404
