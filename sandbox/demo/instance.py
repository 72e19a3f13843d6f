"""One demo at a time in one state directory: the earlier one is stopped, and what it left is removed."""

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import postgres
from sandbox.stack import end_leftovers
from sandbox.state import private_dir

STOP_SECONDS = 90.0


class BusyError(RuntimeError):
    """An earlier demo does not stop, or its state cannot be removed."""


@contextmanager
def fresh(root: Path) -> Iterator[Path]:
    """An empty directory `demo` below `root`, ours alone until the end; its content stays for who wants to look."""
    state = root / "demo"
    with _alone(root):
        remove(state)
        yield private_dir(state)


def remove(state: Path) -> None:
    """Ends whatever still runs on this state, and removes it. Raises BusyError when it cannot."""
    if not state.exists():
        return
    try:
        end_leftovers(state)
        postgres.destroy(state)
        shutil.rmtree(state)
    except PermissionError as error:
        raise BusyError(f"{error.filename} belongs to somebody else: remove {state} as that account") from error


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Holds the lock of this checkout's demo; asks an earlier demo that holds it to stop, as Ctrl-C would."""
    path = root / "demo.lock"
    with path.open("a+") as file:
        deadline = time.monotonic() + STOP_SECONDS
        asked: set[int] = set()
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise BusyError(f"an earlier demo holds {path} and does not stop")
            file.seek(0)
            with contextlib.suppress(ValueError, ProcessLookupError):
                pid = int(file.read())
                # Whoever holds the kernel's lock wrote this number; it is no relic of a process long gone.
                if pid not in asked and pid != os.getpid():
                    asked.add(pid)
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
