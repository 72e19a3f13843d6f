"""The files and programs of one cluster: made with initdb, launched with pg_ctl, run as its own account.

`sandbox.postgres` is the way in; what is here expects its caller to hold the lock of the state directory.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from sandbox import binaries, processes
from sandbox.ports import Reservation
from sandbox.state import HOST, private_dir, secret, write_private

SUPERUSER = "supabase_admin"
START_SECONDS = 120.0
LOG_BYTES = 16 * 1024 * 1024

# Given on the command line, so that neither a file nor ALTER SYSTEM moves them.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Beside the data, to be removed with them when the cluster is killed; elsewhere it would stay in memory.
    "dynamic_shared_memory_type": "mmap",
}
# A throw-away cluster need not survive the machine. It does survive the death of its processes: what it
# committed is with the kernel, which synchronous_commit=off would not promise.
VOLATILE_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}

#: The ports of clusters that this process has launched: while one is down, nobody else gets its port by chance.
_HOLDERS: dict[Path, Reservation] = {}


class PostgresError(Exception):
    """The cluster could not be made, started or stopped; the message ends with the tail of its log."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What the state directory remembers: where the cluster lives, its port, and whether it is durable."""

    state: Path
    home: Path
    port: int
    durable: bool

    @property
    def data_dir(self) -> Path:
        """The data directory proper."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "server.log"

    def write(self) -> None:
        """Remember this in the state directory."""
        kept = {"home": str(self.home), "port": self.port, "durable": self.durable}
        write_private(private_dir(folder(self.state)) / "cluster.json", json.dumps(kept) + "\n")


def folder(state: Path) -> Path:
    """The cluster's part of the state directory."""
    return state / "postgres"


def role_password(state: Path, role: str) -> str:
    """The password kept for a role, made on first use."""
    return secret(private_dir(folder(state) / "passwords") / quote(role, safe=""))


def read(state: Path) -> Cluster | None:
    """The cluster that the state directory remembers, if any."""
    try:
        kept = json.loads((folder(state) / "cluster.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Cluster(state, Path(kept["home"]), int(kept["port"]), bool(kept["durable"]))


def create(state: Path, durable: bool) -> Cluster:
    """Choose the cluster's home: in the state directory where that will do.

    The state directory is closed to every other account, so root's cluster lives among the system's temporary
    files. A throw-away cluster lives in memory if there is room: making the thousand files of a database, again
    and again, costs a disk's file system ten times as much. Either is a directory named after the state path
    and open to the cluster's account alone. What is found running or lying there belonged to a state directory
    that was removed, passwords included: it goes too.
    """
    account = binaries.account()
    parent = None if durable else binaries.memory_parent()
    if account is not None and parent is None:
        parent = binaries.shared_parent()
    if parent is None:
        home = private_dir(folder(state)).resolve()
        processes.kill_all(home / "data")
    else:
        name = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:20]
        home = parent / f"countersign-{name}"
        processes.kill_all(home / "data")
        if home.is_dir() and not home.is_symlink():
            shutil.rmtree(home)
        home.mkdir(mode=0o700)
        if account is not None:
            os.chown(home, account.pw_uid, account.pw_gid)
    with Reservation() as port:
        chosen = Cluster(state, home, port.port, durable)
    chosen.write()
    return chosen


def initialise(cluster: Cluster) -> None:
    """Run initdb in a scratch directory, then rename: an interrupted run leaves no half-made cluster."""
    for leftover in cluster.home.glob("new-[0-9]*"):
        shutil.rmtree(leftover)
    scratch = cluster.home / f"new-{os.getpid()}"
    # The account that runs initdb must be able to read the password, and nobody else.
    password = cluster.home / "new-password"
    write_private(password, role_password(cluster.state, SUPERUSER))
    account = binaries.account()
    if account is not None:
        os.chown(password, account.pw_uid, account.pw_gid)
    arguments = [
        *("-D", str(scratch), "-U", SUPERUSER, f"--pwfile={password}", "--auth=scram-sha-256"),
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
        password.unlink()
    if made.returncode != 0:
        raise PostgresError(f"initdb failed in {cluster.home}:\n{made.stdout}{made.stderr}")
    scratch.rename(cluster.data_dir)


def launch(cluster: Cluster) -> Cluster:
    """Start the postmaster, on another port if somebody took ours meanwhile; returns what is true then."""
    _check_version(cluster)
    _clear_after_crash(cluster)
    if cluster.log.exists() and cluster.log.stat().st_size > LOG_BYTES:
        cluster.log.replace(cluster.log.with_suffix(".log.1"))
    for _ in range(5):
        port = _held(cluster.port)
        if port.port != cluster.port:
            cluster = dataclasses.replace(cluster, port=port.port)
            cluster.write()
        settings = SETTINGS | ({} if cluster.durable else VOLATILE_SETTINGS) | {"port": str(cluster.port)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = ["start", "-D", str(cluster.data_dir), "-l", str(cluster.log), "-o", options]
        wait = ["-w", "-t", str(int(START_SECONDS))]
        begun = cluster.log.stat().st_size if cluster.log.exists() else 0
        let_go(cluster.state)
        _HOLDERS[cluster.state] = port
        started = _run("pg_ctl", [*arguments, *wait], cluster, START_SECONDS + 10)
        if started.returncode == 0:
            return cluster
        if "could not bind" not in log_tail(cluster, begun):
            break
    raise PostgresError(f"Postgres did not start: {started.stderr.strip()}\n{log_tail(cluster, begun)}")


def let_go(state: Path) -> None:
    """Gives up the port of a cluster that this process has launched and will not launch again."""
    held = _HOLDERS.pop(state, None)
    if held is not None:
        held.release()


def _held(port: int) -> Reservation:
    """`port`, or another when somebody has it."""
    try:
        return Reservation(port)
    except OSError:
        return Reservation()


def log_tail(cluster: Cluster, begin: int = 0) -> str:
    """The end of the log, nothing from before byte `begin`."""
    with contextlib.suppress(OSError), cluster.log.open("rb") as file:
        file.seek(max(begin, cluster.log.stat().st_size - 4000))
        return file.read().decode("utf-8", "replace")
    return "(no log)"


def _check_version(cluster: Cluster) -> None:
    made_by = (cluster.data_dir / "PG_VERSION").read_text(encoding="utf-8").strip()
    found = binaries.major_version(binaries.locate())
    if made_by != str(found):
        raise PostgresError(
            f"the cluster in {cluster.data_dir} was made by Postgres {made_by}, but {found} was found: "
            f"bring back {made_by}, or remove the cluster (python -m sandbox.postgres destroy)"
        )


def _clear_after_crash(cluster: Cluster) -> None:
    """End processes that outlived their postmaster, then drop a pid file that names nobody of ours.

    Postgres itself would take a reused pid of the same account for a running postmaster and refuse to start.
    """
    if not processes.wait_for_none(cluster.data_dir, seconds=5):
        processes.kill_all(cluster.data_dir)
    if processes.PROC.is_dir():
        (cluster.data_dir / "postmaster.pid").unlink(missing_ok=True)


def _run(program: str, arguments: Sequence[str], cluster: Cluster, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres's programs as its account, with a clean environment, away from our terminal."""
    account = binaries.account()
    try:
        return subprocess.run(
            [str(binaries.locate() / program), *arguments],
            cwd=cluster.home,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
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
        raise PostgresError(f"{program} could not run: {error}\n{log_tail(cluster)}") from error
