"""The seeded human of each sandbox server, who signs in and consents."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from sandbox.oauth.files import shared_secret

_NAMES = {"bank": ("mara", "Mara Lindqvist"), "crm": ("tomas", "Tomas Okafor")}


@dataclass(frozen=True)
class Person:
    """Somebody with an account at the bank or the CRM. The password is random per state directory."""

    username: str
    display_name: str
    password: str


def person(state: Path, server_name: str) -> Person:
    """The seeded person of `server_name` ("bank" or "crm"); the same for everybody who shares `state`."""
    kept = shared_secret(state, server_name, "person", lambda: {"password": secrets.token_urlsafe(12)})
    username, display_name = _NAMES[server_name]
    return Person(username=username, display_name=display_name, password=kept["password"])
