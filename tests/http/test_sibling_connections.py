"""Several connections of one account, at a provider that knows one grant for them, and at one that tells them apart."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.providers.manifest import FOLDER
from sandbox.organisation import Organisation, found, ok
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.hostile import Answer, Hostile, begin, come_back, connect, hostile_provider
from tests.http.test_connection_life import begin_again, set_times, shown, told
from tests.http.world import World, running

#: The sandbox bank, whose revocation ends a token; and one like it, whose revocation ends all of an account's.
APART, SHARED = "sandbox_bank", "shared_bank"
BOTH = pytest.mark.parametrize("name", [APART, SHARED])


@pytest.fixture(scope="module")
def provider() -> Iterator[Hostile]:
    with hostile_provider() as started:
        yield started


@pytest.fixture(scope="module")
def stack(cluster: Server, provider: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("manifests")
    text = (FOLDER / f"{APART}.toml").read_text().replace(APART, SHARED)
    text = text.replace('url = "{api}/oauth/revoke"', 'url = "{api}/oauth/revoke"\nends = "grant"')
    (folder / f"{SHARED}.toml").write_text(text)
    settings = {
        "SANDBOX_BANK_URL": provider.url, "COUNTERSIGN_MANIFESTS": str(folder),
        "SHARED_BANK_CLIENT_ID": "id", "SHARED_BANK_CLIENT_SECRET": "secret",
    }  # fmt: skip
    with cloned(cluster) as database, running(tmp_path_factory.mktemp("state"), database, settings=settings) as world:
        yield world


@pytest.fixture
def organisation(stack: World, provider: Hostile) -> Organisation:
    provider.behave()
    return found(stack.stack)


def made(organisation: Organisation, provider: Hostile, name: str, access: str) -> str:
    """A connection to a provider that behaves as its manifest says."""
    provider.ends_grants = name == SHARED
    connection = connect(organisation, provider, access, name)
    provider.journal.clear()
    return connection


def refused(organisation: Organisation, provider: Hostile, started: dict[str, Any]) -> tuple[str, str]:
    """A sign-in that is granted too little: the page that says so, and the refresh token that came."""
    granted = provider.tokens(scope="accounts:read")
    provider.told["token"] = Answer(200, granted)
    page = come_back(organisation, provider, started)
    provider.told.clear()
    assert page.status_code == 409, page.text
    return page.text, granted["refresh_token"]


def goes_on(stack: World, connection: str) -> bool:
    """Whether a connection's grant still gives fresh tokens."""
    set_times(stack, connection, "credentials", renew_at=-timedelta(seconds=1))
    return bool(stack.stack.tick("refresh_tokens")["renewed"] == 1)


def secrets_of(stack: World, connection: str) -> int:
    (row,) = stack.rows("select count(*) from vault.secrets where name like %s", f"countersign/{connection}/%")
    return int(row[0])


@BOTH
def test_a_refused_sign_in_ends_nothing_that_is_in_use(
    name: str, organisation: Organisation, provider: Hostile, stack: World
) -> None:
    reading = made(organisation, provider, name, "read")
    asked_for = provider.scope
    for started in (begin_again(organisation, reading), begin(organisation, provider, "write", name)):
        provider.scope = asked_for
        said, came = refused(organisation, provider, started)
        revoked = [asked["token"] for asked in provider.asked("revoke")]
        assert revoked == ([came] if name == APART else [])
        assert ("The new consent was not given back" in said) == (name == SHARED)
        assert goes_on(stack, reading)
        provider.journal.clear()
    left = shown(organisation, started["id"])
    assert left["status"] == "revoked"
    assert ("not given back" in left["status_reason"]) == (name == SHARED)
    assert shown(organisation, reading)["status"] == "active"


@BOTH
def test_a_refused_sign_in_is_given_back_where_nothing_is_in_use(
    name: str, organisation: Organisation, provider: Hostile, stack: World
) -> None:
    reading = made(organisation, provider, name, "read")
    stack.rows("update app.connections set status = 'expired' where id = %s returning 1", reading)
    for started in (begin_again(organisation, reading), begin(organisation, provider, "write", name)):
        said, came = refused(organisation, provider, started)
        assert [asked["token"] for asked in provider.asked("revoke")] == [came]
        assert "not given back" not in said
        provider.journal.clear()


@BOTH
def test_one_of_two_is_disconnected_and_the_other_goes_on(
    name: str, organisation: Organisation, provider: Hostile, stack: World
) -> None:
    reading, writing = (made(organisation, provider, name, access) for access in ("read", "write"))
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{reading}"))
    state = closed["disconnect"]
    assert state["at_provider"] == ("confirmed" if name == APART else "shared")
    assert (state["step"], closed["revoked_at_provider"]) == ("finished", name == APART)
    assert ("when the last of them is disconnected" in closed["message"]) == (name == SHARED)
    assert len(provider.asked("revoke")) == (name == APART)
    assert secrets_of(stack, reading) == 0
    only = {"subject_id": reading, "limit": "50"}
    events = [event["event"] for event in ok(organisation.owner.api.get("/v1/audit/events", params=only))["items"]]
    assert state["at_provider"] in [event["what"].get("at_provider") for event in events]
    assert goes_on(stack, writing)
    provider.journal.clear()
    last = ok(organisation.owner.api.delete(f"/v1/connections/{writing}"))
    assert last["disconnect"]["at_provider"] == "confirmed"
    assert len(provider.asked("revoke")) == 1
    assert secrets_of(stack, writing) == 0


def test_another_accounts_connection_shares_no_grant(organisation: Organisation, provider: Hostile) -> None:
    reading = made(organisation, provider, SHARED, "read")
    provider.account = "another"
    made(organisation, provider, SHARED, "write")
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{reading}"))
    assert closed["disconnect"]["at_provider"] == "confirmed"


def test_a_revocation_that_is_put_off_does_not_end_what_came_after(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    """The provider was down when the only connection was closed; by the time it is back, there is another one."""
    first = made(organisation, provider, SHARED, "read")
    provider.told["revoke"] = Answer(503, b"")
    ok(organisation.owner.api.delete(f"/v1/connections/{first}"))
    provider.told.clear()
    second = made(organisation, provider, SHARED, "read")
    set_times(stack, first, "disconnections", next_attempt_at=-timedelta(seconds=1))
    assert stack.stack.tick("refresh_tokens")["revoked"] == 1
    assert shown(organisation, first)["disconnect"]["at_provider"] == "shared"
    assert provider.asked("revoke") == []
    assert goes_on(stack, second)


@BOTH
@pytest.mark.parametrize("alone", [True, False])
def test_tokens_that_come_for_a_closed_connection_are_given_back(
    name: str, alone: bool, organisation: Organisation, provider: Hostile, stack: World
) -> None:
    reading = made(organisation, provider, name, "read")
    if not alone:
        made(organisation, provider, name, "write")
    granted = provider.tokens()

    def too_late(_: dict[str, str]) -> Answer:
        stack.rows("update app.connections set status = 'expired' where id = %s returning 1", reading)
        return Answer(200, granted)

    provider.told["token"] = too_late
    assert not goes_on(stack, reading)
    given_back = alone or name == APART
    assert [asked["token"] for asked in provider.asked("revoke")] == [granted["refresh_token"]] * given_back
    kind = "connection.late_tokens"
    assert told(organisation, kind=kind) == [(kind, "info", "open")]
    (alert,) = ok(organisation.owner.api.get("/v1/alerts", params={"kind": kind}))["items"]
    assert alert["detail"]["given_back"] == ("confirmed" if given_back else "shared")


def test_late_tokens_that_the_provider_does_not_take_back_are_told_of(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    reading = made(organisation, provider, APART, "read")

    def too_late(_: dict[str, str]) -> Answer:
        stack.rows("update app.connections set status = 'expired' where id = %s returning 1", reading)
        return Answer(200, provider.tokens())

    provider.told |= {"token": too_late, "revoke": Answer(500, b"")}
    assert not goes_on(stack, reading)
    kind = "connection.late_tokens"
    assert told(organisation, kind=kind) == [(kind, "warning", "open")]


def test_a_sign_in_that_nobody_finishes_ends_an_hour_after_it_could_be(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    started = begin(organisation, provider)
    fresh = begin(organisation, provider)["id"]
    set_times(stack, started["id"], "connections", created_at=-timedelta(hours=2))
    for minutes, ended in ((30, 0), (61, 1), (61, 0)):
        set_times(stack, started["id"], "oauth_flows", expires_at=-timedelta(minutes=minutes))
        assert stack.stack.tick("refresh_tokens")["abandoned"] == ended, minutes
    left = shown(organisation, started["id"])
    assert (left["status"], left["status_reason"]) == (
        "expired", "Nobody finished the sign-in in time; connect it anew.",
    )  # fmt: skip
    assert shown(organisation, fresh)["status"] == "pending"
    assert told(organisation) == []
    only = {"subject_id": started["id"], "type": "connection.expired"}
    (event,) = ok(organisation.owner.api.get("/v1/audit/events", params=only))["items"]
    assert event["event"]["principal"]["id"] == "refresh_tokens"
    assert come_back(organisation, provider, started).status_code == 400
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{started['id']}"))
    assert closed["disconnect"]["at_provider"] == "nothing_to_revoke"
