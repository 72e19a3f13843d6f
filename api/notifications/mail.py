"""Sends plain-text mail by the deployment's SMTP server."""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from api.config import ConfigurationError, settings

#: Seconds that the server has for one step of a mail, and for all of it: less than a delivery's lease.
TIMEOUT, LONGEST = 15, 40
_ATOM, _LABEL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: RFC 5321 section 4.1.2, without what is quoted: a mail can be written to whatever this takes.
ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})+")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Sent:
    """outcome: dead when the server refuses the address for good. error: one sentence, without what the server said."""

    outcome: Literal["delivered", "retry", "dead"]
    error: str | None = None


def configured() -> bool:
    """Whether this deployment can mail."""
    return bool(settings().smtp_url and settings().mail_from)


def server(url: str) -> dict[str, Any]:
    """The options of a connection to `smtp://` or `smtps://user:password@host:port`; TLS always, but to this machine.

    Raises ConfigurationError for anything else.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
        raise ConfigurationError("SMTP_URL must read smtp://user:password@host:587 or smtps://user:password@host:465.")
    implicit = parts.scheme == "smtps"
    return {
        "hostname": parts.hostname,
        "port": port or (465 if implicit else 587),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": implicit,
        "start_tls": not implicit and parts.hostname not in LOOPBACK,
        "timeout": TIMEOUT,
    }


def written(to: str, subject: str, text: str, message_id: str, origin: str) -> EmailMessage:
    """The mail. Every field is set as a value: nothing in it can begin another header (RFC 5322 section 2.2)."""
    name, address = parseaddr(settings().mail_from)
    message = EmailMessage()
    message["From"] = Address(name or "Countersign", addr_spec=address)
    message["To"] = Address(addr_spec=to)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id}@{urlsplit(origin).hostname or 'countersign'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


async def send(to: str, subject: str, text: str, message_id: str, origin: str) -> Sent:
    """Sends one mail. Raises nothing for what a server or a network can do."""
    import aiosmtplib

    if not configured():
        return Sent("retry", "This deployment cannot mail: SMTP_URL or MAIL_FROM is missing.")
    try:
        async with asyncio.timeout(LONGEST):
            await aiosmtplib.send(written(to, subject, text, message_id, origin), **server(settings().smtp_url))
    except ConfigurationError as error:
        return Sent("retry", str(error))
    except aiosmtplib.SMTPRecipientsRefused as error:
        code = max((one.code for one in error.recipients), default=0)
        return Sent("dead" if code >= 500 else "retry", f"The mail server refused the address ({code}).")
    except aiosmtplib.SMTPResponseException as error:
        return Sent("retry", f"The mail server answered {error.code}.")
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return Sent("retry", f"The mail server could not be reached, or gave no answer ({type(error).__name__}).")
    return Sent("delivered")
