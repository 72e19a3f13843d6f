"""Sends one message to one channel and says how that ended, whatever the other side does. Nothing here is logged."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from api.certificates import trusted
from api.notifications import mail, messages
from api.notifications.messages import Told
from api.providers import retry_after
from api.providers.egress import UnreachableError, target

#: Seconds that a receiver has to answer.
TIMEOUT = 15
#: Of an answer no more than this is read, in bytes; none of it is kept.
MAX_ANSWER = 64_000
Outcome = Literal["delivered", "retry", "dead", "gone"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. error: one sentence of ours, without anything that the other side said. asked: of `Retry-After`."""

    outcome: Outcome
    error: str | None = None
    asked: float | None = None


async def send(kind: str, address: str, secrets: list[str], told: Told) -> Ended:
    """Tells a channel. secrets: of a webhook those that sign, newest first; of Slack its URL. Raises nothing."""
    if kind == "email":
        sent = await mail.send(address, messages.subject(told), messages.text(told), told.id, told.origin)
        return Ended(sent.outcome, sent.error)
    if not secrets:
        return Ended("dead", "The channel's secret does not open here; rotate it.")
    if kind == "slack":
        return await _post(secrets[0], messages.slack(told), {}, gone=(404, 410))
    body = messages.webhook(told)
    return await _post(address, body, signed(told.id, body, secrets), gone=(410,))


def signed(message_id: str, body: bytes, secrets: list[str], now: float | None = None) -> dict[str, str]:
    """The headers of a message signed by each of the secrets (https://www.standardwebhooks.com)."""
    from standardwebhooks import Webhook

    at = datetime.fromtimestamp(int(time.time() if now is None else now), UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets),
    }


async def _post(url: str, body: bytes, headers: dict[str, str], gone: tuple[int, ...]) -> Ended:
    import httpx

    # What they log of a request at INFO and below is its address, which of Slack is the secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        async with asyncio.timeout(TIMEOUT):
            there = await target(url)
            sent = headers | there.headers | {"content-type": "application/json", "user-agent": "Countersign"}
            async with (
                httpx.AsyncClient(
                    timeout=TIMEOUT, follow_redirects=False, trust_env=False, verify=trusted()
                ) as client,
                client.stream("POST", there.url, headers=sent, content=body, extensions=there.extensions) as answer,
            ):  # fmt: skip
                read = 0
                async for chunk in answer.aiter_raw():
                    read += len(chunk)
                    if read > MAX_ANSWER:
                        break
    except UnreachableError as error:
        said = "It leads to a private address; nothing was sent." if error.private else "Its name has no address."
        return Ended("dead" if error.private else "retry", said)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return Ended("retry", f"It could not be reached, or gave no answer ({type(error).__name__}).")
    return _ended(answer.status_code, answer.headers.get("retry-after"), gone)


def _ended(status: int, asked: str | None, gone: tuple[int, ...]) -> Ended:
    if 200 <= status < 300:
        return Ended("delivered")
    if status in gone:
        return Ended("gone", f"It answered {status}: there is nothing there any more.")
    if 300 <= status < 400:
        return Ended("retry", f"It answered {status}; nothing is sent on to another address.")
    return Ended("retry", f"It answered {status}.", retry_after.seconds(asked))
