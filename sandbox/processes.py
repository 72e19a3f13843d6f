"""Which processes belong to a Postgres data directory: the question that a pid file cannot answer.

Every Postgres process has its data directory as its working directory, so that is what is looked at: a
pid from a file of before a reboot may by now be anybody's.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")


def of_cluster(data_dir: Path) -> list[int]:
    """The living processes of the cluster in `data_dir`, its postmaster included; zombies are not living."""
    if (PROC / "self" / "cwd").exists():
        return _by_working_directory(data_dir)
    return _by_command_line(data_dir)


def postmaster(data_dir: Path) -> int | None:
    """The running postmaster of `data_dir`, or None. Its pid file is believed only if the process agrees."""
    try:
        pid = int((data_dir / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid in of_cluster(data_dir) else None


def wait_for_none(data_dir: Path, seconds: float) -> bool:
    """Wait until no process of the cluster lives; False when some still do after `seconds`."""
    deadline = time.monotonic() + seconds
    while of_cluster(data_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill_all(data_dir: Path, seconds: float = 60) -> None:
    """SIGKILL every process of the cluster, the postmaster first so that it cannot start new ones.

    Raises TimeoutError when some outlive the signal for `seconds` (a process stuck in the kernel).
    """
    deadline = time.monotonic() + seconds
    first = postmaster(data_dir)
    if first is not None:
        send(first, signal.SIGKILL)
    while pids := of_cluster(data_dir):
        for pid in pids:
            send(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of {data_dir} do not die")
        time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _by_working_directory(data_dir: Path) -> list[int]:
    # The kernel marks a directory that was removed under a living process.
    wanted = {str(data_dir), f"{data_dir} (deleted)"}
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            # Gone meanwhile, a zombie, or somebody else's: not ours in any case.
            with contextlib.suppress(OSError):
                if str((entry / "cwd").readlink()) in wanted:
                    found.append(int(entry.name))
    return found


def _by_command_line(data_dir: Path) -> list[int]:
    """macOS has no /proc: the postmaster names its directory in `-D`, the others are its children."""
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,command="],  # noqa: S607 - ps is wherever PATH says
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    rows = [line.split(None, 3) for line in listing.stdout.splitlines()]
    living = [(int(row[0]), int(row[1]), row[3]) for row in rows if len(row) == 4 and "Z" not in row[2]]
    roots = {pid for pid, _, command in living if "postgres" in command and f"-D {data_dir}" in command}
    return [pid for pid, parent, _ in living if pid in roots or parent in roots]
