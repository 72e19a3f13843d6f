"""What channels lead to, on this machine: a mail server, and a server that takes webhooks and stands in for Slack."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session

from sandbox.ports import Reservation

#: What the application is told that lives there; it is rewritten to this machine.
WEBHOOKS, SLACK = "https://alerts.example", "https://hooks.slack.com"


@dataclass(frozen=True)
class Arrived:
    """One request that arrived. headers: by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receivers:
    """What arrived. answers: by path what the next requests there are answered with, then 204.

    An answer is a status, or something to call first.
    """

    requests: list[Arrived] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: dict[str, list[int | Callable[[], int]]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def at(self, path: str) -> list[Arrived]:
        """What arrived at one path."""
        return [each for each in self.requests if each.path == path]

    def mailed(self, address: str) -> list[EmailMessage]:
        """What was mailed to one address, and to nobody else."""
        pairs = zip(self.mails, self.recipients, strict=False)  # of one that arrives now, the mail is added last
        return [mail for mail, recipients in pairs if recipients == [address]]

    async def handle_DATA(self, _: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.recipients.append(list(envelope.rcpt_tos))
        self.mails.append(mail)
        return "250 taken"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 there is nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 ok"


@contextmanager
def receiving() -> Iterator[Receivers]:
    """Both servers, on ports of their own; `settings` are what the application needs to reach them."""
    received = Receivers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.requests.append(Arrived(self.path, headers, body))
            planned = received.answers.get(self.path, [])
            answer = planned.pop(0) if planned else 204
            status = answer if isinstance(answer, int) else answer()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Reservation() as held:
        mail = Controller(received, hostname="127.0.0.1", port=held.port, ready_timeout=60)
        mail.start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    received.settings |= {
        "COUNTERSIGN_PROVIDER_ORIGINS": json.dumps({WEBHOOKS: here, SLACK: here}),
        "SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
        "MAIL_FROM": "Countersign <alerts@countersign.example>",
    }
    try:
        yield received
    finally:
        mail.stop()
        server.shutdown()
        server.server_close()
