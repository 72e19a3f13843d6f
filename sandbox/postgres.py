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
import hashlib
import json
import os
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

from sandbox import binaries, processes
from sandbox.state import (
    CHECKOUT,
    HOST,
    free_port,
    port_is_free,
    private_dir,
    secret,
    state_dir,
    write_private,
)

SUPERUSER = "supabase_admin"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
LOG_BYTES = 16 * 1024 * 1024
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Given on the command line, so that neither a file nor ALTER SYSTEM moves them.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A throw-away cluster need not survive the machine; it still survives the death of its processes.
VOLATILE_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresError(Exception):
    """The cluster could not be made, started or stopped; the message ends with the tail of its log."""


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
        return (
            f"postgresql://{credentials}@{self.host}:{self.port}/{quote(database, safe='')}?sslmode=disable"
        )

    def role_password(self, user: str) -> str:
        """The random password kept for a role; on first use it is made, but not yet set in the database."""
        return self.password if user == self.superuser else _password(self.state, user)


@dataclasses.dataclass(frozen=True)
class _Cluster:
    """What the state directory remembers: where the cluster lives, its port, and whether it is durable."""

    home: Path
    port: int
    durable: bool

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"


def start(state: Path, *, durable: bool = True) -> Server:
    """Start the cluster of `state`, making it first if there is none, or attach to the running one.

    Idempotent and safe against concurrent callers. Recovers after a crash: stale pid files are seen through,
    processes that outlived their postmaster are ended. Returns when the server accepts connections.
    `durable=False` matters only when the cluster is made. Raises PostgresError, BinariesError.
    """
    with _locked(state):
        cluster = _read(state) or _create(state, durable)
        if not (cluster.data_dir / "PG_VERSION").exists():
            _initialise(state, cluster)
        if processes.postmaster(cluster.data_dir) is None:
            cluster = _launch(state, cluster)
        server = _server(state, cluster)
        _wait_until_ready(server, cluster)
        return server


def stop(state: Path, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
    """Stop the cluster of `state` and wait for its end; nothing happens when it does not run."""
    with _locked(state):
        cluster = _read(state)
        if cluster is not None:
            _stop(cluster, STOP_SIGNALS[mode])


def kill(state: Path) -> None:
    """SIGKILL the postmaster and all its children, as a crash would; data, port and passwords stay."""
    with _locked(state):
        cluster = _read(state)
        if cluster is not None:
            processes.kill_all(cluster.data_dir)


def status(state: Path) -> Server | None:
    """The running server of `state`, or None when it does not run."""
    cluster = _read(state)
    if cluster is None or processes.postmaster(cluster.data_dir) is None:
        return None
    return _server(state, cluster)


def destroy(state: Path) -> None:
    """Kill the cluster of `state` and remove its data, log and passwords for good."""
    with _locked(state):
        cluster = _read(state)
        if cluster is not None:
            processes.kill_all(cluster.data_dir)
            shutil.rmtree(cluster.home / "data", ignore_errors=True)
            if cluster.home != _folder(state):
                shutil.rmtree(cluster.home, ignore_errors=True)
        shutil.rmtree(_folder(state), ignore_errors=True)


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


def _folder(state: Path) -> Path:
    return state / "postgres"


def _password(state: Path, role: str) -> str:
    return secret(private_dir(_folder(state) / "passwords") / quote(role, safe=""))


def _server(state: Path, cluster: _Cluster) -> Server:
    return Server(HOST, cluster.port, cluster.data_dir, SUPERUSER, _password(state, SUPERUSER), state)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One starter or stopper at a time. The lock is the kernel's: it goes with the process that holds it."""
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
    private_dir(state)
    with (state / "postgres.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PostgresError(f"another process holds {file.name}") from None
                time.sleep(0.05)
        yield


def _read(state: Path) -> _Cluster | None:
    try:
        kept = json.loads((_folder(state) / "cluster.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return _Cluster(Path(kept["home"]), int(kept["port"]), bool(kept["durable"]))


def _write(state: Path, cluster: _Cluster) -> None:
    kept = {"home": str(cluster.home), "port": cluster.port, "durable": cluster.durable}
    write_private(private_dir(_folder(state)) / "cluster.json", json.dumps(kept) + "\n")


def _create(state: Path, durable: bool) -> _Cluster:
    """Choose the cluster's home: in the state directory, or, as root, where its account can live.

    The state directory is closed to every other account, so root's cluster lives among the system's
    temporary files in a directory named after the state path. One that the state does not know is a leftover
    of a state directory that was removed: its passwords are gone with it, so it goes too.
    """
    account = binaries.account()
    if account is None:
        home = private_dir(_folder(state)).resolve()
    else:
        name = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:20]
        home = binaries.shared_parent() / f"countersign-{name}"
        if home.is_dir() and not home.is_symlink():
            processes.kill_all(home / "data")
            shutil.rmtree(home)
        home.mkdir(mode=0o700)
        os.chown(home, account.pw_uid, account.pw_gid)
    cluster = _Cluster(home, free_port(), durable)
    _write(state, cluster)
    return cluster


def _initialise(state: Path, cluster: _Cluster) -> None:
    """initdb into a scratch directory, then rename: an interrupted initdb leaves no half-made cluster."""
    for leftover in cluster.home.glob("data.new*"):
        shutil.rmtree(leftover)
    scratch = cluster.home / f"data.new{os.getpid()}"
    passwords = cluster.home / f"data.new{os.getpid()}.password"
    write_private(passwords, _password(state, SUPERUSER))
    account = binaries.account()
    if account is not None:
        os.chown(passwords, account.pw_uid, account.pw_gid)
    arguments = [
        *("-D", str(scratch), "-U", SUPERUSER, f"--pwfile={passwords}", "--auth=scram-sha-256"),
        *("--encoding=UTF8", "--data-checksums", "--no-instructions"),
        *(() if cluster.durable else ("--no-sync",)),
    ]
    try:
        # Hosted projects collate by C.UTF-8; a C library without it still has C.
        for locale in ("C.UTF-8", "C"):
            made = _run("initdb", [*arguments, f"--locale={locale}"], cluster, START_SECONDS)
            if made.returncode == 0 or "locale" not in made.stderr:
                break
    finally:
        passwords.unlink()
    if made.returncode != 0:
        raise PostgresError(f"initdb failed in {cluster.home}:\n{made.stdout}{made.stderr}")
    scratch.rename(cluster.data_dir)


def _launch(state: Path, cluster: _Cluster) -> _Cluster:
    """Start the postmaster, on another port if somebody took ours meanwhile."""
    _check_version(cluster)
    _clear_after_crash(cluster)
    if cluster.log.exists() and cluster.log.stat().st_size > LOG_BYTES:
        cluster.log.replace(cluster.log.with_suffix(".log.1"))
    for _ in range(5):
        if not port_is_free(cluster.port):
            cluster = dataclasses.replace(cluster, port=free_port())
            _write(state, cluster)
        settings = SETTINGS | ({} if cluster.durable else VOLATILE_SETTINGS) | {"port": str(cluster.port)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = ["start", "-D", str(cluster.data_dir), "-l", str(cluster.log), "-o", options]
        wait = ["-w", "-t", str(int(START_SECONDS))]
        begun = cluster.log.stat().st_size if cluster.log.exists() else 0
        started = _run("pg_ctl", [*arguments, *wait], cluster, START_SECONDS + 10)
        if started.returncode == 0:
            return cluster
        if "could not bind" not in _tail(cluster.log, begun):
            break
    raise PostgresError(f"Postgres did not start: {started.stderr.strip()}\n{_tail(cluster.log, begun)}")


def _check_version(cluster: _Cluster) -> None:
    made_by = (cluster.data_dir / "PG_VERSION").read_text(encoding="utf-8").strip()
    found = binaries.major_version(binaries.locate())
    if made_by != str(found):
        raise PostgresError(
            f"the cluster in {cluster.data_dir} was made by Postgres {made_by}, but {found} was found: "
            f"bring back {made_by}, or remove the cluster (python -m sandbox.postgres destroy)"
        )


def _clear_after_crash(cluster: _Cluster) -> None:
    """End processes that outlived their postmaster, then drop a pid file that names nobody of ours.

    Postgres itself would take a reused pid of the same account for a running postmaster and refuse to start.
    """
    if not processes.wait_for_none(cluster.data_dir, seconds=5):
        processes.kill_all(cluster.data_dir)
    if processes.PROC.is_dir():
        (cluster.data_dir / "postmaster.pid").unlink(missing_ok=True)


def _wait_until_ready(server: Server, cluster: _Cluster) -> None:
    """Wait until the server answers, and make sure that it is ours that answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(server.url(), connect_timeout=10) as connection:
                row = connection.execute("show data_directory").fetchone()
            if row is None or Path(row[0]) != cluster.data_dir:
                raise PostgresError(f"another cluster answers on port {server.port}: {row}")
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or processes.postmaster(cluster.data_dir) is None:
                raise PostgresError(f"Postgres does not answer: {error}\n{_tail(cluster.log)}") from error
            time.sleep(0.05)


def _stop(cluster: _Cluster, number: signal.Signals) -> None:
    pid = processes.postmaster(cluster.data_dir)
    if pid is None:
        return
    processes.send(pid, number)
    if not processes.wait_for_none(cluster.data_dir, STOP_SECONDS):
        raise PostgresError(
            f"Postgres (pid {pid}) did not stop in {STOP_SECONDS:.0f} s\n{_tail(cluster.log)}"
        )


def _run(
    program: str, arguments: Sequence[str], cluster: _Cluster, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres's programs as its account, with a clean environment, away from our terminal."""
    account = binaries.account()
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    command = [str(binaries.locate() / program), *arguments]
    try:
        return subprocess.run(
            command,
            cwd=cluster.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
            umask=0o077,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostgresError(f"{program} could not run: {error}\n{_tail(cluster.log)}") from error


def _tail(log: Path, begin: int = 0) -> str:
    """The last lines of the log, none from before byte `begin`."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 4000))
        return file.read().decode("utf-8", "replace")
    return "(no log)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (`status`: 3 when the server does not run)."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.postgres", description="The embedded Postgres")
    parser.add_argument("--state", type=Path, help="state directory (default: COUNTERSIGN_STATE or .state)")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "stop", "status", "kill", "destroy", "watch"):
        commands.add_parser(name)
    url = commands.add_parser("psql-url")
    url.add_argument("--database", default="postgres")
    url.add_argument("--user", default=SUPERUSER)
    given = parser.parse_args(arguments)
    state = given.state.resolve() if given.state else state_dir()
    try:
        return _obey(given, state)
    except (PostgresError, binaries.BinariesError) as error:
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
            destroy(state)
            shutil.rmtree(state, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
