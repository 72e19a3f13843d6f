"""A Postgres of the user's own in place of the embedded one: bare, or prepared as Supabase is."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox import bootstrap, external, postgres
from sandbox.external import ExternalError, prepared
from sandbox.organisation import NAME, found, ok
from sandbox.postgres import Server
from sandbox.stack import running

LOGINS = "select count(*) from pg_roles where rolname like 'countersign_local_%'"


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    """A server that knows nothing of Supabase."""
    with postgres.ephemeral() as server:
        yield server


@pytest.fixture(scope="module")
def hosted() -> Iterator[Server]:
    """A server as a fresh Supabase project has it; its owner `postgres` is no superuser."""
    with postgres.ephemeral() as server:
        bootstrap.bootstrap(server)
        yield server


def _count(server: Server, query: str) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("kind", ["bare", "hosted"])
def test_a_stack_keeps_its_tenants_there(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: Server = request.getfixturevalue(kind)
    owner_url = server.url() if kind == "bare" else server.url(user="postgres")
    try:
        with running(tmp_path, owner_url, tenant=NAME) as stack:
            organisation = found(stack)
            assert ok(organisation.owner.api.get("/v1/audit/verify"))["ok"] is True
            assert _count(server, "select count(*) from app.tenants") == 1
            assert _count(server, LOGINS) == 1
    finally:
        postgres.destroy(tmp_path)
    assert _count(server, LOGINS) == 0
    with pytest.raises(ExternalError, match="1 other tenants"), prepared(owner_url, tenant="Somebody else Ltd"):
        pass
    assert _count(server, LOGINS) == 0


def test_the_login_has_the_applications_rights_and_no_others(hosted: Server) -> None:
    with (
        prepared(hosted.url(user="postgres"), tenant=NAME) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        doors = (
            "select proname from pg_proc where pronamespace = 'app'::regnamespace"
            " and has_function_privilege(oid, 'execute')"
        )
        assert sorted(connection.execute(doors).fetchall()) == [("begin_v1",), ("call_v1",)]
        for forbidden in ("select * from app.tenants", "select * from vault.secrets", "create table public.x ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)


def test_the_applications_own_login_is_refused(hosted: Server) -> None:
    with prepared(hosted.url(user="postgres"), tenant=NAME):
        pass
    bootstrap.enable_login(hosted, "countersign_api")
    with pytest.raises(ExternalError, match="the application's login"):
        external.prepared(hosted.url(user="countersign_api"), tenant=NAME).__enter__()


def test_a_bare_database_needs_a_superuser(tmp_path: Path) -> None:
    with postgres.ephemeral() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create role someone login createrole password 'x'")
        with pytest.raises(ExternalError, match="superuser"):
            external.prepared(server.url(user="someone", password="x"), tenant=NAME).__enter__()


def test_an_address_where_nobody_answers_is_named_without_its_password(hosted: Server) -> None:
    with pytest.raises(ExternalError, match="cannot connect") as raised:
        external.prepared(hosted.url(user="postgres", password="not-the-one"), tenant=NAME).__enter__()
    assert "not-the-one" not in str(raised.value)
