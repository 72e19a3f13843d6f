"""Secrets that the demo and a sandbox server share through the state directory."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

SERVERS = ("bank", "crm")


def shared_secret(state: Path, server_name: str, kind: str, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    """The JSON object in `<state>/sandbox_<server>.<kind>.json`, made by `make` the first time.

    Whoever asks first creates the file (mode 0600, complete from the moment it is visible), and everybody
    gets the same answer, also when several processes ask at once. Raises `ValueError` for an unknown server.
    """
    if server_name not in SERVERS:
        raise ValueError(f"no sandbox server is called {server_name!r}; there are {', '.join(SERVERS)}")
    state.mkdir(parents=True, exist_ok=True)
    path = state / f"sandbox_{server_name}.{kind}.json"
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(make(), file)
        # A link, unlike a rename, does not replace what another process has published meanwhile.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    loaded = json.loads(path.read_text())
    return {str(key): str(value) for key, value in loaded.items()}


def admin_token(state: Path, server_name: str) -> str:
    """What `X-Sandbox-Admin` must carry to reach `/_faults` and `/_log` of this server."""
    return shared_secret(state, server_name, "admin", lambda: {"token": secrets.token_urlsafe(32)})["token"]
