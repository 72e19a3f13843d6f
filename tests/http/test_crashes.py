"""What nobody expected is answered like everything else, and says nothing of its cause."""

import asyncio
from types import SimpleNamespace

import httpx
import psycopg
import pytest

from api.config import ConfigurationError
from api.dashboard import session
from api.dashboard.routing import page_router
from api.index import create_app
from api.privacy.run_keys import SealBrokenError
from tests.http.problems import problem

SECRET = "postgresql://countersign_api:a-password@10.0.0.1/postgres"


def ask(path: str) -> httpx.Response:
    """The application with places that break, asked for one of them."""
    app = create_app()

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError(SECRET)

    @app.get("/query")
    async def query() -> None:
        raise psycopg.errors.UndefinedTable(SECRET)

    @app.get("/outage")
    async def outage() -> None:
        raise psycopg.OperationalError(SECRET)

    @app.get("/setting")
    async def setting() -> None:
        raise ConfigurationError(f"The setting {SECRET} is missing.")

    @app.get("/seal")
    async def seal() -> None:
        raise SealBrokenError("It does not.")

    pages = page_router()

    @pages.get("/page-seal")
    async def page_seal() -> None:
        raise SealBrokenError("It does not.")

    app.include_router(pages)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.get(path)

    return asyncio.run(get())


@pytest.mark.parametrize("path", ["/bug", "/query"])
def test_a_crash_is_a_problem_that_names_the_request_and_nothing_else(path: str) -> None:
    answer = ask(path)
    problem(answer, 500, "internal_error")
    assert SECRET not in answer.text
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("path", "code", "to_do"),
    [("/setting", "not_configured", "docs/deploy.md"), ("/seal", "seal_broken", "docs/runbook.md")],
)
def test_what_is_known_to_break_says_what_to_do(path: str, code: str, to_do: str) -> None:
    answer = ask(path)
    assert to_do in problem(answer, 500, code)["detail"]
    assert SECRET not in answer.text


def test_a_page_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "settings", lambda: SimpleNamespace(public_url="http://app", kek={}))
    answer = ask("/page-seal")
    assert answer.status_code == 500
    assert "docs/runbook.md" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


def test_an_outage_of_the_database_asks_to_come_again() -> None:
    answer = ask("/outage")
    problem(answer, 503, "database_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert SECRET not in answer.text


def test_two_requests_have_two_names() -> None:
    first, second = ask("/bug"), ask("/bug")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
