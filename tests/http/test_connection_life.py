"""What becomes of a connection: it is kept alive, counted down, signed in anew, and closed in steps."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.organisation import Organisation, found, ok, once
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.alerts import an_alert
from tests.http.hostile import BILLS, HANGS, Answer, Hostile, begin, come_back, connect, hostile_provider, reading
from tests.http.integrator import at_work
from tests.http.problems import problem
from tests.http.sealed import tokens_of
from tests.http.world import World, running


@pytest.fixture(scope="module")
def provider() -> Iterator[Hostile]:
    with hostile_provider() as started:
        yield started


@pytest.fixture(scope="module")
def stack(cluster: Server, provider: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = {"SANDBOX_BANK_URL": provider.url}
    with cloned(cluster) as database, running(tmp_path_factory.mktemp("state"), database, settings=settings) as world:
        yield world


@pytest.fixture
def organisation(stack: World, provider: Hostile) -> Organisation:
    provider.behave()
    return found(stack.stack)


@pytest.fixture
def connection(organisation: Organisation, provider: Hostile) -> str:
    """A connection that reads, of an organisation of its own."""
    made = connect(organisation, provider)
    provider.journal.clear()
    return made


def shown(organisation: Organisation, connection_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))
    return found


def alerts(organisation: Organisation, **only: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ok(organisation.owner.api.get("/v1/alerts", params=only))["items"]
    return items


def told(organisation: Organisation, **only: str) -> list[tuple[str, str, str]]:
    return [(alert["kind"], alert["severity"], alert["status"]) for alert in alerts(organisation, **only)]


def set_times(world: World, connection_id: str, table: str, **columns: timedelta | None) -> None:
    """Moves times of a connection, from now, as only the passing of time can: past every guard."""
    key = {"connections": "id"}.get(table, "connection_id")
    with world.database.connect("superuser") as login, login.transaction():
        login.execute(f"alter table app.{table} disable trigger user".encode())
        for name, value in columns.items():
            at = None if value is None else datetime.now(UTC) + value
            login.execute(f"update app.{table} set {name} = %s where {key} = %s".encode(), (at, connection_id))
        statement = "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal"
        for (trigger,) in login.execute(statement, (f"app.{table}",)).fetchall():
            login.execute(f"alter table app.{table} enable always trigger {trigger}".encode())


def begin_again(organisation: Organisation, connection_id: str) -> dict[str, Any]:
    started: dict[str, Any] = ok(organisation.owner.api.post(f"/v1/connections/{connection_id}/reconnect"))
    return started


# Signing in again.


def test_a_connection_is_signed_in_anew_and_stays_itself(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    organisation.go_live("read-bills", "Read bills", reading(organisation))
    before, first = shown(organisation, connection), tokens_of(stack, connection)
    started = begin_again(organisation, connection)
    assert started["id"] == connection
    assert shown(organisation, connection) == before  # it works on meanwhile
    assert come_back(organisation, provider, started).status_code == 200
    after, second = shown(organisation, connection), tokens_of(stack, connection)
    same = ("id", "status", "account", "scopes_granted", "environment", "access", "created_at")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert first["refresh_token"] != second["refresh_token"]
    secrets_kept = stack.rows("select name from vault.secrets where name like %s", f"countersign/{connection}/%")
    assert secrets_kept == [(f"countersign/{connection}/2",)]
    with at_work(organisation, "read-bills") as agent:
        assert agent.observe(BILLS)["status"] == "succeeded"  # the workflow names the connection that it named before


@pytest.mark.parametrize("status", ["active", "degraded", "expired"])
def test_another_account_is_refused_and_given_back(
    status: str, organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    if status != "active":
        stack.rows(f"update app.connections set status = '{status}' where id = %s returning 1", connection)
    before = shown(organisation, connection)
    started = begin_again(organisation, connection)
    provider.account = "somebody-else"
    page = come_back(organisation, provider, started)
    assert page.status_code == 409
    assert "another account" in page.text
    assert shown(organisation, connection) == before
    granted = provider.issued[-1]
    assert provider.asked("revoke")[0]["token"] == granted
    provider.account = "brightwater"
    assert come_back(organisation, provider, begin_again(organisation, connection)).status_code == 200
    assert shown(organisation, connection)["status"] == "active"


def test_an_expired_connection_comes_back_by_signing_in_only(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    provider.refreshable.clear()
    set_times(stack, connection, "credentials", renew_at=-timedelta(days=1))
    assert stack.stack.tick("refresh_tokens")["put_off"] >= 1
    assert shown(organisation, connection)["status"] == "expired"
    assert told(organisation) == [("connection.expired", "critical", "open")]
    assert come_back(organisation, provider, begin_again(organisation, connection)).status_code == 200
    after = shown(organisation, connection)
    assert (after["status"], after["status_reason"], after["last_refreshed_at"] is not None) == ("active", None, True)
    assert told(organisation) == [("connection.expired", "critical", "resolved")]


def test_a_refusal_leaves_the_connection_as_it_was(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    before, kept = shown(organisation, connection), tokens_of(stack, connection)
    refusals: list[dict[str, Any]] = [{"error": "access_denied"}, {"iss": "https://bank.example"}, {"code": None}]
    for refusal in refusals:
        assert come_back(organisation, provider, begin_again(organisation, connection), **refusal).status_code >= 400
    for scope in ("accounts:read", f"{provider.scope} payments:write"):
        started = begin_again(organisation, connection)
        provider.told["token"] = Answer(200, provider.tokens(scope=scope))
        assert come_back(organisation, provider, started).status_code == 409
    assert (shown(organisation, connection), tokens_of(stack, connection)) == (before, kept)


def test_what_is_closed_or_never_was_open_is_not_signed_in_anew(
    organisation: Organisation, connection: str, provider: Hostile
) -> None:
    started = begin_again(organisation, connection)
    ok(organisation.owner.api.delete(f"/v1/connections/{connection}"))
    assert come_back(organisation, provider, started).status_code == 409
    assert provider.asked("revoke")[-1]["token"] == provider.issued[-1]  # the grant that came too late
    assert shown(organisation, connection)["status"] == "revoked"
    pending = begin(organisation, provider)["id"]
    for closed in (connection, pending):
        problem(organisation.owner.api.post(f"/v1/connections/{closed}/reconnect"), 409, "connection_closed")
    problem(organisation.owner.api.post(f"/v1/connections/{uuid.uuid4()}/reconnect"), 404, "not_found")
    problem(organisation.approver.api.post(f"/v1/connections/{connection}/reconnect"), 403, "permission_denied")


def test_a_provider_that_asks_for_no_parameters_takes_none(organisation: Organisation) -> None:
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read", "parameters": {"subdomain": "x"}}
    refused = problem(organisation.owner.api.post("/v1/connections", json=body), 422, "invalid_parameters")
    assert refused["errors"][0]["pointer"] == "/parameters/subdomain"


# Kept alive, and counted down.


def test_an_idle_grant_is_refreshed_before_it_ends(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    first = tokens_of(stack, connection)
    stack.stack.tick("refresh_tokens")
    assert tokens_of(stack, connection) == first  # not due
    set_times(stack, connection, "credentials", renew_at=-timedelta(seconds=1))
    counts = [stack.stack.tick("refresh_tokens") for _ in range(2)]
    assert [count["renewed"] for count in counts] == [1, 0]
    assert provider.refreshes() == 1
    assert tokens_of(stack, connection)["refresh_token"] != first["refresh_token"]
    only = {"type": "credential.released"}
    events = ok(organisation.owner.api.get("/v1/audit/events", params=only))["items"]
    purposes = [
        (event["event"]["why"]["purpose"], event["event"]["principal"]["id"])
        for event in events
        if event["event"]["what"]["connection_id"] == connection
    ]
    assert ("keep_alive", "refresh_tokens") in purposes


def test_what_cannot_be_refreshed_is_put_off_and_told_of(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    kept = tokens_of(stack, connection)
    provider.told["token"] = Answer(503, b"")
    for _ in range(3):
        set_times(stack, connection, "credentials", renew_at=-timedelta(seconds=1))
        assert stack.stack.tick("refresh_tokens")["put_off"] == 1
        assert stack.stack.tick("refresh_tokens")["put_off"] == 0
    assert told(organisation) == [("connection.refresh_failing", "warning", "open")]
    assert (shown(organisation, connection)["status"], tokens_of(stack, connection)) == ("active", kept)
    provider.told.clear()
    set_times(stack, connection, "credentials", renew_at=-timedelta(seconds=1))
    assert stack.stack.tick("refresh_tokens")["renewed"] == 1
    assert told(organisation) == [("connection.refresh_failing", "warning", "resolved")]


def test_the_end_of_a_consent_is_counted_down_to(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    steps = {31: None, 29: ("info", 30), 20: None, 13: ("warning", 14), 6: ("warning", 7), 0.9: ("critical", 1)}
    for days, step in steps.items():
        set_times(stack, connection, "connections", consent_expires_at=timedelta(days=days))
        counted = [stack.stack.tick("refresh_tokens")["counted_down"] for _ in range(2)]
        assert counted == [1 if step else 0, 0], days
        if step:
            (alert,) = alerts(organisation, status="open")
            assert (alert["severity"], alert["detail"]["days"]) == step
            assert alert["owner"]["user_id"] == organisation.owner.user_id
    set_times(stack, connection, "connections", consent_expires_at=-timedelta(seconds=1))
    assert stack.stack.tick("refresh_tokens")["counted_down"] == 1
    ended = shown(organisation, connection)
    assert ended["status"] == "expired"
    assert "consent ended" in ended["status_reason"]
    assert stack.rows("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%") == [(0,)]
    assert told(organisation, status="open") == [("connection.expired", "critical", "open")]
    ending = "connection.consent_ending"
    assert told(organisation, kind=ending) == [(ending, "critical", "resolved")]
    assert come_back(organisation, provider, begin_again(organisation, connection)).status_code == 200
    assert told(organisation, status="open") == []


# Closed, in steps.


def test_a_disconnect_that_the_provider_does_not_confirm_goes_on(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    kept = tokens_of(stack, connection)
    provider.told["revoke"] = Answer(503, b"")
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{connection}"))
    assert (closed["status"], closed["revoked_at_provider"]) == ("revoked", False)
    assert (closed["disconnect"]["step"], closed["disconnect"]["attempts"]) == ("revoking_at_provider", 1)
    assert "not confirmed yet" in closed["message"]
    assert tokens_of(stack, connection) == kept  # to be revoked with, and for nothing else
    assert stack.stack.tick("refresh_tokens")["revoked"] == 0  # there is a pause
    again = ok(organisation.owner.api.delete(f"/v1/connections/{connection}"))
    assert again["disconnect"] == closed["disconnect"]
    provider.told.clear()
    set_times(stack, connection, "disconnections", next_attempt_at=-timedelta(seconds=1))
    assert [stack.stack.tick("refresh_tokens")["revoked"] for _ in range(2)] == [1, 0]
    assert [asked["token"] for asked in provider.asked("revoke")] == [kept["refresh_token"]] * 2
    ended = shown(organisation, connection)["disconnect"]
    assert (ended["step"], ended["at_provider"]) == ("finished", "confirmed")
    assert stack.rows("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%") == [(0,)]
    only = {"subject_id": connection, "limit": "50"}
    events = [event["type"] for event in ok(organisation.owner.api.get("/v1/audit/events", params=only))["items"]]
    steps = ["connection.revoked", "disconnection.begun", "disconnection.updated", "disconnection.finished"]
    assert [step for step in steps if step in events] == steps


def test_a_provider_that_never_confirms_is_left_to_a_person(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    provider.told["revoke"] = Answer(200, b"", delay=HANGS)
    with stack.settings(COUNTERSIGN_PROVIDER_TIMEOUT="2"):
        ok(organisation.owner.api.delete(f"/v1/connections/{connection}"))
    provider.told["revoke"] = Answer(500, b"")
    for attempt in range(2, 9):
        assert told(organisation) == []
        set_times(stack, connection, "disconnections", next_attempt_at=-timedelta(seconds=1))
        stack.stack.tick("refresh_tokens")
        assert shown(organisation, connection)["disconnect"]["attempts"] == attempt
    ended = ok(organisation.owner.api.delete(f"/v1/connections/{connection}"))
    assert (ended["disconnect"]["at_provider"], ended["revoked_at_provider"]) == ("failed", False)
    assert "remove Countersign in its own settings" in ended["message"]
    assert told(organisation) == [("connection.revocation_failed", "critical", "open")]
    assert stack.rows("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%") == [(0,)]


def test_a_crash_between_our_revocation_and_the_providers_is_made_good(
    organisation: Organisation, connection: str, provider: Hostile, stack: World
) -> None:
    """As a process leaves it that died right after closing the connection: the schedule does the rest."""
    with stack.database.connect() as login:
        claims = {"kind": "user", "sub": organisation.owner.user_id, "tenant_id": organisation.tenant_id, "aal": "aal2"}
        close = "select app.call_v1(%s, 'revoke_connection_v1', %s)"
        login.execute(close, (json.dumps(claims), json.dumps({"id": connection})))
    assert provider.asked("revoke") == []
    assert shown(organisation, connection)["disconnect"]["at_provider"] == "pending"
    assert stack.stack.tick("refresh_tokens")["revoked"] == 1
    assert len(provider.asked("revoke")) == 1
    assert shown(organisation, connection)["disconnect"]["at_provider"] == "confirmed"


# Alerts, as people see them.


def test_a_person_takes_an_alert_on_and_closes_it(organisation: Organisation, connection: str, stack: World) -> None:
    set_times(stack, connection, "connections", consent_expires_at=timedelta(days=20))
    stack.stack.tick("refresh_tokens")
    (alert,) = alerts(organisation)
    path = f"/v1/alerts/{alert['id']}"
    assert alert["subject"] == {"type": "connection", "id": connection}
    assert (alert["raised_by"], alert["environment"]) == ("system:refresh_tokens", "sandbox")
    taken = ok(organisation.approver.api.post(f"{path}/acknowledge", json={"note": "Olive signs in on Monday"}))
    assert (taken["status"], taken["acknowledged_by"]) == ("acknowledged", organisation.approver.user_id)
    assert ok(organisation.owner.api.post(f"{path}/acknowledge", json={})) == taken
    assert alerts(organisation, status="open") == []
    set_times(stack, connection, "connections", consent_expires_at=timedelta(days=5))
    stack.stack.tick("refresh_tokens")  # worse than what was acknowledged
    (open_again,) = alerts(organisation, status="open")
    assert (open_again["id"], open_again["severity"], open_again["occurrences"]) == (alert["id"], "warning", 2)
    closed = ok(organisation.owner.api.post(f"{path}/resolve", json={"reason": "we leave that bank"}))
    assert (closed["status"], closed["resolved_by"]) == ("resolved", f"user:{organisation.owner.user_id}")
    problem(organisation.owner.api.post(f"{path}/acknowledge", json={}), 409, "alert_resolved")
    with organisation.agent() as agent:
        problem(agent.post(f"{path}/acknowledge", json={}, headers=once()), 403, "permission_denied")
    only = {"subject_id": alert["id"], "limit": "20"}
    events = [event["type"] for event in ok(organisation.owner.api.get("/v1/audit/events", params=only))["items"]]
    assert events == ["alert.resolved", "alert.open", "alert.acknowledged", "alert.raised"]


def test_alerts_come_in_pages_and_by_what_they_are(organisation: Organisation, stack: World) -> None:
    made = [an_alert(stack, organisation, title=f"{n}", severity="info") for n in range(5)]
    made.append(an_alert(stack, organisation, kind="tests.other", environment=None))
    owner = organisation.owner.api
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = ok(owner.get("/v1/alerts", params=params))
        seen += [alert["id"] for alert in page["items"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == made[::-1]
    assert [alert["id"] for alert in alerts(organisation, kind="tests.other")] == made[-1:]
    assert len(alerts(organisation, severity="info")) == 5
    assert len(alerts(organisation, environment="sandbox")) == 5
    assert alerts(organisation, environment="production") == []
    assert ok(owner.get(f"/v1/alerts/{made[0]}"))["title"] == "0"
    problem(owner.get("/v1/alerts", params={"status": "loud"}), 422, "invalid_request")
