"""Apply the migrations of ``supabase/migrations`` to a database, each in one transaction with its record.

The record is the Supabase CLI's own (``supabase_migrations.schema_migrations``), so that this runner and
``supabase db push`` can take turns on one database. Works on hosted Supabase, on a direct connection as well
as through a pooler: everything it needs of a session lies within one transaction.

    python -m scripts.migrate [--url URL] [--folder DIR] [--dry-run | --status]
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from scripts.sql_statements import Statement, UnterminatedError, split

FOLDER = Path(__file__).resolve().parent.parent / "supabase" / "migrations"
URL_VARIABLE = "MIGRATIONS_DATABASE_URL"
FILE_NAME = re.compile(r"(?P<version>[0-9]{14})_(?P<name>[A-Za-z0-9_.-]+)\.sql")

# Two runners take turns, file by file. The number is arbitrary and must never change.
RUNNER_LOCK = 0x436F756E74657273
RUNNER_WAIT = "10min"
# A migration that waits for a lock makes everybody behind it wait as well: rather fail and be tried again.
LOCK_TIMEOUT = "10s"

# The Supabase CLI's definitions, column by column as it grew them.
HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
"""
# Asked of the catalog itself: to_regclass would answer from a cache that does not yet know what another runner
# has committed while this one waited for its turn.
HISTORY_EXISTS = """
select from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'
"""
RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"

# A file that ends its own transaction would be half applied after an error further down.
TRANSACTION_CONTROL = {"begin", "start", "commit", "end", "rollback", "abort", "prepare transaction"}


class MigrationError(Exception):
    """Nothing of the named file was applied; files before it stay applied. The message says what to do."""


@dataclass(frozen=True)
class Migration:
    """A migration file, cut into statements."""

    version: str
    name: str
    path: Path
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Status:
    """One migration as folder and database see it; `edited`: the file changed after it was applied."""

    version: str
    name: str
    local: bool
    applied: bool
    edited: bool


def migrate(url: str, folder: Path = FOLDER, log: Callable[[str], None] = print, *, dry_run: bool = False) -> list[str]:
    """Apply what is pending, oldest first, and return the versions this call applied.

    With `dry_run` nothing is written and the returned versions are those that would be applied. Safe against
    a second runner at the same time. Raises MigrationError when the history and the folder disagree, when a
    file is malformed, and when a statement fails (with file, line and SQLSTATE).
    """
    migrations = read_folder(folder)
    with _connection(url, log) as connection:
        applied = _applied(connection)
        waiting = pending(migrations, applied)
        for version in _edited(migrations, applied):
            log(f"warning: {version} was edited after it was applied; the database has the old text")
        if dry_run:
            for migration in waiting:
                log(f"would apply {migration.path.name} ({len(migration.statements)} statements)")
            return [migration.version for migration in waiting]
        done = [migration for migration in waiting if _apply(connection, migrations, migration, log)]
    log(f"applied {len(done)} of {len(migrations)} migrations; the database is up to date")
    return [migration.version for migration in done]


def status(url: str, folder: Path = FOLDER) -> list[Status]:
    """Every version that the folder or the database knows, oldest first; writes nothing."""
    migrations = {migration.version: migration for migration in read_folder(folder)}
    with _connection(url, lambda _: None) as connection:
        applied = _applied(connection)
    edited = _edited(list(migrations.values()), applied)
    return [
        Status(
            version=version,
            name=migrations[version].name if version in migrations else "",
            local=version in migrations,
            applied=version in applied,
            edited=version in edited,
        )
        for version in sorted({*migrations, *applied})
    ]


def read_folder(folder: Path) -> list[Migration]:
    """The migrations of a folder, oldest first.

    Raises MigrationError for a .sql file whose name is not `<14 digits>_<name>.sql` (it would be passed over
    in silence otherwise), for two files of one version, and for scripts that cannot be cut into statements.
    """
    if not folder.is_dir():
        raise MigrationError(f"there is no folder {folder}")
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named <14-digit timestamp>_<name>.sql")
        version = match["version"]
        if version in found:
            raise MigrationError(f"{found[version].path.name} and {path.name} have the same version")
        found[version] = Migration(version, match["name"], path, _read(path))
    return list(found.values())


def pending(migrations: Sequence[Migration], applied: dict[str, list[str]]) -> list[Migration]:
    """What is still to be applied. Raises MigrationError when that would not give the folder's order."""
    missing = sorted(set(applied) - {migration.version for migration in migrations})
    if missing:
        raise MigrationError(
            f"the database has migrations that the folder lacks: {', '.join(missing)}. "
            "Fetch them (an older checkout, another branch?) before migrating."
        )
    waiting = [migration for migration in migrations if migration.version not in applied]
    newest = max(applied, default="")
    late = [migration.path.name for migration in waiting if migration.version < newest]
    if late:
        raise MigrationError(
            f"out of order: {', '.join(late)} would come before {newest}, which is applied already. "
            "Give them a newer timestamp."
        )
    return waiting


def _read(path: Path) -> tuple[Statement, ...]:
    try:
        statements = split(path.read_text(encoding="utf-8"))
    except UnterminatedError as error:
        raise MigrationError(f"{path.name}:{error.line}: {error}") from error
    except UnicodeDecodeError as error:
        raise MigrationError(f"{path.name}: not UTF-8: {error}") from error
    for statement in statements:
        opening = " ".join(statement.words[:2])
        if {opening, *statement.words[:1]} & TRANSACTION_CONTROL:
            raise MigrationError(
                f"{path.name}:{statement.code_line}: no '{opening}' here: a migration is one transaction"
            )
    return tuple(statements)


@contextmanager
def _connection(url: str, log: Callable[[str], None]) -> Iterator[psycopg.Connection]:
    try:
        # No prepared statements: a transaction pooler would mix them up.
        connection = psycopg.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=15,
            application_name="countersign-migrate",
        )
    except psycopg.Error as error:
        raise MigrationError(f"cannot connect to the database: {error}") from error

    def show(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            log(f"warning: {notice.message_primary}")

    connection.add_notice_handler(show)
    with connection:
        yield connection


def _applied(connection: psycopg.Connection) -> dict[str, list[str]]:
    """The versions in the database's history with their recorded statements; empty when there is none yet."""
    try:
        if not connection.execute(HISTORY_EXISTS).fetchall():
            return {}
        # By way of jsonb: the column is missing in a history begun by an old CLI.
        rows = connection.execute(
            "select version, to_jsonb(m) -> 'statements' from supabase_migrations.schema_migrations as m"
        ).fetchall()
    except psycopg.Error as error:
        raise MigrationError(f"cannot read the history of migrations: {_explain(error)}") from error
    return {version: statements or [] for version, statements in rows}


def _edited(migrations: Sequence[Migration], applied: dict[str, list[str]]) -> set[str]:
    """Versions whose file differs from what was recorded, in more than how it was cut or spaced."""

    def essence(texts: Sequence[str]) -> str:
        return re.sub(r"[\s;]+", "", "".join(texts))

    return {
        migration.version
        for migration in migrations
        if applied.get(migration.version)
        and essence(applied[migration.version]) != essence([item.text for item in migration.statements])
    }


def _apply(
    connection: psycopg.Connection,
    migrations: Sequence[Migration],
    migration: Migration,
    log: Callable[[str], None],
) -> bool:
    """Apply one migration and record it; False when another runner was first."""
    name = migration.path.name
    try:
        # What an earlier file set for its session must not leak into this one.
        connection.execute("reset all")
        with connection.transaction():
            _set_local(connection, "lock_timeout", RUNNER_WAIT)
            connection.execute("select pg_advisory_xact_lock(%s)", (RUNNER_LOCK,))
            _set_local(connection, "lock_timeout", LOCK_TIMEOUT)
            # Under the lock the history stands still: look again at what another runner may have done.
            if migration not in pending(migrations, _applied(connection)):
                log(f"{name} was applied by another runner")
                return False
            log(f"applying {name}")
            connection.execute(HISTORY)
            for statement in migration.statements:
                _execute(connection, name, statement)
            texts = [statement.text for statement in migration.statements]
            connection.execute(RECORD, (migration.version, migration.name, texts))
    except psycopg.Error as error:
        # Beyond the statements themselves: the lock, the record, or a deferred constraint at commit.
        raise MigrationError(f"{name}: {_explain(error)}") from error
    return True


def _execute(connection: psycopg.Connection, name: str, statement: Statement) -> None:
    if statement.code_line is None:
        return
    try:
        connection.execute(statement.text.encode())
    except psycopg.Error as error:
        position = error.diag.statement_position
        line = statement.code_line
        if position is not None:
            line = statement.line + statement.text.count("\n", 0, int(position) - 1)
        raise MigrationError(f"{name}:{line}: {_explain(error)}") from error


def _set_local(connection: psycopg.Connection, setting: str, value: str) -> None:
    connection.execute(sql.SQL("set local {} = {}").format(sql.Identifier(setting), sql.Literal(value)))


def _explain(error: psycopg.Error) -> str:
    """SQLSTATE and message on one line, then what else the server had to say."""
    found = error.diag
    lines = [f"{error.sqlstate or 'no SQLSTATE'}: {found.message_primary or str(error).strip()}"]
    for label, text in (
        ("detail", found.message_detail),
        ("hint", found.message_hint),
        ("in", found.context),
    ):
        if text:
            lines.append(f"  {label}: {text}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (1 when a MigrationError was printed, 2 for wrong usage)."""
    parser = argparse.ArgumentParser(prog="python -m scripts.migrate", description="Apply the migrations")
    parser.add_argument("--url", help=f"libpq URL of the database (default: ${URL_VARIABLE})")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="say what would be applied, write nothing")
    mode.add_argument("--status", action="store_true", help="list every migration, write nothing")
    given = parser.parse_args(arguments)
    url = given.url or os.environ.get(URL_VARIABLE)
    if not url:
        parser.error(f"give --url or set {URL_VARIABLE}")
    try:
        if given.status:
            for row in status(url, given.folder):
                print(f"{row.version}  {_word(row):<9}  {row.name}")
        else:
            migrate(url, given.folder, dry_run=given.dry_run)
    except MigrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _word(row: Status) -> str:
    if not row.local:
        return "not here"
    if not row.applied:
        return "pending"
    return "edited" if row.edited else "applied"


if __name__ == "__main__":
    raise SystemExit(main())
