"""The mail that a real service would have sent: one JSON object a line in `<state>/auth/mailbox.jsonl`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .keys import state_directory


@dataclass(frozen=True)
class Mail:
    """A message with a one-time link. `sent_at` is RFC 3339 UTC; `kind` is `invite`, `email_change`, ..."""

    kind: str
    to: str
    action_link: str
    email_otp: str
    hashed_token: str
    redirect_to: str
    sent_at: str


def _path(state: Path) -> Path:
    return state_directory(state) / "mailbox.jsonl"


def deliver(state: Path, mail: Mail) -> None:
    """Appends `mail`. The file is private (0600): whoever reads it can sign in as the recipient."""
    line = json.dumps(asdict(mail), ensure_ascii=False) + "\n"
    descriptor = os.open(_path(state), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def received(state: Path, to: str) -> Iterator[Mail]:
    """The mail for one address, oldest first."""
    if not _path(state).exists():
        return
    for line in _path(state).read_text(encoding="utf-8").splitlines():
        mail = Mail(**json.loads(line))
        if mail.to == to.lower():
            yield mail
