"""Make a plain cluster look like a fresh hosted Supabase project, as far as a migration can notice.

The SQL is in ``sandbox/supabase``: ``cluster.sql`` for what all databases share, ``database.sql`` and
``vault.sql`` for each database. What passes here as `postgres` should pass there, and what is refused there
is refused here.
"""

import argparse
import sys
import time
from pathlib import Path

import psycopg
from psycopg import errors, sql

from sandbox import postgres
from sandbox.postgres import Server
from sandbox.state import state_dir

FOLDER = Path(__file__).resolve().parent / "supabase"
# The logins of a fresh project; the superuser has its password from initdb.
LOGINS = ("postgres", "authenticator", "supabase_auth_admin")
# Held while bootstrapping: the databases share their roles and the files that cluster.sql writes.
BOOTSTRAP_LOCK = 0x5355504142415345
#: How long the last sessions of a database may take to end. Postgres itself waits for five seconds, each time.
LEAVING_SECONDS = 120


def bootstrap(server: Server) -> None:
    """Bring the cluster and its database `postgres` to the state of a fresh hosted project.

    Idempotent and safe against concurrent callers. A database that was already prepared is left alone, with
    whatever migrations did to it since. The passwords of `LOGINS` are `server.role_password(...)` afterwards.
    """
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (BOOTSTRAP_LOCK,))
        with connection.transaction():
            connection.execute(_file("cluster.sql"))
            for role in LOGINS:
                _set_password(connection, server, role)
            connection.execute("alter database postgres owner to postgres")
        _prepare(connection)


def bootstrap_bare(connection: psycopg.Connection) -> None:
    """Do the same for a cluster that is not ours, as a superuser in autocommit mode; for the connection's database.

    No password is set, and no role that is a superuser loses or gains anything.
    """
    connection.execute("select pg_advisory_lock(%s)", (BOOTSTRAP_LOCK,))
    try:
        with connection.transaction():
            connection.execute(_file("cluster.sql"))
        _prepare(connection)
    finally:
        connection.execute("select pg_advisory_unlock(%s)", (BOOTSTRAP_LOCK,))


def create_database(server: Server, name: str, template: str | None = None) -> None:
    """Create a database beside `postgres`, owned by the role `postgres`, on a bootstrapped cluster.

    Without a template it is prepared like a fresh project's database. With one it is a copy of that database
    (to which nobody may be connected), migrations included. Raises psycopg.errors.DuplicateDatabase.
    """
    # A copy of the files is a fifth of the work of a copy by way of the write-ahead log, which is the default.
    create = sql.SQL("create database {} owner postgres template {} strategy file_copy").format(
        sql.Identifier(name), sql.Identifier(template or "template1")
    )
    with psycopg.connect(server.url(), autocommit=True) as connection:
        when_all_have_left(connection, create)
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        _prepare(connection)


def drop_database(server: Server, name: str) -> None:
    """Drop a database, ending the sessions in it; nothing happens when there is none of that name."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        when_all_have_left(connection, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def when_all_have_left(connection: psycopg.Connection, statement: sql.Composed) -> None:
    """Executes what Postgres refuses while a session is in the database that it is about.

    Sessions end some time after their client has left, and autovacuum's own when they are told to: later than Postgres
    waits for them where the machine is busy. Raises psycopg.errors.ObjectInUse when one stays.
    """
    deadline = time.monotonic() + LEAVING_SECONDS
    while True:
        try:
            connection.execute(statement)
        except errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
        else:
            return


def enable_login(server: Server, role: str) -> None:
    """Let an existing role log in with `server.role_password(role)`.

    For logins that a migration creates without a password, as `countersign_api`: on a hosted project its
    password is set by hand after the migration.
    """
    with psycopg.connect(server.url(), autocommit=True) as connection:
        _set_password(connection, server, role)


def _prepare(connection: psycopg.Connection) -> None:
    """Prepare the connection's database; skip what a copied or earlier prepared one has already."""
    with connection.transaction():
        # Privileges on a database itself are not copied from a template.
        connection.execute(_database_grants(connection.info.dbname))
        done = connection.execute("select to_regprocedure('vault.create_secret(text, text, text, uuid)')")
        if done.fetchone() == (None,):
            connection.execute(_file("database.sql"))
            connection.execute(_file("vault.sql"))


def _database_grants(name: str) -> sql.Composed:
    return sql.SQL(
        "grant all on database {name} to postgres, dashboard_user;"
        " grant create on database {name} to supabase_auth_admin"
    ).format(name=sql.Identifier(name))


def _set_password(connection: psycopg.Connection, server: Server, role: str) -> None:
    # Only the SCRAM verifier travels, so that no password can end up in the server's log.
    verifier = connection.pgconn.encrypt_password(
        server.role_password(role).encode(), role.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _file(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def main() -> int:
    """Start the cluster of the state directory and bootstrap it."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.bootstrap", description=main.__doc__)
    parser.parse_args()
    try:
        server = postgres.start(state_dir())
    except postgres.PostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    bootstrap(server)
    print(f"Postgres on {server.host}:{server.port} is ready for migrations")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
