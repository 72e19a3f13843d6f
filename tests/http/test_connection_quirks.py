"""What providers do differently: what they have to be told, how long their tokens last, and whether they can revoke."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from sandbox.organisation import Organisation, found, ok
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.hostile import Answer, Hostile, hostile_provider
from tests.http.problems import problem
from tests.http.sealed import tokens_of
from tests.http.test_connection_life import set_times
from tests.http.world import World, running

MANIFEST = """
name = "{name}"
title = "{name}"
kind = "billing"
facts_checked = "2026-11"
[origins.sandbox]
api = "https://{site}quirky.example"
[client]
sandbox = "QUIRKY"
{parameters}
[oauth]
authorize_url = "{{api}}/authorize"
token_url = "{{api}}/token"
{oauth}
[oauth.scopes]
read = ["read"]
implied = ["openid"]
{scopes}
{revoke}
[account]
id = "{{org}}"
label = "{{org}}"
[account.keep]
org = {{ from = "callback", at = "org", pattern = "^[a-z]{{1,20}}$" }}
[[tools]]
name = "things.list"
version = 1
title = "List things"
access = "read"
effect = "read"
reversible = true
idempotency = "natural"
input_schema = '''{{"type":"object","additionalProperties":false,"properties":{{}}}}'''
[tools.http]
method = "GET"
path = "/things"
"""
ORDERLY = """
default_expires_in = 600
refresh_idle_days = 100
refresh_expires_in = "/refresh_ttl"
consent_days = 90
"""
PARAMETERS = """
[parameters.subdomain]
title = "Your subdomain"
pattern = "^[a-z]{1,20}$"
"""
QUIRKS: dict[str, dict[str, str]] = {
    "orderly": {"oauth": ORDERLY, "revoke": '[oauth.revoke]\nurl = "{api}/revoke"'},
    "told": {"site": "{subdomain}.", "parameters": PARAMETERS},
    "eternal": {"oauth": "never_expires = true", "scopes": "reported = false"},
    "bearer": {"revoke": '[oauth.revoke]\nurl = "{api}/revoke"\nsend = "bearer"\ntoken = "access_token"'},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Hostile]:
    with hostile_provider() as started:
        yield started


@pytest.fixture(scope="module")
def stack(cluster: Server, provider: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("manifests")
    for name, quirk in QUIRKS.items():
        parts = dict.fromkeys(("site", "parameters", "oauth", "scopes", "revoke"), "") | quirk
        (folder / f"{name}.toml").write_text(MANIFEST.format(name=name, **parts))
    origins = {f"https://{site}quirky.example": provider.url for site in ("", "acme.")}
    settings = {
        "COUNTERSIGN_MANIFESTS": str(folder), "COUNTERSIGN_PROVIDER_ORIGINS": json.dumps(origins),
        "QUIRKY_CLIENT_ID": "id", "QUIRKY_CLIENT_SECRET": "secret",
    }  # fmt: skip
    with cloned(cluster) as database, running(tmp_path_factory.mktemp("state"), database, settings=settings) as world:
        yield world


@pytest.fixture(scope="module")
def organisation(stack: World) -> Organisation:
    return found(stack.stack)


@pytest.fixture(autouse=True)
def behave(provider: Hostile) -> None:
    provider.behave()
    provider.scope = "read openid"


def connect(organisation: Organisation, name: str, **more: Any) -> dict[str, Any]:
    """The connection as it is shown, after a sign-in."""
    body = {"provider": name, "environment": "sandbox", "access": "read"} | more
    started = ok(organisation.owner.api.post("/v1/connections", json=body))
    state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
    query = urlencode({"state": state, "code": "a-code", "org": "acme"})
    page = organisation.owner.api.get(f"/oauth/{name}/callback?{query}")
    assert page.status_code == 200, page.text
    return shown(organisation, started["id"])


def shown(organisation: Organisation, connection_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))
    return found


def days_until(time: str | None) -> float:
    assert time is not None
    return (datetime.fromisoformat(time) - datetime.now(UTC)) / timedelta(days=1)


def renewal(stack: World, connection_id: str) -> float | None:
    (at,) = stack.rows("select renew_at::text from app.credentials where connection_id = %s", connection_id)[0]
    return None if at is None else round(days_until(at), 2)


def test_the_times_of_a_grant_are_kept_and_shown(organisation: Organisation, provider: Hostile, stack: World) -> None:
    provider.told["token"] = Answer(200, provider.tokens(refresh_ttl=86400 * 40, expires_in=None))
    connection = connect(organisation, "orderly")
    assert connection["scopes_granted"] == ["read"]  # what is always granted besides is no drift
    assert round(days_until(connection["consent_expires_at"])) == 90
    assert round(days_until(connection["refresh_expires_at"])) == 40
    assert 0 < days_until(connection["token_expires_at"]) * 86400 <= 600
    assert connection["account"] == {"id": "acme", "label": "acme"}
    assert renewal(stack, connection["id"]) == 33  # a week before the refresh token ends, which is before it lies idle


@pytest.mark.parametrize(
    ("told", "expected"),
    [({}, 50), ({"refresh_ttl": 86400 * 8}, 4), ({"refresh_ttl": 3600}, 1), ({"refresh_token": None}, None)],
)
def test_idle_tokens_are_due_well_before_the_grant_ends(
    organisation: Organisation, provider: Hostile, stack: World, told: dict[str, Any], expected: float | None
) -> None:
    provider.told["token"] = Answer(200, provider.tokens(**told))
    assert renewal(stack, connect(organisation, "orderly")["id"]) == expected


def test_a_keep_alive_moves_the_end_and_is_due_again(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    provider.told["token"] = Answer(200, provider.tokens(refresh_ttl=86400 * 40))
    connection = connect(organisation, "orderly")
    set_times(stack, connection["id"], "credentials", renew_at=timedelta(0), refresh_expires_at=timedelta(days=7))
    provider.told["token"] = Answer(200, provider.tokens(refresh_ttl=86400 * 60))
    assert stack.stack.tick("refresh_tokens")["renewed"] == 1
    assert round(days_until(shown(organisation, connection["id"])["refresh_expires_at"])) == 60
    assert renewal(stack, connection["id"]) == 50
    # An answer that says nothing of it, with the same refresh token, leaves the end where it was.
    set_times(stack, connection["id"], "credentials", renew_at=timedelta(0))
    same = tokens_of(stack, connection["id"])["refresh_token"]
    provider.told["token"] = Answer(200, provider.tokens(refresh_token=same))
    assert stack.stack.tick("refresh_tokens")["renewed"] == 1
    assert round(days_until(shown(organisation, connection["id"])["refresh_expires_at"])) == 60


def test_a_refresh_token_that_nobody_could_renew_ends_the_connection(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    provider.told["token"] = Answer(200, provider.tokens(refresh_ttl=86400 * 40))
    connection_id = connect(organisation, "orderly")["id"]
    provider.told["token"] = Answer(503, b"")
    set_times(stack, connection_id, "credentials", refresh_expires_at=timedelta(hours=20))
    stack.stack.tick("refresh_tokens")
    only = {"status": "open", "kind": "connection.consent_ending"}
    subjects = [a["subject"]["id"] for a in ok(organisation.owner.api.get("/v1/alerts", params=only))["items"]]
    assert connection_id in subjects
    over = -timedelta(seconds=1)
    set_times(stack, connection_id, "credentials", refresh_expires_at=over, token_expires_at=timedelta(minutes=1))
    stack.stack.tick("refresh_tokens")
    assert shown(organisation, connection_id)["status"] == "active"  # what there is still works
    set_times(stack, connection_id, "credentials", token_expires_at=over)
    stack.stack.tick("refresh_tokens")
    assert shown(organisation, connection_id)["status"] == "expired"


def test_what_a_provider_has_to_be_told_is_asked_for_and_kept(organisation: Organisation, provider: Hostile) -> None:
    for said in ({}, {"subdomain": "evil.example/"}, {"subdomain": "acme", "other": "x"}, {"subdomain": ""}):
        body = {"provider": "told", "environment": "sandbox", "access": "read", "parameters": said}
        refused = problem(organisation.owner.api.post("/v1/connections", json=body), 422, "invalid_parameters")
        assert refused["errors"]
    connection = connect(organisation, "told", parameters={"subdomain": "acme"})
    assert connection["parameters"] == {"subdomain": "acme"}
    again = ok(organisation.owner.api.post(f"/v1/connections/{connection['id']}/reconnect"))
    assert urlsplit(again["authorize_url"]).netloc in ("acme.quirky.example", urlsplit(provider.url).netloc)


def test_tokens_without_end_are_never_refreshed(organisation: Organisation, provider: Hostile, stack: World) -> None:
    """And what a provider that reports no scopes says of them changes nothing."""
    provider.told["token"] = Answer(200, provider.tokens(refresh_token=None, scope="everything", expires_in=5))
    connection = connect(organisation, "eternal")
    assert (connection["token_expires_at"], connection["refresh_expires_at"]) == (None, None)
    assert connection["scopes_granted"] == ["read"]
    assert renewal(stack, connection["id"]) is None
    stack.stack.tick("refresh_tokens")
    assert provider.refreshes() == 0


def test_a_provider_without_a_way_to_revoke_is_said_to_have_none(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    connection_id = connect(organisation, "eternal")["id"]
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{connection_id}"))
    assert (closed["revoked_at_provider"], closed["disconnect"]["at_provider"]) == (False, "unsupported")
    assert "remove Countersign in its own settings" in closed["message"]
    secrets_left = "select count(*) from vault.secrets where name like %s"
    assert stack.rows(secrets_left, f"countersign/{connection_id}/%") == [(0,)]


def test_an_access_token_that_has_ended_is_refreshed_to_revoke_with(
    organisation: Organisation, provider: Hostile, stack: World
) -> None:
    connection_id = connect(organisation, "bearer")["id"]
    set_times(stack, connection_id, "credentials", token_expires_at=-timedelta(hours=1))
    provider.told["revoke"] = Answer(503, b"")
    ok(organisation.owner.api.delete(f"/v1/connections/{connection_id}"))
    (first,) = provider.asked("revoke")
    kept = tokens_of(stack, connection_id)
    assert (first["bearer"], provider.refreshes()) == (kept["access_token"], 1)  # stored, for the next try
    provider.told.clear()
    set_times(stack, connection_id, "disconnections", next_attempt_at=timedelta(0))
    stack.stack.tick("refresh_tokens")
    assert [asked["bearer"] for asked in provider.asked("revoke")] == [kept["access_token"]] * 2
    assert provider.refreshes() == 1
    assert shown(organisation, connection_id)["disconnect"]["at_provider"] == "confirmed"


def test_a_grant_that_is_gone_already_is_revoked(organisation: Organisation, provider: Hostile, stack: World) -> None:
    connection_id = connect(organisation, "bearer")["id"]
    set_times(stack, connection_id, "credentials", token_expires_at=-timedelta(hours=1))
    provider.refreshable.clear()
    closed = ok(organisation.owner.api.delete(f"/v1/connections/{connection_id}"))
    assert closed["disconnect"]["at_provider"] == "confirmed"
    assert provider.asked("revoke") == []
