"""A Postgres that is not ours, in place of the embedded one: a Supabase project, or a server with a superuser.

It gets what a deployment brings (migrations, tool contracts) and, for as long as it is used, a login of its own with
the application's rights, so that the password of a deployed application is never touched.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sandbox import bootstrap
from sandbox.state import CHECKOUT
from scripts.migrate import migrate
from scripts.publish_tools import publish

#: Whether this database has the sessions of its people (docs/security.md, "Sessions of people").
AUTH_IS_HERE = "update private.auth_place set here = %s"


class ExternalError(RuntimeError):
    """The database cannot be used; the message says why and what to do."""


@contextmanager
def prepared(owner_url: str, *, tenant: str) -> Iterator[str]:
    """Prepares the database and yields where the application logs in, until the end; then that login is dropped.

    owner_url: of `postgres` on Supabase, or of a superuser of another Postgres, which then gets Supabase's roles and
    schemas. A database that holds other tenants than those called `tenant` is refused: the scheduled functions of a
    stack work for every tenant they find, and would fail for those whose keys they do not have.
    Raises ExternalError, MigrationError, ManifestError, psycopg.Error.
    """
    try:
        connection = psycopg.connect(owner_url, autocommit=True, prepare_threshold=None, connect_timeout=15)
    except psycopg.Error as error:
        raise ExternalError(f"cannot connect to the database: {error}") from None
    with connection:
        _make_supabase(connection)
        migrate(owner_url, log=lambda _: None)
        publish(owner_url, log=lambda _: None)
        _refuse_others(connection, tenant)
        login, url = _log_in(connection, owner_url)
        connection.execute(AUTH_IS_HERE, [False])  # the stack's own Auth server keeps its sessions elsewhere
    try:
        yield url
    finally:
        # The database may be gone by now; a login without its password serves nobody.
        with suppress(psycopg.Error), psycopg.connect(owner_url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute(AUTH_IS_HERE, [True])
            connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(login)))


def _make_supabase(connection: psycopg.Connection) -> None:
    """Gives a bare Postgres what a Supabase project has."""
    row = connection.execute(
        "select to_regrole('authenticated') is not null, rolsuper, rolname from pg_roles where rolname = current_user"
    ).fetchone()
    there, superuser, name = row or (False, False, "nobody")
    if name == "countersign_api":
        raise ExternalError("this is the application's login; name the owner's (postgres on Supabase)")
    if there:
        return
    if not superuser:
        raise ExternalError(
            "the role authenticated is missing, so this is no Supabase project; to make it look like one, "
            f"{name} would have to be a superuser"
        )
    bootstrap.bootstrap_bare(connection)


def _refuse_others(connection: psycopg.Connection, tenant: str) -> None:
    row = connection.execute("select count(*) from app.tenants where name <> %s", (tenant,)).fetchone()
    if row and row[0]:
        raise ExternalError(f"this database holds {row[0]} other tenants, whose work is not ours: use a fresh one")


def _log_in(connection: psycopg.Connection, owner_url: str) -> tuple[str, str]:
    """Makes this checkout's login anew; answers its name and the URL to connect with."""
    login = f"countersign_local_{sha256(str(CHECKOUT).encode()).hexdigest()[:12]}"
    password = secrets.token_urlsafe(24)
    # Only the SCRAM verifier travels, so that no password can end up in the server's log.
    verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    role = sql.Identifier(login)
    connection.execute(sql.SQL("drop role if exists {}").format(role))
    connection.execute(sql.SQL("create role {} login inherit password {}").format(role, sql.Literal(verifier)))
    connection.execute(sql.SQL("grant countersign_api to {}").format(role))
    # Supabase's pooler tells projects apart by what follows the dot of a user's name.
    user = str(conninfo_to_dict(owner_url).get("user") or "")
    project = user.partition(".")[2]
    return login, make_conninfo(owner_url, user=f"{login}.{project}" if project else login, password=password)
