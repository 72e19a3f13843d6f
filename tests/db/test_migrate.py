"""The migration runner: in order, all or nothing, once, and in the words of the Supabase CLI's history."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox import postgres
from sandbox.bootstrap import bootstrap, create_database, drop_database
from sandbox.postgres import Server
from scripts import migrate as runner
from scripts.migrate import MigrationError, migrate, status
from scripts.sql_statements import UnterminatedError, split

FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.ephemeral() as started:
        bootstrap(started)
        yield started


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A fresh project's database, as the role that migrates it."""
    name = f"migrate_{uuid.uuid4().hex}"
    create_database(server, name)
    yield server.url(name, user="postgres")
    drop_database(server, name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good migrations."""
    write(tmp_path, f"{FIRST}_one.sql", "create table public.one (id integer);")
    write(
        tmp_path,
        f"{SECOND}_two.sql",
        "create table public.two (id integer);\ninsert into public.one values (1);",
    )
    return tmp_path


def write(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(script, encoding="utf-8")
    return path


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def history(url: str) -> list[tuple[str, str, list[str]]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        ).fetchall()


def silent(_: str) -> None:
    pass


class TestApplying:
    def test_everything_once_in_order(self, url: str, folder: Path) -> None:
        said: list[str] = []
        assert migrate(url, folder, said.append) == [FIRST, SECOND]
        assert said[:2] == [f"applying {FIRST}_one.sql", f"applying {SECOND}_two.sql"]
        assert ask(url, "select count(*) from public.one") == 1
        assert migrate(url, folder, silent) == []
        assert ask(url, "select count(*) from public.one") == 1
        write(folder, f"{THIRD}_three.sql", "create table public.three ();")
        assert migrate(url, folder, silent) == [THIRD]

    def test_the_history_is_the_clis(self, url: str, folder: Path) -> None:
        migrate(url, folder, silent)
        assert history(url) == [
            (FIRST, "one", ["create table public.one (id integer)"]),
            (SECOND, "two", ["create table public.two (id integer)", "insert into public.one values (1)"]),
        ]
        with psycopg.connect(url) as connection:
            columns = connection.execute(
                "select column_name, udt_name, is_nullable from information_schema.columns"
                " where table_schema = 'supabase_migrations' order by ordinal_position"
            ).fetchall()
        assert columns == [("version", "text", "NO"), ("statements", "_text", "YES"), ("name", "text", "YES")]

    def test_a_history_begun_by_an_old_cli_is_carried_on(self, url: str, folder: Path) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("create schema supabase_migrations")
            connection.execute("create table supabase_migrations.schema_migrations (version text not null primary key)")
            connection.execute("insert into supabase_migrations.schema_migrations values (%s)", (FIRST,))
            connection.execute("create table public.one (id integer)")
        assert migrate(url, folder, silent) == [SECOND]
        assert [row[:2] for row in history(url)] == [(FIRST, None), (SECOND, "two")]

    def test_an_empty_folder_and_a_dry_run_touch_nothing(self, url: str, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert migrate(url, tmp_path / "empty", silent) == []
        assert migrate(url, folder, silent, dry_run=True) == [FIRST, SECOND]
        assert ask(url, "select to_regnamespace('supabase_migrations')") is None

    def test_settings_of_one_file_do_not_reach_the_next(self, url: str, folder: Path) -> None:
        write(folder, f"{FIRST}_one.sql", "create table public.one (id integer); set search_path = ''; ")
        write(folder, f"{SECOND}_two.sql", "create table two (id integer);")
        migrate(url, folder, silent)
        assert ask(url, "select to_regclass('public.two') is not null") is True

    def test_warnings_are_passed_on(self, url: str, folder: Path) -> None:
        write(
            folder,
            f"{SECOND}_two.sql",
            "do $$begin raise warning 'mind the gap'; raise notice 'chatter'; end$$;",
        )
        said: list[str] = []
        migrate(url, folder, said.append)
        assert "warning: mind the gap" in said
        assert not any("chatter" in line for line in said)


class TestFailing:
    def test_a_failing_file_leaves_nothing_and_the_ones_before_it_stay(self, url: str, folder: Path) -> None:
        script = "create table public.two (id integer);\n\n-- the culprit\ninsert into public.one\nvalues ('x');"
        path = write(folder, f"{SECOND}_two.sql", script)
        write(folder, f"{THIRD}_three.sql", "create table public.three ();")
        with pytest.raises(MigrationError) as caught:
            migrate(url, folder, silent)
        assert str(caught.value).startswith(f"{SECOND}_two.sql:5: 22P02: invalid input syntax for type integer")
        assert ask(url, "select to_regclass('public.two') is null and to_regclass('public.three') is null") is True
        assert [row[0] for row in history(url)] == [FIRST]
        path.write_text("create table public.two (id integer);")
        assert migrate(url, folder, silent) == [SECOND, THIRD]

    def test_an_error_without_a_position_names_the_statements_line(self, url: str, folder: Path) -> None:
        raising = "raise exception 'no' using errcode = 'CS409', hint = 'try';"
        script = f"select 1;\n\n/* a\ncomment */\ndo $$\nbegin\n    {raising}\nend $$;"
        write(folder, f"{SECOND}_two.sql", script)
        with pytest.raises(MigrationError) as caught:
            migrate(url, folder, silent)
        assert str(caught.value) == (
            f"{SECOND}_two.sql:5: CS409: no\n  hint: try\n  in: PL/pgSQL function inline_code_block line 3 at RAISE"
        )

    def test_an_error_at_commit_is_reported_too(self, url: str, folder: Path) -> None:
        script = (
            "create table public.two (id integer primary key, other integer"
            " references public.two deferrable initially deferred);\ninsert into public.two values (1, 2);"
        )
        write(folder, f"{SECOND}_two.sql", script)
        with pytest.raises(MigrationError, match=f"{SECOND}_two.sql: 23503: .*foreign key"):
            migrate(url, folder, silent)
        assert [row[0] for row in history(url)] == [FIRST]

    def test_a_version_that_the_folder_lacks(self, url: str, folder: Path) -> None:
        migrate(url, folder, silent)
        (folder / f"{FIRST}_one.sql").unlink()
        with pytest.raises(MigrationError, match=f"the folder lacks: {FIRST}"):
            migrate(url, folder, silent)

    def test_out_of_order(self, url: str, folder: Path) -> None:
        migrate(url, folder, silent)
        write(folder, "20260101120000_late.sql", "select 1;")
        with pytest.raises(MigrationError, match=f"20260101120000_late.sql would come before {SECOND}"):
            migrate(url, folder, silent)
        assert len(history(url)) == 2

    def test_a_file_edited_after_it_was_applied_is_pointed_out(self, url: str, folder: Path) -> None:
        migrate(url, folder, silent)
        write(folder, f"{FIRST}_one.sql", "create table public.one (\n    id integer\n);\n\n")
        said: list[str] = []
        migrate(url, folder, said.append)
        assert not any("edited" in line for line in said)
        write(folder, f"{FIRST}_one.sql", "create table public.one (id bigint);")
        migrate(url, folder, said.append)
        assert f"warning: {FIRST} was edited after it was applied; the database has the old text" in said

    @pytest.mark.parametrize("name", ["1_short.sql", "20260101000000.sql", "20260101000000_.sql", "notes.sql"])
    def test_a_name_that_would_be_passed_over(self, url: str, folder: Path, name: str) -> None:
        write(folder, name, "select 1;")
        with pytest.raises(MigrationError, match="a migration is named"):
            migrate(url, folder, silent)

    def test_two_files_of_one_version(self, url: str, folder: Path) -> None:
        write(folder, f"{FIRST}_uno.sql", "select 1;")
        with pytest.raises(MigrationError, match=f"{FIRST}_one.sql and {FIRST}_uno.sql have the same version"):
            migrate(url, folder, silent)

    @pytest.mark.parametrize("word", ["begin", "COMMIT", "rollback", "start transaction", "end", "abort"])
    def test_a_file_does_not_end_its_own_transaction(self, url: str, folder: Path, word: str) -> None:
        write(folder, f"{SECOND}_two.sql", f"select 1;\n-- now\n{word};\nselect 2;")
        with pytest.raises(MigrationError, match=f"{SECOND}_two.sql:3: no '{word.lower()}' here"):
            migrate(url, folder, silent)

    def test_an_open_quote_is_found_before_anything_runs(self, url: str, folder: Path) -> None:
        write(folder, f"{SECOND}_two.sql", "select 1;\nselect $body$ never closed;")
        with pytest.raises(MigrationError, match=rf"{SECOND}_two.sql:2: unterminated dollar quote \$body\$"):
            migrate(url, folder, silent)
        assert ask(url, "select to_regclass('public.one') is null") is True

    def test_no_database(self, folder: Path) -> None:
        address = "postgresql://postgres:very-secret@127.0.0.1:1/postgres"
        with pytest.raises(MigrationError, match="cannot connect") as caught:
            migrate(address, folder, silent)
        assert "very-secret" not in str(caught.value)

    def test_a_busy_table_fails_the_migration_instead_of_the_traffic(
        self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner, "LOCK_TIMEOUT", "200ms")
        migrate(url, folder, silent)
        write(folder, f"{THIRD}_three.sql", "alter table public.one add column more integer;")
        with psycopg.connect(url) as reader:
            reader.execute("select from public.one")
            with pytest.raises(MigrationError, match=f"{THIRD}_three.sql:1: 55P03: .*lock timeout"):
                migrate(url, folder, silent)
        assert migrate(url, folder, silent) == [THIRD]


class TestTogether:
    def test_two_runners_take_turns(self, url: str, folder: Path) -> None:
        for number in range(10, 20):
            write(
                folder,
                f"202602{number}000000_more.sql",
                f"create table public.more_{number} (); select pg_sleep(0.02);",
            )
        applied: list[str] = []
        problems: list[Exception] = []

        def run() -> None:
            try:
                applied.extend(migrate(url, folder, silent))
            except Exception as problem:
                problems.append(problem)

        runners = [threading.Thread(target=run) for _ in range(3)]
        for thread in runners:
            thread.start()
        for thread in runners:
            thread.join(300)
        assert problems == []
        assert sorted(applied) == [row[0] for row in history(url)]
        assert len(applied) == 12

    def test_status_knows_what_is_where(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        migrate(url, folder, silent)
        (folder / f"{FIRST}_one.sql").unlink()
        write(folder, f"{SECOND}_two.sql", "select 'changed';")
        write(folder, f"{THIRD}_three.sql", "select 1;")
        rows = status(url, folder)
        assert [(row.version, row.local, row.applied, row.edited) for row in rows] == [
            (FIRST, False, True, False),
            (SECOND, True, True, True),
            (THIRD, True, False, False),
        ]
        assert runner.main(["--url", url, "--folder", str(folder), "--status"]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
            "not",
            "edited",
            "pending",
        ]

    def test_the_command_line(
        self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("MIGRATIONS_DATABASE_URL", raising=False)
        with pytest.raises(SystemExit, match="2"):
            runner.main([])
        monkeypatch.setenv("MIGRATIONS_DATABASE_URL", url)
        assert runner.main(["--folder", str(folder)]) == 0
        write(folder, f"{THIRD}_three.sql", "select nonsense;")
        assert runner.main(["--folder", str(folder)]) == 1
        assert f"error: {THIRD}_three.sql:1: 42703:" in capsys.readouterr().err


class TestSplitting:
    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            ("", []),
            (" ;; \n ; ", []),
            ("select 1", ["select 1"]),
            ("select 1;select 2 ;", ["select 1", "select 2"]),
            ("select ';', 'it''s; fine';select 2", ["select ';', 'it''s; fine'", "select 2"]),
            (r"select e'\';', E'\\'; select 2", [r"select e'\';', E'\\'", "select 2"]),
            (r"select '\'; select 2", [r"select '\'", "select 2"]),
            (r"select name'\'; select 2", [r"select name'\'", "select 2"]),
            ('select 1 as "a;""b;"; select 2', ['select 1 as "a;""b;"', "select 2"]),
            ("do $$ begin; end $$; select 2", ["do $$ begin; end $$", "select 2"]),
            ("do $a$ $b$;$b$ $$;$$ $a$; select 2", ["do $a$ $b$;$b$ $$;$$ $a$", "select 2"]),
            ("select a$b$c; select $1; select d$b$", ["select a$b$c", "select $1", "select d$b$"]),
            ("-- one; two\nselect 1; -- three;\nselect 2", ["-- one; two\nselect 1", "-- three;\nselect 2"]),
            ("/* a; /* b; */ c; */ select 1; select 2", ["/* a; /* b; */ c; */ select 1", "select 2"]),
            ("select '/*'; select '*/', '--';", ["select '/*'", "select '*/', '--'"]),
            ("select 1 - -1; select 2 / 3 * 4", ["select 1 - -1", "select 2 / 3 * 4"]),
            (
                "create rule r as on insert to t do (select 1; select 2); x",
                [
                    "create rule r as on insert to t do (select 1; select 2)",
                    "x",
                ],
            ),
            (
                "create function f() begin atomic select 1; select case x when 1 then 1 end; end; x",
                [
                    "create function f() begin atomic select 1; select case x when 1 then 1 end; end",
                    "x",
                ],
            ),
            (
                "create or replace procedure p() begin atomic; end; begin; x",
                [
                    "create or replace procedure p() begin atomic; end",
                    "begin",
                    "x",
                ],
            ),
            ("select 1;\n-- the end\n", ["select 1", "-- the end"]),
        ],
    )
    def test_statements(self, script: str, expected: list[str]) -> None:
        assert [statement.text for statement in split(script)] == expected

    def test_lines_and_words(self) -> None:
        statements = split("\n-- about\n\nCREATE  Table t\n();\n/* tail\n*/")
        assert [(item.line, item.code_line, item.words) for item in statements] == [
            (2, 4, ("create", "table", "t")),
            (6, None, ()),
        ]

    @pytest.mark.parametrize(
        ("script", "what", "line"),
        [
            ("select 1;\nselect 'x", "string", 2),
            ('\nselect "x', "quoted name", 2),
            ("select $q$\n\n;", "dollar quote", 1),
            ("select 1;\n\n/* /* */", "block comment", 3),
        ],
    )
    def test_what_is_never_closed(self, script: str, what: str, line: int) -> None:
        with pytest.raises(UnterminatedError, match=what) as caught:
            split(script)
        assert caught.value.line == line

    def test_nothing_but_separators_and_space_is_lost(self) -> None:
        for path in sorted(runner.FOLDER.glob("*.sql")):
            script = path.read_text(encoding="utf-8")
            joined = "".join(statement.text for statement in split(script))
            assert "".join(joined.split()).replace(";", "") == "".join(script.split()).replace(";", ""), path.name
