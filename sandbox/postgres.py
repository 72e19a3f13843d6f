"""The embedded Postgres: one real cluster per state directory, started, found again, killed and removed.

It listens on 127.0.0.1 alone, with passwords (SCRAM) and without a Unix socket, runs in its own session so
that neither the end of the starting process nor a Ctrl-C reaches it, and is durable by default.

    python -m sandbox.postgres start | status | stop | kill | destroy
    python -m sandbox.postgres psql-url [--database NAME] [--user ROLE]
"""

import argparse
import contextlib
import dataclasses
import fcntl
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg

from sandbox import cluster as clusters
from sandbox import processes
from sandbox.binaries import BinariesError
from sandbox.cluster import START_SECONDS, SUPERUSER, Cluster, PostgresError
from sandbox.state import CHECKOUT, HOST, private_dir, state_dir

STOP_SECONDS = 180.0
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

__all__ = [
    "BinariesError",
    "PostgresError",
    "Server",
    "destroy",
    "ephemeral",
    "kill",
    "start",
    "status",
    "stop",
]


@dataclasses.dataclass(frozen=True)
class Server:
    """A cluster and how to reach it; says nothing about whether it still runs (`status` does)."""

    host: str
    port: int
    data_dir: Path
    superuser: str
    password: str = dataclasses.field(repr=False)
    state: Path

    def url(self, database: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        """A libpq URL. `user` is the superuser unless named, the password what `role_password` keeps."""
        user = user or self.superuser
        password = password if password is not None else self.role_password(user)
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        # The embedded server speaks no TLS: asking for none saves every connection a round trip.
        return f"postgresql://{credentials}@{self.host}:{self.port}/{quote(database, safe='')}?sslmode=disable"

    def role_password(self, user: str) -> str:
        """The random password kept for a role; on first use it is made, but not yet set in the database."""
        return self.password if user == self.superuser else clusters.role_password(self.state, user)


def start(state: Path, *, durable: bool = True) -> Server:
    """Start the cluster of `state`, making it first if there is none, or attach to the running one.

    Idempotent and safe against concurrent callers. Recovers after a crash: stale pid files are seen through,
    processes that outlived their postmaster are ended. Returns when the server accepts connections.
    `durable=False` matters only when the cluster is made. Raises PostgresError, BinariesError.
    """
    with _locked(state):
        cluster = clusters.read(state) or clusters.create(state, durable)
        if not (cluster.data_dir / "PG_VERSION").exists():
            clusters.initialise(cluster)
        if processes.postmaster(cluster.data_dir) is not None:
            # It may be dying while we look.
            with contextlib.suppress(_GoneError):
                return _ready(cluster)
        return _ready(clusters.launch(cluster))


def stop(state: Path, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
    """Stop the cluster of `state` and wait for its end; nothing happens when it does not run.

    Raises PostgresError when it does not stop within three minutes (mode `smart` waits for its clients).
    """
    with _locked(state):
        cluster = clusters.read(state)
        pid = processes.postmaster(cluster.data_dir) if cluster else None
        if cluster is None or pid is None:
            return
        processes.send(pid, STOP_SIGNALS[mode])
        if not processes.wait_for_none(cluster.data_dir, STOP_SECONDS):
            raise PostgresError(
                f"Postgres (pid {pid}) did not stop in {STOP_SECONDS:.0f} s\n{clusters.log_tail(cluster)}"
            )


def kill(state: Path) -> None:
    """SIGKILL the postmaster and all its children, as a crash would; data, port and passwords stay."""
    with _locked(state):
        cluster = clusters.read(state)
        if cluster is not None:
            processes.kill_all(cluster.data_dir)


def status(state: Path) -> Server | None:
    """The running server of `state`, or None when it does not run."""
    cluster = clusters.read(state)
    if cluster is None or processes.postmaster(cluster.data_dir) is None:
        return None
    return _server(cluster)


def destroy(state: Path) -> None:
    """Kill the cluster of `state` and remove its data, log and passwords for good."""
    with _locked(state):
        cluster = clusters.read(state)
        if cluster is not None:
            processes.kill_all(cluster.data_dir)
            shutil.rmtree(cluster.home, ignore_errors=True)
        clusters.let_go(state)
        shutil.rmtree(clusters.folder(state), ignore_errors=True)


@contextlib.contextmanager
def ephemeral(*, durable: bool = False) -> Iterator[Server]:
    """A throw-away cluster in a temporary directory, removed at exit.

    A watcher process removes it even when this process is killed: it waits for the end of a pipe that only
    this process holds. `kill(server.state)` and `start(server.state)` work on it as on any other.
    """
    state = Path(tempfile.mkdtemp(prefix="countersign-")).resolve()
    watcher = subprocess.Popen(
        [sys.executable, "-m", "sandbox.postgres", "--state", str(state), "watch"],
        stdin=subprocess.PIPE,
        cwd=CHECKOUT,
        start_new_session=True,
    )
    try:
        yield start(state, durable=durable)
    finally:
        # The same way out as for a killed process, so that it is exercised every time.
        watcher.communicate(timeout=STOP_SECONDS)
        if watcher.returncode != 0:
            _remove(state)
        clusters.let_go(state)


def _remove(state: Path) -> None:
    destroy(state)
    shutil.rmtree(state, ignore_errors=True)


def _server(cluster: Cluster) -> Server:
    password = clusters.role_password(cluster.state, SUPERUSER)
    return Server(HOST, cluster.port, cluster.data_dir, SUPERUSER, password, cluster.state)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One starter or stopper at a time. The lock is the kernel's: it goes with the process that holds it."""
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
    with (private_dir(state) / "postgres.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PostgresError(f"another process holds {file.name}") from None
                time.sleep(0.05)
        yield


class _GoneError(PostgresError):
    """The postmaster is not there any more."""


def _ready(cluster: Cluster) -> Server:
    """Wait until the server answers, and make sure that it is ours that answers."""
    server = _server(cluster)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(server.url(), connect_timeout=10) as connection:
                row = connection.execute("show data_directory").fetchone()
            if row is None or Path(row[0]) != cluster.data_dir:
                raise PostgresError(f"another cluster answers on port {server.port}: {row}")
            return server
        except psycopg.OperationalError as error:
            hopeless = "password authentication failed" in str(error)
            gone = processes.postmaster(cluster.data_dir) is None
            if hopeless or gone or time.monotonic() > deadline:
                raised = _GoneError if gone else PostgresError
                raise raised(f"Postgres does not answer: {error}\n{clusters.log_tail(cluster)}") from error
            time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (3 when the server does not run and ought to)."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.postgres", description="The embedded Postgres")
    parser.add_argument("--state", type=Path, help="state directory (default: COUNTERSIGN_STATE or .state)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start it, making it first if there is none")
    commands.add_parser("stop", help="stop it, ending its clients' sessions")
    commands.add_parser("status", help="say whether it runs (exit status 3: it does not)")
    commands.add_parser("kill", help="kill it as a crash would; the data stays")
    commands.add_parser("destroy", help="kill it and remove its data")
    commands.add_parser("watch", help="wait for the end of standard input, then destroy it and its state")
    url = commands.add_parser("psql-url", help="print its libpq URL, password included")
    url.add_argument("--database", default="postgres")
    url.add_argument("--user", default=SUPERUSER)
    given = parser.parse_args(arguments)
    state = given.state.resolve() if given.state else state_dir()
    try:
        return _obey(given, state)
    except (PostgresError, BinariesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _obey(given: argparse.Namespace, state: Path) -> int:
    match given.command:
        case "start":
            server = start(state)
            print(f"Postgres listens on {server.host}:{server.port}, data in {server.data_dir}")
        case "status" | "psql-url":
            running = status(state)
            if running is None:
                print("Postgres does not run", file=sys.stderr)
                return 3
            if given.command == "status":
                print(f"Postgres runs on {running.host}:{running.port}, data in {running.data_dir}")
            else:
                print(running.url(given.database, given.user))
        case "stop":
            stop(state)
        case "kill":
            kill(state)
        case "destroy":
            destroy(state)
        case "watch":
            sys.stdin.buffer.read()
            _remove(state)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
