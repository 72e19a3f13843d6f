"""No secret is left where somebody could find it: in the database, a log, an answer, an address, a crash report."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from sandbox.binaries import locate
from sandbox.organisation import ok
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.emissions import crash_reports, traffic
from tests.http.eventful import FAILING, Life, live
from tests.http.secret_forms import found
from tests.http.world import World, running

#: Everything of ours; `auth` belongs to Supabase Auth, which keeps its secrets in its own way.
SCHEMAS = ("app", "private", "vault", "public", "supabase_migrations")
#: What the sandbox's providers issue looks like, for tokens that nobody here ever saw.
TOKENS = re.compile(rb"\bs[ar]t_[A-Za-z0-9_-]{20,}")


@pytest.fixture(scope="module")
def life(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A stack on which everything happened; access tokens live so briefly that every use is another generation.

    Less than 30 seconds, and long enough to be used on a busy machine.
    """
    with cloned(cluster) as database, crash_reports() as reports, traffic() as answers:
        settings = {"SENTRY_DSN": reports.dsn}
        state = tmp_path_factory.mktemp("state")
        with running(state, database, settings=settings, access_seconds=20, access_logs=True) as world:
            yield live(world, settings, reports, answers)


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


def records(life: Life) -> bytes:
    """The audit log, byte for byte as it is hashed and exported."""
    return "\n".join(row[0] for row in life.world.rows("select record from app.audit_events")).encode()


def servers_logs(life: Life) -> list[bytes]:
    """What Postgres wrote."""
    return [path.read_bytes() for path in life.world.database.server.data_dir.parent.rglob("*.log")]


def addresses(life: Life) -> bytes:
    """Every address that was asked for, and every one that somebody was sent to."""
    asked = [str(answer.request.url) for answer in life.answers]
    sent_to = [answer.headers["location"] for answer in life.answers if "location" in answer.headers]
    assert sent_to
    return "\n".join([*asked, *sent_to]).encode()


def leaks(life: Life, haystack: bytes, *, addresses: bool = False) -> list[str]:
    """Every secret in it, and every token of a provider, whoever's it is; in `addresses` codes may be."""
    secrets = life.secrets if addresses else life.secrets | life.spent
    return found(secrets, haystack) + [token.decode() for token in TOKENS.findall(haystack)]


def test_the_life_was_an_eventful_one(life: Life) -> None:
    assert len(life.secrets) >= 35
    generations = [name for name in life.secrets if name.startswith("sandbox_bank/read refresh_token")]
    assert len(generations) >= 3, "no token was refreshed"
    assert len(set(life.secrets.values())) == len(life.secrets)
    assert len(life.reports.received) >= len(FAILING) + 1
    assert len(life.of_api()) > 35
    assert set(life.scheduled) >= {"execute_actions", "expire_exceptions", "refresh_tokens", "rotate_keys"}


def test_what_was_planted_is_found_in_every_place(life: Life) -> None:
    """The searches below could find something: a text that was put into each of their places is there."""
    places = {
        "the database": dump(life.world),
        "the audit records": records(life),
        "the API's log": (life.world.stack.state / "api.log").read_bytes(),
        "the server's log": b"".join(servers_logs(life)),
        "the crash reports": b"".join(life.reports.received),
        "the addresses": addresses(life),
        "the answers": b"".join(written(answer) for answer in life.of_api()),
    }
    planted = {"it": life.planted}
    assert {name for name, haystack in places.items() if not found(planted, haystack)} == set()


def test_the_database_holds_no_secret(life: Life) -> None:
    everything = dump(life.world)
    assert b"INSERT INTO app.api_keys" in everything
    assert b"INSERT INTO vault.secrets" in everything
    assert b"INSERT INTO app.idempotency_keys" in everything
    assert b"INSERT INTO app.audit_events" in everything
    assert leaks(life, everything) == []
    # The search finds what is there: the hash of a key is stored, and is no secret.
    digest = sha256(life.secrets["the agent's key"][-43:].encode()).hexdigest()
    assert digest.encode() in everything


def test_the_vault_opened_holds_envelopes_only(life: Life) -> None:
    opened = "\n".join(row[0] for row in life.world.rows("select decrypted_secret from vault.decrypted_secrets"))
    assert '"kek": "next"' in opened
    assert leaks(life, opened.encode()) == []


def test_no_audit_record_holds_a_secret(life: Life) -> None:
    """As a person reads them, and the exact bytes that are hashed and exported."""
    pages, cursor = b"", ""
    with life.world.client(life.secrets["a session"]) as owner:
        while True:
            answer = owner.get("/v1/audit/events", params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
            pages += answer.content
            if not ok(answer)["has_more"]:
                break
            cursor = answer.json()["next_cursor"]
    kept = records(life)
    assert {b"credential.released", b"connection.created"} <= set(re.findall(rb'"type": ?"([a-z_.]+)"', kept))
    assert leaks(life, pages) == []
    assert leaks(life, kept) == []


def test_no_log_holds_a_secret(life: Life) -> None:
    """Every part's own, with the address of every request."""
    logs = {path.name: path.read_bytes() for path in Path(life.world.stack.state).glob("*.log")}
    assert set(logs) == {"api.log", "auth.log", "bank.log", "crm.log"}
    assert b"GET /oauth/sandbox_bank/callback?" in logs["api.log"]
    assert b"Traceback" in logs["api.log"]
    assert b"GET /v1/bills" in logs["bank.log"]
    leaking = {name: leaks(life, text, addresses=True) for name, text in logs.items()}
    assert leaking == {name: [] for name in logs}


def test_the_servers_own_log_holds_no_secret(life: Life) -> None:
    """Postgres writes the statements that failed: their parameters must not be in their text."""
    logs = servers_logs(life)
    assert any(b"broken with" in log for log in logs)
    assert [leaks(life, log) for log in logs] == [[] for _ in logs]


def test_no_crash_report_holds_a_secret(life: Life) -> None:
    reports = b"\n".join(life.reports.received)
    assert reports.count(b"broken with") >= len(FAILING)
    assert leaks(life, reports) == []


def test_no_scheduled_function_writes_a_secret(life: Life) -> None:
    assert all(b"{" in written for written in life.scheduled.values()), "each of them answers"
    assert [leaks(life, written) for written in life.scheduled.values()] == [[] for _ in life.scheduled]


def test_no_address_holds_a_secret(life: Life) -> None:
    """Addresses end in histories, logs and referrers: every one that was asked for, and every one redirected to."""
    assert b"/callback?" in addresses(life)
    assert leaks(life, addresses(life), addresses=True) == []


def test_no_problem_document_holds_a_secret(life: Life) -> None:
    problems = [answer for answer in life.of_api() if answer.is_error]
    kinds = {answer.json()["code"] for answer in problems if "json" in answer.headers["content-type"]}
    assert len(kinds) >= 2
    assert "internal_error" in kinds
    assert [leaks(life, written(answer)) for answer in problems] == [[] for _ in problems]


def written(answer: httpx.Response) -> bytes:
    """An answer with its headers."""
    return json.dumps(list(answer.headers.items())).encode() + answer.content


def test_what_is_shown_is_shown_once(life: Life) -> None:
    """A new key, and a new sign-in's state: in one answer each, and everything else in none."""
    shown: dict[str, int] = {}
    for answer in life.of_api():
        for name in {leak.split(" ")[0] for leak in found(numbered(life), written(answer))}:
            shown[name] = shown.get(name, 0) + 1
    names = dict(enumerate(life.secrets))
    assert {names[int(name)]: count for name, count in shown.items()} == dict.fromkeys(life.once, 1)


def numbered(life: Life) -> dict[str, str]:
    return {str(number): secret for number, secret in enumerate(life.secrets.values())}


def test_no_answer_shows_a_secret_again(life: Life) -> None:
    with life.world.client(life.secrets["a session"]) as owner:
        for path in (
            "/v1/me", "/v1/members", "/v1/invitations", "/v1/service-accounts", "/v1/connections", "/v1/workflows",
            "/v1/actions", "/v1/audit/events?limit=200", "/v1/exceptions", "/v1/providers", "/v1/tools", "/v1/runs",
            "/openapi.json", "/v1/health",
        ):  # fmt: skip
            answer = owner.get(path)
            assert answer.status_code in (200, 405), path
            assert leaks(life, written(answer)) == [], path
