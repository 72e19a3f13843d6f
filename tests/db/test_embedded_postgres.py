"""The embedded Postgres keeps its promises: found again, crash-proof, closed, and gone when it should be."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox import binaries, postgres, processes
from sandbox.ports import Reservation
from sandbox.postgres import PostgresError, Server
from sandbox.state import CHECKOUT


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose cluster, if the test makes one, is removed afterwards."""
    folder = tmp_path / "state"
    yield folder
    postgres.destroy(folder)


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """One throw-away cluster for the tests that only look."""
    with postgres.ephemeral() as server:
        yield server


def ask(server: Server, question: str) -> str:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


def postmaster(server: Server) -> int:
    pid = processes.postmaster(server.data_dir)
    assert pid is not None
    return pid


def python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def eventually(holds: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_it_is_a_durable_cluster_with_checksums(state: Path) -> None:
    server = postgres.start(state)
    assert ask(server, "show fsync") == "on"
    assert ask(server, "show full_page_writes") == "on"
    assert ask(server, "show synchronous_commit") == "on"
    assert ask(server, "show data_checksums") == "on"
    assert ask(server, "show server_encoding") == "UTF8"
    assert ask(server, "select lower('É')") == "é" or ask(server, "show lc_ctype") == "C"
    assert int(ask(server, "show max_connections")) >= 300
    assert int(ask(server, "show server_version_num")) >= 160000
    assert ask(server, "select current_user || ' ' || rolsuper from pg_roles where rolname = current_user") == (
        "supabase_admin true"
    )


def test_only_this_machine_reaches_it_and_only_with_the_password(shared: Server) -> None:
    assert ask(shared, "show listen_addresses") == "127.0.0.1"
    assert ask(shared, "show unix_socket_directories") == ""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shared.url(password="wrong"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(shared.url(password=""))


def test_secrets_are_readable_by_their_owner_alone(shared: Server) -> None:
    for folder in (shared.state, shared.state / "postgres", shared.data_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shared.role_password("somebody else")
    kept = list((shared.state / "postgres" / "passwords").iterdir())
    assert len(kept) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}
    assert shared.password not in repr(shared)
    assert len(shared.password) >= 32


def test_a_url_survives_awkward_names(shared: Server) -> None:
    parsed = psycopg.conninfo.conninfo_to_dict(shared.url("a/b?c", user="d@e:f", password="g#h/i"))
    assert (parsed["dbname"], parsed["user"], parsed["password"]) == ("a/b?c", "d@e:f", "g#h/i")


def test_it_runs_as_an_account_that_is_not_root(shared: Server) -> None:
    account = binaries.account()
    expected = account.pw_uid if account else os.getuid()
    assert expected != 0
    assert shared.data_dir.stat().st_uid == expected
    # The postmaster writes this file itself.
    assert (shared.data_dir / "postmaster.pid").stat().st_uid == expected


def test_starting_again_finds_the_running_one(state: Path) -> None:
    first = postgres.start(state)
    pid = postmaster(first)
    assert postgres.start(state) == first
    assert postmaster(first) == pid
    assert postgres.status(state) == first


def test_data_port_and_passwords_survive_a_stop(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = postgres.start(state)
    with psycopg.connect(first.url()) as connection:
        connection.execute("create table kept as select 42 as answer")
    postgres.stop(state)
    assert postgres.status(state) is None
    assert processes.of_cluster(first.data_dir) == []
    postgres.stop(state)
    with monkeypatch.context() as choice:
        choice.setattr("sandbox.ports.RANGE", range(first.port, first.port + 1))
        with pytest.raises(OSError, match="no free TCP port"):
            Reservation()  # whoever looks for a port meanwhile does not get this one
    assert postgres.start(state) == first
    assert ask(first, "select answer from kept") == "42"


def test_a_killed_server_comes_back_with_what_was_committed(state: Path) -> None:
    server = postgres.start(state)
    with psycopg.connect(server.url()) as connection:
        connection.execute("create table ledger (entry integer)")
        connection.execute("insert into ledger values (1)")
        connection.commit()
        connection.execute("insert into ledger values (2)")
        postgres.kill(state)
        assert processes.of_cluster(server.data_dir) == []
        with contextlib.suppress(psycopg.OperationalError):
            connection.rollback()
    assert postgres.start(state) == server
    assert ask(server, "select string_agg(entry::text, ',') from ledger") == "1"


def test_backends_that_outlive_their_postmaster_are_ended(state: Path) -> None:
    server = postgres.start(state, durable=False)
    script = f"import psycopg; psycopg.connect({server.url()!r}).execute('select pg_sleep(60)')"
    client = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    eventually(lambda: ask(server, asleep) == "1")
    os.kill(postmaster(server), signal.SIGKILL)
    assert postgres.start(state) == server
    assert ask(server, "select 1") == "1"
    assert client.wait(120) != 0


def test_a_pid_file_that_names_a_stranger_is_seen_through(state: Path) -> None:
    server = postgres.start(state, durable=False)
    pid_file = server.data_dir / "postmaster.pid"
    content = pid_file.read_text().split("\n")
    postgres.kill(state)
    account = binaries.account()
    stranger = subprocess.Popen(["sleep", "60"], user=account.pw_uid if account else None)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *content[1:]]))
        assert postgres.status(state) is None
        postgres.stop(state)
        postgres.kill(state)
        assert postgres.start(state) == server
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_another_port_is_taken_when_ours_is_gone(state: Path) -> None:
    first = postgres.start(state, durable=False)
    postgres.stop(state)
    with socket.create_server((first.host, first.port)):
        second = postgres.start(state)
        assert second.port != first.port
        assert ask(second, "select 1") == "1"
    postgres.stop(state)
    assert postgres.start(state) == second


def test_two_states_do_not_meet(state: Path, shared: Server) -> None:
    mine = postgres.start(state, durable=False)
    assert mine.port != shared.port
    assert mine.data_dir != shared.data_dir
    assert mine.password != shared.password
    postgres.destroy(state)
    assert postgres.status(state) is None
    assert not mine.data_dir.exists()
    assert ask(shared, "select 1") == "1"


def test_concurrent_starts_make_one_cluster(state: Path) -> None:
    starters = [python("-m", "sandbox.postgres", "--state", str(state), "start") for _ in range(3)]
    said = {starter.communicate(timeout=120)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    server = postgres.status(state)
    assert server is not None
    assert said == {f"Postgres listens on 127.0.0.1:{server.port}, data in {server.data_dir}\n"}


def test_neither_the_starters_end_nor_its_terminal_stops_it(state: Path) -> None:
    starter = python("-m", "sandbox.postgres", "--state", str(state), "start")
    starter.communicate(timeout=120)
    assert starter.returncode == 0
    server = postgres.status(state)
    assert server is not None
    # Ctrl-C goes to a process group of the terminal's session: the server has a session of its own.
    for pid in processes.of_cluster(server.data_dir):
        assert os.getsid(pid) != os.getsid(0)
        assert os.getpgid(pid) != os.getpgid(0)
    assert ask(server, "select 1") == "1"


def test_a_state_directory_that_was_removed_is_a_fresh_start(state: Path) -> None:
    first = postgres.start(state, durable=False)
    old = postmaster(first)
    subprocess.run(["rm", "-rf", str(state)], check=True)
    second = postgres.start(state, durable=False)
    assert second.password != first.password
    assert old not in processes.of_cluster(second.data_dir)
    assert ask(second, "select 1") == "1"


def test_a_server_that_cannot_start_says_why(state: Path) -> None:
    server = postgres.start(state, durable=False)
    postgres.stop(state)
    with (server.data_dir / "postgresql.conf").open("a") as file:
        file.write("\nnonsense = maybe\n")
    with pytest.raises(PostgresError, match='unrecognized configuration parameter "nonsense"'):
        postgres.start(state)


def test_a_cluster_of_another_version_is_refused(state: Path) -> None:
    server = postgres.start(state, durable=False)
    postgres.stop(state)
    (server.data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="made by Postgres 9"):
        postgres.start(state)


def test_the_command_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--state", str(state)]
    assert postgres.main([*arguments, "status"]) == 3
    assert postgres.main([*arguments, "start"]) == 0
    server = postgres.status(state)
    assert server is not None
    capsys.readouterr()
    assert postgres.main([*arguments, "psql-url", "--database", "template1"]) == 0
    assert capsys.readouterr().out == server.url("template1") + "\n"
    assert postgres.main([*arguments, "stop"]) == 0
    assert postgres.main([*arguments, "psql-url"]) == 3
    assert postgres.main([*arguments, "destroy"]) == 0
    assert not (state / "postgres").exists()


def test_a_throw_away_cluster_leaves_nothing() -> None:
    with postgres.ephemeral() as server:
        assert ask(server, "show fsync") == "off"
        postgres.kill(server.state)
        assert postgres.start(server.state) == server
        assert ask(server, "select 1") == "1"
    assert not server.state.exists()
    assert not server.data_dir.parent.exists()
    assert processes.of_cluster(server.data_dir) == []


def test_a_throw_away_cluster_goes_even_when_its_owner_is_killed() -> None:
    script = (
        "import time; from sandbox import postgres\n"
        "with postgres.ephemeral() as server:\n"
        "    print(server.state, server.data_dir, flush=True); time.sleep(600)"
    )
    owner = python("-c", script)
    assert owner.stdout is not None
    state, data_dir = (Path(word) for word in owner.stdout.readline().split())
    assert processes.of_cluster(data_dir)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    eventually(lambda: not state.exists() and not data_dir.exists())
    assert processes.of_cluster(data_dir) == []


def test_programs_below_a_closed_directory_are_made_reachable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    bin_dir = closed / "package" / "pginstall" / "bin"
    bin_dir.mkdir(parents=True)
    closed.chmod(0o700)
    for program in binaries.PROGRAMS:
        # The version is this test's own, so that its copy cannot be mistaken for another.
        (bin_dir / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) 16.{os.getpid()}'\n")
        (bin_dir / program).chmod(0o700)
    environment = os.environ | {"COUNTERSIGN_POSTGRES_BIN": str(bin_dir)}
    script = "from sandbox import binaries; print(binaries.locate())"
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    located = Path(found.stdout.strip())
    account = binaries.account()
    try:
        said = subprocess.run(
            [located / "postgres"],
            user=account.pw_uid if account else None,
            cwd="/",
            capture_output=True,
            check=True,
        )
        assert f"16.{os.getpid()}".encode() in said.stdout
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert (located == bin_dir.resolve()) == (account is None)
    finally:
        if account is not None:
            subprocess.run(["rm", "-rf", str(located.parents[2])], check=True)
