"""Where the local stand-ins keep what must survive them.

Everything a stand-in writes (the cluster, keys, passwords, ports) lies below one directory, so that
removing it is a fresh start and two checkouts share nothing.
"""

import contextlib
import os
import secrets
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


def state_dir() -> Path:
    """The directory of the stand-ins' state: ``COUNTERSIGN_STATE``, else ``.state`` in the checkout.

    Created if missing, readable by its owner alone (0700). Absolute and free of symbolic links, so that
    it can serve as the identity of this installation.
    """
    configured = os.environ.get("COUNTERSIGN_STATE", "")
    path = Path(configured) if configured else CHECKOUT / ".state"
    return private_dir(path.expanduser()).resolve()


def private_dir(path: Path) -> Path:
    """Make `path` (and its parents) if missing and return it; a directory made here has mode 0700."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    return path


def write_private(path: Path, content: str) -> None:
    """Replace `path` with `content` in one step; the file never has a mode wider than 0600."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def secret(path: Path) -> str:
    """The secret kept in the 0600 file `path`: 256 random bits in URL-safe base64, made on first use.

    Two processes that ask at the same time get the same secret: the first to link its file wins.
    """
    if not path.exists():
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        write_private(scratch, secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(scratch)
        scratch.unlink()
    return path.read_text(encoding="utf-8")
