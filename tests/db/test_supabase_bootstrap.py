"""The bootstrapped cluster is a fresh Supabase project: what is allowed and refused there is so here."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import product

import psycopg
import pytest
from psycopg import errors

from sandbox import postgres
from sandbox.bootstrap import LOGINS, bootstrap, create_database, drop_database, enable_login
from sandbox.postgres import Server

FORBIDDEN = errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A cluster that three callers bootstrapped at the same time, and one of them again."""
    with postgres.ephemeral() as started:
        with ThreadPoolExecutor() as pool:
            list(pool.map(bootstrap, [started] * 3))
        bootstrap(started)
        yield started


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The name of a fresh database beside `postgres`."""
    name = f"fresh_{uuid.uuid4().hex}"
    create_database(server, name)
    yield name
    drop_database(server, name)


@pytest.fixture
def migrator(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """Connected as migrations are: the role postgres."""
    with psycopg.connect(server.url(database, user="postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def auth_server(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """Connected as the Auth server, with a table of users as it makes it."""
    with psycopg.connect(server.url(database, user="supabase_auth_admin"), autocommit=True) as connection:
        connection.execute("create table users (id uuid primary key, email text)")
        connection.execute("alter table users enable row level security")
        yield connection


@pytest.fixture
def root(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """Connected as the superuser."""
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        yield connection


def ask(connection: psycopg.Connection, question: str, *values: object) -> object:
    row = connection.execute(question.encode(), values).fetchone()
    assert row is not None
    return row[0]


def as_role(connection: psycopg.Connection, role: str) -> AbstractContextManager[object]:
    """A transaction as another role, undone at its end."""
    transaction = connection.transaction(force_rollback=True)

    class Transaction(AbstractContextManager[object]):
        def __enter__(self) -> None:
            transaction.__enter__()
            connection.execute(f'set local role "{role}"'.encode())

        def __exit__(self, *problem: object) -> bool | None:
            return transaction.__exit__(*problem)  # type: ignore[arg-type]

    return Transaction()


class TestRoles:
    def test_attributes(self, root: psycopg.Connection) -> None:
        rows = root.execute(
            "select rolname, rolcanlogin, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolreplication,"
            " rolbypassrls from pg_roles where rolname not like 'pg\\_%' order by rolname"
        ).fetchall()
        named = {row[0]: "".join(letter for letter, has in zip("lisrdpb", row[1:], strict=True) if has) for row in rows}
        # login, inherit, superuser, createrole, createdb, replication, bypassrls
        assert named == {
            "anon": "i",
            "authenticated": "i",
            "authenticator": "l",
            "dashboard_user": "irdp",
            "postgres": "lirdpb",
            "service_role": "ib",
            "supabase_admin": "lisrdpb",
            "supabase_auth_admin": "l",
        }

    def test_settings(self, root: psycopg.Connection) -> None:
        rows = root.execute("select rolname, unnest(rolconfig) from pg_roles where rolconfig is not null").fetchall()
        assert {"anon": "statement_timeout=3s", "authenticated": "statement_timeout=8s"}.items() <= dict(rows).items()
        assert ("authenticator", "lock_timeout=8s") in rows
        assert ("supabase_auth_admin", "search_path=auth") in rows
        assert ("postgres", 'search_path="$user", public, extensions') in rows

    def test_memberships(self, root: psycopg.Connection) -> None:
        rows = root.execute(
            "select member::regrole::text, roleid::regrole::text, admin_option from pg_auth_members"
            " where roleid::regrole::text not like 'pg\\_%'"
        ).fetchall()
        assert set(rows) == {
            *(("authenticator", role, False) for role in ("anon", "authenticated", "service_role")),
            *(("postgres", role, True) for role in ("anon", "authenticated", "service_role", "authenticator")),
        }

    def test_every_login_has_its_password_and_the_api_roles_have_none(self, server: Server) -> None:
        for role in LOGINS:
            with psycopg.connect(server.url(user=role)) as connection:
                assert ask(connection, "select current_user") == role
        assert len({server.role_password(role) for role in (*LOGINS, "supabase_admin")}) == 4
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url(user="authenticated"))

    def test_a_migration_can_make_the_applications_login(
        self, server: Server, database: str, migrator: psycopg.Connection
    ) -> None:
        role = f"api_{uuid.uuid4().hex}"
        migrator.execute(f"create role {role} login noinherit nobypassrls".encode())
        migrator.execute(f"grant authenticated to {role}".encode())
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url(database, user=role))
        enable_login(server, role)
        with psycopg.connect(server.url(database, user=role)) as connection:
            connection.execute("set role authenticated")
            with pytest.raises(FORBIDDEN):
                connection.execute("set role service_role")
        migrator.execute(f"drop role {role}".encode())

    def test_postgres_is_no_superuser(self, migrator: psycopg.Connection) -> None:
        for statement in (
            "set role supabase_admin",
            "set role supabase_auth_admin",
            "alter role postgres superuser",
            "select pg_read_file('vault_root_key')",
            "copy (select 1) to '/tmp/never'",
            "alter system set max_connections = 5",
        ):
            with pytest.raises(FORBIDDEN):
                migrator.execute(statement.encode())


class TestSchemas:
    def test_postgres_owns_the_database_but_not_its_schemas(self, migrator: psycopg.Connection) -> None:
        assert (
            ask(migrator, "select datdba::regrole::text from pg_database where datname = current_database()")
            == "postgres"
        )
        owners = migrator.execute(
            "select nspname, nspowner::regrole::text from pg_namespace"
            " where nspname !~ '^pg_' and nspname <> 'information_schema'"
        ).fetchall()
        assert dict(owners) == {
            "auth": "supabase_auth_admin",
            "extensions": "supabase_admin",
            "public": "pg_database_owner",
            "vault": "supabase_admin",
        }

    @pytest.mark.parametrize("schema", ["auth", "vault"])
    def test_postgres_creates_nothing_in_the_platforms_schemas(self, migrator: psycopg.Connection, schema: str) -> None:
        with pytest.raises(FORBIDDEN):
            migrator.execute(f"create table {schema}.mine (id integer)".encode())
        with pytest.raises(FORBIDDEN):
            migrator.execute(f"create function {schema}.mine() returns integer language sql return 1".encode())

    def test_postgres_may_use_the_users_but_not_rule_them(
        self, migrator: psycopg.Connection, auth_server: psycopg.Connection
    ) -> None:
        person = uuid.uuid4()
        auth_server.execute("insert into users values (%s, 'a@example.com')", (person,))
        assert ask(migrator, "select email from auth.users") == "a@example.com"
        migrator.execute("create table public.profiles (id uuid references auth.users on delete cascade)")
        migrator.execute("insert into public.profiles values (%s)", (person,))
        migrator.execute("create function public.noted() returns trigger language plpgsql as $$begin return new; end$$")
        migrator.execute("create trigger noted after insert on auth.users for each row execute function public.noted()")
        for statement in (
            "create policy mine on auth.users for select using (true)",
            "alter table auth.users disable row level security",
            "alter table auth.users add column extra text",
            "drop table auth.users",
            "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
        ):
            with pytest.raises(FORBIDDEN):
                migrator.execute(statement.encode())
        # Without the grant option this is a mere warning.
        migrator.execute("grant select on auth.users to anon")
        assert ask(migrator, "select has_table_privilege('anon', 'auth.users', 'select')") is False
        auth_server.execute("delete from users")
        assert ask(migrator, "select count(*) from public.profiles") == 0

    def test_public_is_open_to_the_api_roles_by_default_and_other_schemas_are_not(
        self, migrator: psycopg.Connection
    ) -> None:
        migrator.execute("create table public.open (id serial)")
        migrator.execute("create function public.call() returns integer language sql return 1")
        migrator.execute("create schema closed")
        migrator.execute("create table closed.shut (id serial)")
        for role in ("anon", "authenticated", "service_role"):
            with as_role(migrator, role):
                migrator.execute("insert into public.open default values")
                assert ask(migrator, "select public.call()") == 1
            with as_role(migrator, role), pytest.raises(FORBIDDEN):
                migrator.execute("select from closed.shut")
            with as_role(migrator, role), pytest.raises(FORBIDDEN):
                migrator.execute("create table public.mine (id integer)")

    def test_the_auth_server_is_at_home_in_its_schema_only(self, auth_server: psycopg.Connection) -> None:
        assert ask(auth_server, "select 'users'::regclass::oid = 'auth.users'::regclass::oid") is True
        with pytest.raises(FORBIDDEN):
            auth_server.execute("create table public.mine (id integer)")
        with pytest.raises(FORBIDDEN):
            auth_server.execute("select from vault.decrypted_secrets")


class TestClaims:
    QUESTION = "select array[auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'aal']"

    def test_without_claims_everything_is_null(self, migrator: psycopg.Connection) -> None:
        with as_role(migrator, "anon"):
            assert ask(migrator, self.QUESTION) == [None] * 4

    def test_claims_are_read(self, migrator: psycopg.Connection) -> None:
        person = str(uuid.uuid4())
        claims = {"sub": person, "role": "authenticated", "email": "a@example.com", "aal": "aal2"}
        with as_role(migrator, "authenticated"):
            migrator.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            assert ask(migrator, self.QUESTION) == [person, "authenticated", "a@example.com", "aal2"]

    def test_the_empty_setting_that_a_transaction_leaves_behind_is_null(self, migrator: psycopg.Connection) -> None:
        with migrator.transaction():
            migrator.execute("""select set_config('request.jwt.claims', '{"sub": "x"}', true)""")
        assert ask(migrator, "select current_setting('request.jwt.claims', true)") == ""
        assert ask(migrator, self.QUESTION) == [None] * 4


class TestVault:
    SECRETS = ("", "s", "12345678", "123456789", "äöü € 😀\n'quoted'", "long " * 2000)

    def test_a_secret_comes_back(self, migrator: psycopg.Connection) -> None:
        for role, secret in product(("postgres", "service_role"), self.SECRETS):
            with as_role(migrator, role):
                identity = ask(migrator, "select vault.create_secret(%s, 'name', 'about')", secret)
                row = migrator.execute(
                    "select name, description, decrypted_secret, key_id, length(nonce), secret,"
                    " created_at = updated_at from vault.decrypted_secrets where id = %s",
                    (identity,),
                ).fetchone()
            assert row is not None
            assert row[:5] == ("name", "about", secret, None, 16)
            assert len(secret) < 8 or secret not in row[5]
            assert row[6] is True

    def test_nobody_else_comes_near(self, migrator: psycopg.Connection) -> None:
        ask(migrator, "select vault.create_secret('s')")
        for role in ("anon", "authenticated", "authenticator"):
            for statement in (
                "select vault.create_secret('s')",
                "table vault.decrypted_secrets",
                "table vault.secrets",
            ):
                with as_role(migrator, role), pytest.raises(FORBIDDEN):
                    migrator.execute(statement.encode())

    def test_a_definer_function_opens_it_for_others(self, migrator: psycopg.Connection) -> None:
        migrator.execute(
            "create function public.reveal(p_id uuid) returns text language sql security definer"
            " set search_path = '' as 'select decrypted_secret from vault.decrypted_secrets where id = p_id'"
        )
        identity = ask(migrator, "select vault.create_secret('through the door')")
        with as_role(migrator, "authenticated"):
            assert ask(migrator, "select public.reveal(%s)", identity) == "through the door"

    def test_the_functions_are_the_only_way_in(self, migrator: psycopg.Connection) -> None:
        ask(migrator, "select vault.create_secret('s')")
        denied = (
            "insert into vault.secrets (secret) values ('plain')",
            "update vault.secrets set secret = 'plain'",
            "update vault.decrypted_secrets set name = 'other'",
            "select vault._crypto_aead_det_encrypt('m', 'a', 0, 'pgsodium', 'n')",
            "select vault._root_key()",
        )
        for role in ("postgres", "service_role"):
            for statement in denied:
                with as_role(migrator, role), pytest.raises(FORBIDDEN):
                    migrator.execute(statement.encode())
            with as_role(migrator, role):
                assert migrator.execute("delete from vault.secrets").rowcount == 1

    def test_no_foreign_key_points_at_it(self, migrator: psycopg.Connection) -> None:
        with pytest.raises(FORBIDDEN):
            migrator.execute("create table public.linked (secret uuid references vault.secrets)")

    def test_names_are_unique_unless_null(self, migrator: psycopg.Connection) -> None:
        ask(migrator, "select vault.create_secret('a')")
        ask(migrator, "select vault.create_secret('b')")
        ask(migrator, "select vault.create_secret('c', 'taken')")
        with pytest.raises(errors.UniqueViolation, match="secrets_name_idx"):
            ask(migrator, "select vault.create_secret('d', 'taken')")

    def test_null_is_no_secret(self, migrator: psycopg.Connection) -> None:
        with pytest.raises(errors.NotNullViolation):
            ask(migrator, "select vault.create_secret(null)")

    def test_updating_keeps_the_nonce_and_leaves_alone_what_is_null(self, migrator: psycopg.Connection) -> None:
        identity = ask(migrator, "select vault.create_secret('old', 'name', 'about')")
        before = migrator.execute("select nonce, secret from vault.secrets").fetchone()
        ask(migrator, "select vault.update_secret(%s, 'new')", identity)
        after = migrator.execute("select nonce, secret from vault.secrets").fetchone()
        assert before is not None
        assert after is not None
        assert before[0] == after[0]
        assert before[1] != after[1]
        ask(migrator, "select vault.update_secret(%s, null, null, 'other')", identity)
        row = migrator.execute("select name, description, decrypted_secret from vault.decrypted_secrets").fetchone()
        assert row == ("name", "other", "new")

    def test_updating_an_unknown_secret_succeeds_silently(self, migrator: psycopg.Connection) -> None:
        ask(migrator, "select vault.update_secret(gen_random_uuid(), 'new')")
        assert ask(migrator, "select count(*) from vault.secrets") == 0

    def test_equal_secrets_do_not_look_equal(self, migrator: psycopg.Connection) -> None:
        for _ in range(2):
            ask(migrator, "select vault.create_secret('the same')")
        assert ask(migrator, "select count(distinct secret) from vault.secrets") == 2

    def test_what_was_tampered_with_is_refused(self, root: psycopg.Connection) -> None:
        sealed = "decode(secret, 'base64')"
        for damage in (
            f"secret = encode(set_byte({sealed}, 40, 255 - get_byte({sealed}, 40)), 'base64')",
            f"secret = encode(substring({sealed} from 1 for 33), 'base64')",
            "nonce = sha256(nonce)",
            "id = gen_random_uuid()",
        ):
            ask(root, "select vault.create_secret('a secret of some length')")
            root.execute(f"update vault.secrets set {damage}".encode())
            with pytest.raises(errors.DataException, match="invalid ciphertext"):
                root.execute("table vault.decrypted_secrets")
            with pytest.raises(errors.DataException, match="invalid ciphertext"):
                root.execute("select vault.update_secret(id, 'new') from vault.secrets")
            root.execute("delete from vault.secrets")


class TestDatabases:
    def test_a_second_bootstrap_does_not_give_back_what_was_revoked(self, server: Server) -> None:
        with psycopg.connect(server.url(user="postgres"), autocommit=True) as connection:
            connection.execute("alter default privileges in schema public revoke all on tables from anon")
            connection.execute("create table public.before (id integer)")
            identity = ask(connection, "select vault.create_secret('kept')")
            bootstrap(server)
            connection.execute("create table public.after (id integer)")
            for table in ("before", "after"):
                granted = ask(connection, f"select has_table_privilege('anon', 'public.{table}', 'select')")
                assert granted is False
            kept = ask(connection, "select decrypted_secret from vault.decrypted_secrets where id = %s", identity)
            assert kept == "kept"

    def test_a_copy_has_what_its_template_has(
        self, server: Server, database: str, migrator: psycopg.Connection
    ) -> None:
        migrator.execute("create table public.kept as select 42 as answer")
        migrator.execute("revoke usage on schema public from anon")
        identity = ask(migrator, "select vault.create_secret('copied')")
        migrator.close()
        name = f"copy_{uuid.uuid4().hex}"
        create_database(server, name, template=database)
        try:
            with psycopg.connect(server.url(name, user="postgres")) as copy:
                assert ask(copy, "select answer from public.kept") == 42
                assert ask(copy, "select has_schema_privilege('anon', 'public', 'usage')") is True
                assert ask(copy, "select has_database_privilege('supabase_auth_admin', %s, 'create')", name) is True
                secret = "select decrypted_secret from vault.decrypted_secrets where id = %s"
                assert ask(copy, secret, identity) == "copied"
                with pytest.raises(errors.DuplicateDatabase):
                    create_database(server, name)
        finally:
            drop_database(server, name)

    def test_dropping_ends_the_sessions(self, server: Server) -> None:
        name = f"dropped_{uuid.uuid4().hex}"
        create_database(server, name)
        with psycopg.connect(server.url(name, user="postgres"), autocommit=True) as connection:
            drop_database(server, name)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
        drop_database(server, name)

    def test_secrets_survive_a_crash(self, server: Server, database: str, migrator: psycopg.Connection) -> None:
        ask(migrator, "select vault.create_secret('durable')")
        postgres.kill(server.state)
        assert postgres.start(server.state) == server
        with psycopg.connect(server.url(database, user="postgres")) as connection:
            assert ask(connection, "select decrypted_secret from vault.decrypted_secrets") == "durable"
