"""No secret is left where somebody could find it: not in the database, not in a log, not in an answer."""

import os
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.binaries import locate
from sandbox.oauth.clients import client as oauth_client
from sandbox.organisation import Organisation, ok, once
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.integrator import NOTE, PAY, access_spec, at_work, decide, issue_key, new_organisation, note, payment
from tests.http.sealed import tokens_of
from tests.http.world import World, running

#: Everything of ours; `auth` belongs to Supabase Auth, which keeps its secrets in its own way.
SCHEMAS = ("app", "private", "vault", "public", "supabase_migrations")


@pytest.fixture(scope="module")
def lived_in(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    """A stack on which everything happened that handles a secret, and the secrets by what they are."""
    settings = {"COUNTERSIGN_PROVIDER_TIMEOUT": "2"}
    with cloned(cluster) as database, running(tmp_path_factory.mktemp("state"), database, settings=settings) as world:
        yield world, live(world)


def live(world: World) -> dict[str, str]:
    organisation = new_organisation(world)
    organisation.go_live("pay-vendor-bills", "Pay vendor bills", access_spec(organisation))
    secrets = {"the agent's key": organisation.key} | of_settings(world) | of_people(organisation)
    key = issue_key(organisation)
    secrets["another key"] = key["secret"]
    rotated = ok(
        organisation.owner.api.post(f"/v1/keys/{key['id']}/rotate", json={"grace_seconds": 60}, headers=once())
    )
    secrets["a rotated key"] = rotated["secret"]
    for name, connection_id in organisation.connections.items():
        secrets |= {f"{name} {kind}": token for kind, token in tokens_of(world, connection_id).items()}
    secrets |= of_a_sign_in(organisation)
    with at_work(organisation) as agent:
        action = agent.propose(PAY, payment())
        ok(decide(organisation.approver, action))
        agent.settled(action["id"])
        with world.provider("crm") as crm:  # what goes wrong is logged, and logs are where secrets end
            for fault in ({"kind": "rate_limit"}, {"kind": "error"}, {"kind": "drop_after"}):
                crm.post("/_faults", json={"operation": "notes.create"} | fault).raise_for_status()
        for _ in range(3):
            agent.propose(NOTE, note())
        world.stack.tick()
    with world.client(f"{organisation.key[:-2]}zz") as wrong:
        assert wrong.get("/v1/me").status_code == 401
    forgotten = organisation.connections["sandbox_crm/read"]
    ok(organisation.owner.api.delete(f"/v1/connections/{forgotten}"))
    return secrets


def of_settings(world: World) -> dict[str, str]:
    settings = world.stack.environment()
    return {
        "the key-encryption key": settings["COUNTERSIGN_KEK"].partition(":")[2],
        "the key of Supabase Auth": settings["SUPABASE_SERVICE_KEY"],
        "the scheduler's secret": settings["CRON_SECRET"],
        "the login's password": world.database.server.role_password("countersign_api"),
        "the bank's client secret": oauth_client(world.stack.state, "bank")[1],
        "the CRM's client secret": oauth_client(world.stack.state, "crm")[1],
    }


def of_people(organisation: Organisation) -> dict[str, str]:
    owner = organisation.owner
    return {
        "a session": owner.access_token,
        "a session's signature": owner.access_token.rsplit(".", 1)[1],
        "a refresh token": owner.refresh_token,
        "a second factor": owner.totp_secret,
        "a password": owner.password,
    }


def of_a_sign_in(organisation: Organisation) -> dict[str, str]:
    """A sign-in under way: its state, and the cookie that binds it to the browser."""
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}
    started = organisation.owner.api.post("/v1/connections", json=body)
    state = parse_qs(urlsplit(ok(started)["authorize_url"]).query)["state"][0]
    return {"a state": state, "a browser's binding": next(iter(started.cookies.values()))}


def forms(secret: str) -> dict[str, bytes]:
    """How a secret could be written down; of a key its random part counts, the rest is its name."""
    text = secret[-43:] if secret.startswith("cs_") else secret
    return {
        "as it is": text.encode(),
        "in Base64": b64encode(text.encode()).rstrip(b"=")[:-1],
        "in hex": text.encode().hex().encode(),
        "as bytes": bytes.fromhex(text).hex().upper().encode() if _is_hex(text) else text.encode(),
    }


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and all(character in "0123456789abcdef" for character in text)


def found(secrets: dict[str, str], haystack: bytes) -> list[str]:
    return [
        f"{name} {how}" for name, secret in secrets.items() for how, form in forms(secret).items() if form in haystack
    ]


def dump(world: World) -> bytes:
    """Every row of our schemas, as pg_dump writes them."""
    wanted = [f"--schema={schema}" for schema in SCHEMAS]
    program = locate() / "pg_dump"
    result = subprocess.run(
        [program, "--data-only", "--inserts", *wanted, world.database.url("superuser")],
        capture_output=True,
        check=True,
        timeout=120,
        env=os.environ | {"PGOPTIONS": "-c row_security=off"},
    )
    return result.stdout


def test_the_database_holds_no_secret(lived_in: tuple[World, dict[str, str]]) -> None:
    world, secrets = lived_in
    everything = dump(world)
    assert b"INSERT INTO app.api_keys" in everything
    assert b"INSERT INTO vault.secrets" in everything
    assert b"INSERT INTO app.idempotency_keys" in everything
    assert len(secrets) >= 20
    assert found(secrets, everything) == []
    # The search finds what is there: the hash of a key is stored, and is no secret.
    digest = sha256(secrets["the agent's key"][-43:].encode()).hexdigest()
    assert digest.encode() in everything


def test_the_vault_opened_holds_envelopes_only(lived_in: tuple[World, dict[str, str]]) -> None:
    world, secrets = lived_in
    opened = "\n".join(row[0] for row in world.rows("select decrypted_secret from vault.decrypted_secrets"))
    assert '"kek": "local"' in opened
    assert found(secrets, opened.encode()) == []


def test_no_log_holds_a_secret(lived_in: tuple[World, dict[str, str]]) -> None:
    world, secrets = lived_in
    logs = {path.name: path.read_bytes() for path in Path(world.stack.state).glob("*.log")}
    assert "api.log" in logs
    assert {name: found(secrets, text) for name, text in logs.items() if found(secrets, text)} == {}


def test_the_servers_own_log_holds_no_secret(lived_in: tuple[World, dict[str, str]]) -> None:
    """Postgres writes the statements that failed: their parameters must not be in their text."""
    world, secrets = lived_in
    logs = list(world.database.server.data_dir.parent.rglob("*.log"))
    assert logs
    assert [found(secrets, path.read_bytes()) for path in logs] == [[] for _ in logs]


def test_no_answer_shows_a_secret_again(lived_in: tuple[World, dict[str, str]]) -> None:
    world, secrets = lived_in
    with world.client(secrets["a session"]) as owner:
        for path in (
            "/v1/me", "/v1/members", "/v1/service-accounts", "/v1/connections", "/v1/workflows", "/v1/actions",
            "/v1/audit/events?limit=200", "/v1/exceptions", "/v1/providers", "/openapi.json", "/v1/health",
        ):  # fmt: skip
            answer = owner.get(path)
            assert answer.status_code == 200, path
            assert found(secrets, answer.content) == [], path
