"""A provider that repeats, in what it says, the secrets that it got from us or gave us: nobody is shown them."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.organisation import Organisation, found, ok, once
from sandbox.postgres import Server
from tests.cluster import cloned
from tests.http.hostile import BILLS, Answer, Hostile, begin, come_back, connect, hostile_provider, reading
from tests.http.integrator import at_work
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
def own(stack: World, provider: Hostile) -> Organisation:
    provider.behave()
    organisation = found(stack.stack, "Reader BV")
    connect(organisation, provider)
    organisation.go_live("read-bills", "Read bills", reading(organisation))
    return organisation


def look(organisation: Organisation) -> dict[str, Any]:
    """One observation, as the agent sees it."""
    with at_work(organisation, "read-bills") as agent:
        path, body = f"/v1/runs/{agent.run_id}/observations", {"tool": BILLS, "args": {}}
        answer: dict[str, Any] = agent.api.post(path, json=body, headers=once()).json()
        return answer


def whereabouts(stack: World, *secrets: str) -> list[str]:
    """Every table and log in which one of the secrets stands."""
    assert all(secrets)
    tables = [name for (name,) in stack.rows("select tablename from pg_tables where schemaname = 'app'")]
    said = "exists (select from unnest(%s::text[]) secret where strpos(t::text, secret) > 0)"
    parts = [f"select '{name}' from app.{name} t where {said}" for name in tables]
    # One query for all tables: each one of its own would be a login of its own, hundreds of them.
    holding = [name for (name,) in stack.rows(" union ".join(parts), *[list(secrets)] * len(parts))]
    logs = [path for path in stack.stack.state.rglob("*.log") if any(s in path.read_text() for s in secrets)]
    return [*holding, *(path.name for path in logs)]


def test_a_refusal_that_repeats_the_refresh_token(own: Organisation, provider: Hostile, stack: World) -> None:
    provider.end_access()
    provider.told["token"] = lambda asked: Answer(400, {"error": f"unknown token {asked['refresh_token']}"})
    answers = [look(own) for _ in range(4)]
    assert {answer["status"] for answer in answers} == {"failed"}
    alerts = ok(own.owner.api.get("/v1/alerts", params={"kind": "connection.refresh_failing"}))["items"]
    assert [alert["detail"]["reason"] for alert in alerts] == ["The provider gave no tokens: malformed."]
    tokens = {asked["refresh_token"] for asked in provider.asked("token") if "refresh_token" in asked}
    assert not [token for token in tokens if token in str(answers)]
    assert whereabouts(stack, *tokens) == []


def test_a_scope_that_repeats_a_token_is_wider_and_withheld(own: Organisation, provider: Hostile, stack: World) -> None:
    provider.end_access()

    def generous(_: dict[str, str]) -> Answer:
        tokens = provider.tokens()
        return Answer(200, tokens | {"scope": f"{tokens['scope']} {tokens['refresh_token']}"})

    provider.told["token"] = generous
    look(own)
    shown = ok(own.owner.api.get(f"/v1/connections/{own.connections['sandbox_bank/read']}"))
    assert (shown["status"], "(withheld)" in shown["scopes_granted"]) == ("degraded", True)
    assert whereabouts(stack, *provider.issued) == []


def test_a_sign_in_whose_refusal_repeats_the_code(own: Organisation, provider: Hostile, stack: World) -> None:
    provider.told["token"] = lambda asked: Answer(400, {"error": f"bad {asked['code']} {asked['code_verifier']}"})
    page = come_back(own, provider, begin(own, provider), code="a-code-of-this-test")
    assert (page.status_code, "a-code-of-this-test" in page.text) == (409, False)
    verifier = provider.asked("token")[-1]["code_verifier"]
    assert whereabouts(stack, "a-code-of-this-test", verifier[:40]) == []


def test_an_account_that_is_called_like_its_token(own: Organisation, provider: Hostile, stack: World) -> None:
    provider.told["whoami"] = lambda asked: Answer(200, {"account_id": "brightwater", "account_name": asked["bearer"]})
    page = come_back(own, provider, begin(own, provider))
    assert (page.status_code, "named a credential" in page.text) == (409, True)
    assert whereabouts(stack, *provider.issued) == []


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_that_repeats_the_access_token(
    own: Organisation, provider: Hostile, stack: World, status: int
) -> None:
    provider.told["bills"] = lambda asked: Answer(
        status, {"error": asked["bearer"], "bills": [{"id": asked["bearer"]}]}
    )
    seen = look(own)
    assert seen["status"] == "failed"
    assert not [token for token in provider.issued if token in str(seen)]
    assert whereabouts(stack, *provider.issued) == []
