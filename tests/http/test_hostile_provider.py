"""A provider that lies, hangs, floods or grants something else: nobody loses a token, and nobody gets one too many."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.organisation import Organisation, found, ok, once
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.hostile import BILLS, HANGS, Answer, Hostile, begin, come_back, connect, hostile_provider, reading
from tests.http.integrator import Agent, at_work
from tests.http.sealed import tokens_of
from tests.http.world import World, running


@pytest.fixture(scope="module")
def provider() -> Iterator[Hostile]:
    with hostile_provider() as started:
        yield started


@pytest.fixture(scope="module")
def stack(cluster: Server, provider: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose bank is the hostile provider."""
    settings = {"SANDBOX_BANK_URL": provider.url}
    with cloned(cluster) as database, running(tmp_path_factory.mktemp("state"), database, settings=settings) as world:
        yield world


@pytest.fixture(scope="module")
def organisation(stack: World) -> Organisation:
    return found(stack.stack)


@pytest.fixture(autouse=True)
def behave(provider: Hostile) -> None:
    provider.behave()


@pytest.fixture
def own(stack: World, provider: Hostile) -> Organisation:
    """An organisation of one test's own, which reads bills at the provider."""
    organisation = found(stack.stack, "Reader BV")
    connect(organisation, provider)
    organisation.go_live("read-bills", "Read bills", reading(organisation))
    provider.journal.clear()
    return organisation


@pytest.fixture
def reader(own: Organisation) -> Iterator[Agent]:
    """The organisation's agent, in a run."""
    with at_work(own, "read-bills") as agent:
        yield agent


def shown(organisation: Organisation, connection_id: str) -> dict[str, Any]:
    connection: dict[str, Any] = ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))
    return connection


def alerts(organisation: Organisation, **only: str) -> list[tuple[str, str, str]]:
    found = ok(organisation.owner.api.get("/v1/alerts", params=only))["items"]
    return [(alert["kind"], alert["severity"], alert["status"]) for alert in found]


def look(reader: Agent) -> str:
    """One observation: how it ended, or with which code it was refused."""
    path, body = f"/v1/runs/{reader.run_id}/observations", {"tool": BILLS, "args": {}}
    answer = reader.api.post(path, json=body, headers=once())
    return str(answer.json()["status"] if answer.status_code == 201 else answer.json()["code"])


#: What a token endpoint may answer instead of tokens.
NO_TOKENS: dict[str, Answer] = {
    "hangs up": Answer(0),
    "500": Answer(500, {"error": "server_error"}),
    "500 in HTML": Answer(500, b"<html>Oops</html>", {"content-type": "text/html"}),
    "HTML": Answer(200, b"<!doctype html><title>Sign in</title>", {"content-type": "text/html"}),
    "nothing": Answer(200, b""),
    "a list": Answer(200, ["access_token"]),
    "null": Answer(200, None),
    "no access token": Answer(200, {"refresh_token": "rt-1", "scope": ""}),
    "a token that is no text": Answer(200, {"access_token": {"a": 1}}),
    "a token with a line break": Answer(200, {"access_token": "at-1\r\nX-Admin: 1"}),
    "a token with a NUL": Answer(200, {"access_token": "at-1\x00"}),
    "a token that is not ASCII": Answer(200, {"access_token": "at-\u2028\ud800"}),
    "a token without end": Answer(200, {"access_token": "a" * 30_000}),
    "200 MB": Answer(200, b'{"access_token": "at-1", "x": "' + b"x" * 100_000, times=2000),
    "deeply nested": Answer(200, b"[" * 100_000),
    "a redirect": Answer(302, b"", {"location": "/elsewhere/steal"}),
    "a redirect that keeps the method": Answer(307, b"", {"location": "/elsewhere/steal"}),
    "an error that is no text": Answer(400, {"error": ["invalid_grant"]}),
}


@pytest.mark.parametrize("how", NO_TOKENS)
def test_a_sign_in_that_gets_no_tokens_connects_nothing(
    how: str, organisation: Organisation, provider: Hostile, stack: World
) -> None:
    started = begin(organisation, provider)
    provider.told["token"] = NO_TOKENS[how]
    page = come_back(organisation, provider, started)
    assert (page.status_code, page.headers["content-type"]) == (409, "text/html; charset=utf-8")
    assert "gave no tokens" in page.text
    assert shown(organisation, started["id"])["status"] == "revoked"
    assert stack.rows("select count(*) from app.credentials where connection_id = %s", started["id"]) == [(0,)]
    assert [name for name, _ in provider.journal] == ["token"]  # once, and nowhere else


@pytest.mark.parametrize("how", [how for how in NO_TOKENS if how != "200 MB"])
def test_a_refresh_that_gets_no_tokens_costs_none(
    how: str, own: Organisation, reader: Agent, provider: Hostile, stack: World
) -> None:
    """What there is stays, the provider is asked again the next time, and then it goes on."""
    connection_id = own.connections["sandbox_bank/read"]
    kept = tokens_of(stack, connection_id)
    provider.end_access()
    provider.told["token"] = NO_TOKENS[how]
    assert look(reader) == "failed"
    assert shown(own, connection_id)["status"] == "active"
    assert tokens_of(stack, connection_id) == kept
    provider.told.clear()
    assert look(reader) == "succeeded"


def test_a_refresh_that_floods_ends_in_time(reader: Agent, provider: Hostile) -> None:
    provider.end_access()
    provider.told["token"] = NO_TOKENS["200 MB"]
    assert look(reader) == "failed"
    provider.told.clear()
    assert look(reader) == "succeeded"


def test_a_provider_that_hangs_is_not_waited_for(
    own: Organisation, reader: Agent, provider: Hostile, stack: World
) -> None:
    """While signing in, before and after the tokens, and while refreshing; each ends as when nothing came."""
    connection_id = own.connections["sandbox_bank/read"]
    kept = tokens_of(stack, connection_id)
    with stack.settings(COUNTERSIGN_PROVIDER_TIMEOUT="2"):
        for operation, revoked in (("token", 0), ("whoami", 1)):
            started = begin(own, provider)
            provider.told[operation] = Answer(200, {"access_token": "late", "account_id": "late"}, delay=HANGS)
            page = come_back(own, provider, started)
            assert (page.status_code, "gave no tokens" in page.text) == (409, operation == "token")
            assert shown(own, started["id"])["status"] == "revoked"
            assert len(provider.asked("revoke")) == revoked
            provider.told.clear()
        provider.end_access()
        provider.told["token"] = Answer(200, {"access_token": "late"}, delay=HANGS)
        assert look(reader) == "failed"
    assert shown(own, connection_id)["status"] == "active"
    assert tokens_of(stack, connection_id) == kept
    provider.told.clear()
    assert look(reader) == "succeeded"


WRONG_ANSWERS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://bank.example"},
    "no issuer": {"iss": None},
    "an error": {"error": "access_denied"},
    "an error beside a code": {"error": "", "code": "a-code"},
    "no code": {"code": None},
    "an empty code": {"code": ""},
    "markup for an error": {"error": "<script>alert(1)</script>\x00\x1b[2J", "code": None},
}


@pytest.mark.parametrize("how", WRONG_ANSWERS)
def test_an_answer_that_is_none_exchanges_nothing(how: str, organisation: Organisation, provider: Hostile) -> None:
    started = begin(organisation, provider)
    page = come_back(organisation, provider, started, **WRONG_ANSWERS[how])
    assert page.status_code in (400, 409)
    assert "<script" not in page.text
    assert "\x1b" not in page.text
    assert shown(organisation, started["id"])["status"] == "revoked"
    assert provider.journal == []
    assert come_back(organisation, provider, started).status_code == 400  # the state is used up


@pytest.mark.parametrize(
    "more", ["&state=another", "&code=another", "&iss=https%3A%2F%2Fbank.example", "&x=" + "y" * 5000]
)
def test_an_answer_says_each_thing_once(organisation: Organisation, provider: Hostile, more: str) -> None:
    started = begin(organisation, provider)
    state = started["authorize_url"].partition("state=")[2].partition("&")[0]
    path = f"/oauth/sandbox_bank/callback?state={state}&code=a-code&iss={provider.url}{more}"
    assert organisation.owner.api.get(path).status_code == 400
    assert provider.journal == []
    assert shown(organisation, started["id"])["status"] == "pending"
    assert come_back(organisation, provider, started).status_code == 200  # it was no answer, so the sign-in goes on


def test_a_state_that_was_used_is_used(organisation: Organisation, provider: Hostile) -> None:
    started = begin(organisation, provider)
    assert come_back(organisation, provider, started).status_code == 200
    asked = len(provider.journal)
    assert come_back(organisation, provider, started, code="another").status_code == 400
    assert len(provider.journal) == asked
    assert shown(organisation, started["id"])["status"] == "active"


GRANTS: dict[str, str] = {
    "less": "accounts:read bills:read payments:read",
    "nothing of it": "profile",
    "more": "accounts:read transactions:read bills:read payments:read payments:write",
    "characters that are no scope's": "accounts:read transactions:read bills:read payments:read \x00\u202e<b>",
}


@pytest.mark.parametrize("how", GRANTS)
def test_another_consent_than_was_asked_for_is_given_back(
    how: str, organisation: Organisation, provider: Hostile
) -> None:
    started = begin(organisation, provider)
    granted = provider.tokens(scope=GRANTS[how])
    provider.told["token"] = Answer(200, granted)
    page = come_back(organisation, provider, started)
    assert page.status_code == 409
    assert ("wider" in page.text) == (how not in ("less",))
    assert "<b>" not in page.text
    assert provider.asked("revoke")[0]["token"] == granted["refresh_token"]
    assert shown(organisation, started["id"])["status"] == "revoked"
    assert shown(organisation, started["id"])["scopes_granted"] == []


ACCOUNTS: dict[str, Answer] = {
    "HTML": Answer(200, b"<html>"),
    "500": Answer(500, {"account_id": "x", "account_name": "x"}),
    "another shape": Answer(200, {"account_id": ["x"], "account_name": {}}),
    "an id that is none": Answer(200, {"account_id": "../../admin", "account_name": "x"}),
    "control characters": Answer(200, {"account_id": "x", "account_name": "Bright\x00water \ud800\x1b[31m"}),
    "200 MB": Answer(200, b'{"account_id": "' + b"x" * 100_000, times=2000),
    "a redirect": Answer(302, b"", {"location": "/elsewhere/whoami"}),
}


@pytest.mark.parametrize("how", ACCOUNTS)
def test_a_grant_for_nobody_knows_whom_is_given_back(how: str, organisation: Organisation, provider: Hostile) -> None:
    started = begin(organisation, provider)
    provider.told["whoami"] = ACCOUNTS[how]
    page = come_back(organisation, provider, started)
    assert page.status_code == 409
    assert len(provider.asked("revoke")) == 1
    assert shown(organisation, started["id"])["status"] == "revoked"


def test_an_account_is_shown_in_letters_that_can_be_kept(organisation: Organisation, provider: Hostile) -> None:
    started = begin(organisation, provider)
    name = "Bright\u202ewater\u2028 BV"
    provider.told["whoami"] = Answer(200, {"account_id": "brightwater", "account_name": name})
    assert come_back(organisation, provider, started).status_code == 200
    assert shown(organisation, started["id"])["account"]["label"] == "Bright?water? BV"


@pytest.mark.parametrize("expires_in", [None, "soon", -5, 0, 1e9, 10**30, {"seconds": 5}, True])
def test_tokens_that_do_not_say_when_they_end_end_by_default(
    expires_in: Any, organisation: Organisation, provider: Hostile
) -> None:
    """After the 300 seconds of the manifest."""
    started = begin(organisation, provider)
    provider.told["token"] = Answer(200, provider.tokens(expires_in=expires_in))
    assert come_back(organisation, provider, started).status_code == 200
    ends = datetime.fromisoformat(shown(organisation, started["id"])["token_expires_at"])
    assert 240 < (ends - datetime.now(UTC)).total_seconds() <= 300


def test_a_consent_without_a_refresh_token_lasts_as_long_as_its_token(
    own: Organisation, stack: World, provider: Hostile, reader: Agent
) -> None:
    connection_id = own.connections["sandbox_bank/read"]
    provider.told["token"] = Answer(200, provider.tokens(refresh_token=None))
    started = ok(own.owner.api.post(f"/v1/connections/{connection_id}/reconnect"))
    assert come_back(own, provider, started).status_code == 200
    reader.start()
    assert look(reader) == "succeeded"
    provider.end_access()
    assert look(reader) == "failed"
    connection = shown(own, connection_id)
    assert (connection["status"], connection["token_expires_at"]) == ("expired", None)
    assert "invalid_grant" in connection["status_reason"]
    assert alerts(own) == [("connection.expired", "critical", "open")]
    assert provider.refreshes() == 0


def test_a_401_is_one_refresh_and_one_more_try(reader: Agent, provider: Hostile) -> None:
    provider.end_access()
    assert look(reader) == "succeeded"
    assert (len(provider.asked("list") + provider.asked("bills")), provider.refreshes()) == (2, 1)


def test_a_401_for_ever_is_not_asked_about_for_ever(reader: Agent, provider: Hostile) -> None:
    provider.told["bills"] = Answer(401, {"error": "invalid_token"})
    assert look(reader) == "failed"
    assert (len(provider.asked("bills")), provider.refreshes()) == (2, 1)


@pytest.mark.parametrize(
    ("drift", "scope", "severity"),
    [
        ("wider", "accounts:read transactions:read bills:read payments:read payments:write", "critical"),
        ("narrower", "accounts:read bills:read payments:read", "warning"),
        ("wider", "payments:write", "critical"),
    ],
)
def test_a_refresh_that_grants_something_else_makes_no_calls(
    own: Organisation, reader: Agent, provider: Hostile, stack: World, drift: str, scope: str, severity: str
) -> None:
    connection_id = own.connections["sandbox_bank/read"]
    provider.end_access()
    granted = provider.tokens(scope=scope)
    provider.told["token"] = Answer(200, granted)
    assert look(reader) == "failed"
    assert look(reader) == "connection_not_active"
    assert granted["access_token"] not in [asked.get("bearer") for asked in provider.asked("bills")]
    connection = shown(own, connection_id)
    assert connection["status"] == "degraded"
    assert connection["status_reason"].startswith(f"the provider granted {'more' if drift == 'wider' else 'less'} than")
    assert connection["scopes_granted"] == sorted(scope.split())
    assert alerts(own) == [(f"connection.scopes_{drift}", severity, "open")]
    # The new refresh token was kept all the same: it is the one to revoke with, or to sign in anew over.
    assert tokens_of(stack, connection_id)["refresh_token"] == granted["refresh_token"]
    provider.told.clear()
    started = ok(own.owner.api.post(f"/v1/connections/{connection_id}/reconnect"))
    assert come_back(own, provider, started).status_code == 200
    assert shown(own, connection_id)["status"] == "active"
    assert alerts(own, status="open") == []
    assert look(reader) == "succeeded"


def test_whoever_waited_for_a_refresh_does_not_get_too_much_either(reader: Agent, provider: Hostile) -> None:
    provider.end_access()
    granted = provider.tokens(scope=f"{provider.scope} payments:write")
    provider.told["token"] = Answer(200, granted, delay=0.5)
    with ThreadPoolExecutor(8) as pool:
        ended = set(pool.map(lambda _: look(reader), range(8)))
    assert ended <= {"failed", "connection_not_active"}
    assert provider.refreshes() == 1
    assert granted["access_token"] not in [asked.get("bearer") for asked in provider.asked("bills")]


def test_refreshes_that_keep_failing_are_told_of(own: Organisation, reader: Agent, provider: Hostile) -> None:
    provider.end_access()
    provider.told["token"] = Answer(503, b"")
    for failures in range(1, 5):
        assert look(reader) == "failed"
        told = [("connection.refresh_failing", "warning", "open")] if failures >= 3 else []
        assert alerts(own) == told
    (alert,) = ok(own.owner.api.get("/v1/alerts"))["items"]
    assert (alert["occurrences"], alert["owner"]["user_id"]) == (2, own.owner.user_id)
    assert alert["detail"]["reason"] == "The provider gave no tokens: status 503."
    provider.told.clear()
    assert look(reader) == "succeeded"
    assert alerts(own) == [("connection.refresh_failing", "warning", "resolved")]


def test_nothing_that_the_provider_issued_is_in_a_log(stack: World, provider: Hostile) -> None:
    """Of all that the tests before this one made it issue."""
    logs = "".join(file.read_text(errors="replace") for file in stack.stack.state.glob("*.log"))
    audit = "".join(record for (record,) in stack.rows("select record from app.audit_events"))
    raised = "".join(row for (row,) in stack.rows("select a::text from app.alerts a"))
    assert provider.issued
    assert [token for token in provider.issued if token in logs + audit + raised] == []
