"""One Postgres for a whole test run, shared by its workers, and a database of its own for every test that asks.

The cluster is started by the first worker that needs it and removed when the run ends, however it ends. It is
not durable (fsync off); a test that pulls the plug starts its own: `sandbox.postgres.ephemeral(durable=True)`.
"""

from __future__ import annotations

import fcntl
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from sandbox import postgres
from sandbox.auth.schema import install_schema
from sandbox.bootstrap import bootstrap, create_database, drop_database, enable_login, when_all_have_left
from sandbox.postgres import Server
from sandbox.state import CHECKOUT
from scripts.migrate import migrate
from scripts.publish_tools import publish

#: Roles without a login of their own, taken on by the Data API's login as on a hosted project.
TAKEN_ON = ("anon", "authenticated", "service_role")
TEMPLATE = "migrated"


@dataclass(frozen=True)
class Database:
    """A database on the shared cluster: migrated, with every tool contract published, and otherwise empty."""

    server: Server
    name: str

    def url(self, role: str = "countersign_api") -> str:
        """A libpq URL to this database as a role.

        `countersign_api` is the application's login, `postgres` the owner of the tables, `superuser` the
        cluster's; `service_role`, `authenticated` and `anon` are reached through the login `authenticator`.
        """
        if role in TAKEN_ON:
            options = quote(f"-c role={role}", safe="")
            return f"{self.server.url(self.name, 'authenticator')}&options={options}"
        return self.server.url(self.name, self.server.superuser if role == "superuser" else role)

    def connect(self, role: str = "countersign_api", *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection as a role; every statement is its own transaction unless told otherwise."""
        return psycopg.connect(self.url(role), autocommit=autocommit, prepare_threshold=None)


class Run:
    """What one test run shares: the directory where its cluster keeps its state, and who removes it."""

    def __init__(self) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        self._state: Path | None = None

    def state(self) -> Path:
        """The state directory; made at the first call, together with the process that will remove it.

        The watcher waits for the end of a pipe that only this process holds, so that a killed run leaves
        nothing behind either.
        """
        if self._state is None:
            self._state = Path(tempfile.mkdtemp(prefix="countersign-tests-")).resolve()
            self._watcher = subprocess.Popen(
                [sys.executable, "-m", "sandbox.postgres", "--state", str(self._state), "watch"],
                stdin=subprocess.PIPE,
                cwd=CHECKOUT,
                start_new_session=True,
            )
        return self._state

    def end(self) -> None:
        """Removes the cluster and its directory; nothing happens when nobody asked for them."""
        if self._watcher is not None:
            self._watcher.communicate(timeout=postgres.STOP_SECONDS)


def start(state: Path) -> Server:
    """The run's cluster with its template database, made by whichever worker comes first."""
    with _locked(state):
        server = postgres.start(state, durable=False)
        once(server, TEMPLATE, None, lambda database: _migrate(database))
    return server


def once(server: Server, name: str, template: str | None, build: Callable[[Database], None]) -> None:
    """Makes a template database unless it is there already. To be called with the run's lock held."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        if connection.execute("select true from pg_database where datname = %s", (name,)).fetchone():
            return
    if template is None:
        bootstrap(server)
    scratch = f"{name}_{secrets.token_hex(4)}"
    create_database(server, scratch, template)
    build(Database(server, scratch))
    with psycopg.connect(server.url(scratch), autocommit=True) as connection:
        # Every migration that replaces a function leaves its old text behind; hundreds of copies would carry it.
        connection.execute("vacuum full")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        rename = sql.SQL("alter database {} rename to {}").format(sql.Identifier(scratch), sql.Identifier(name))
        when_all_have_left(connection, rename)


def shared(server: Server, name: str, template: str, build: Callable[[Database], None]) -> None:
    """Makes a further template database for the whole run, whichever worker comes first."""
    with _locked(server.state):
        once(server, name, template, build)


@contextmanager
def cloned(server: Server, template: str = TEMPLATE) -> Iterator[Database]:
    """A copy of a template database, dropped at exit together with the sessions in it."""
    database = Database(server, f"test_{secrets.token_hex(8)}")
    create_database(server, database.name, template)
    try:
        yield database
    finally:
        drop_database(server, database.name)


def _migrate(database: Database) -> None:
    install_schema(database.url("supabase_auth_admin"))
    migrate(database.url("postgres"), log=lambda _: None)
    publish(database.url("postgres"), log=lambda _: None)
    enable_login(database.server, "countersign_api")
    # Hosted projects let postgres set this (supautils); plain Postgres needs the grant.
    with psycopg.connect(database.url("superuser"), autocommit=True) as connection:
        connection.execute("grant set on parameter session_replication_role to postgres")


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (state / "tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
