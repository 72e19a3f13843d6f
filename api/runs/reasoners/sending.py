"""Makes one HTTP request to a model provider and says how it ended, whatever the provider does."""

import asyncio
import json
from dataclasses import dataclass

from api.gate.reasoner_spec import ModelReasoner
from api.providers import retry_after
from api.providers.content import ACCEPTED, content_of
from api.providers.egress import UnreachableError, target
from api.runs.reasoners import anthropic, openai
from api.runs.reasoners.reasoner import CallOutcome, ErrorKind
from api.runs.reasoners.reply import MalformedError, Reply, holds, parse

INTERFACES = {"anthropic": anthropic, "openai": openai}
#: Of an answer no more than this is read, in bytes; what 64,000 tokens can be is less.
MAX_ANSWER = 2_000_000
#: Seconds until a provider that names none is asked again, and the most that one may name.
_RATE_PAUSE, _PAUSE, _LONGEST_PAUSE = 15.0, 30.0, 3600.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended. reply: None where there is none. text: what was answered, to be sealed.

    free: the provider did no work that it could charge for. kind: what the reasoner fails with; None where it may go
    on. pause: seconds after which it may be asked again.
    """

    outcome: CallOutcome
    error: str | None = None
    reply: Reply | None = None
    text: str | None = None
    free: bool = False
    kind: ErrorKind | None = None
    pause: float | None = None


async def send(spec: ModelReasoner, base_url: str, key: str, body: bytes) -> Ended:
    """One request. Raises nothing for what a provider, a network or a name can do; nothing it says holds the key."""
    import httpx

    interface = INTERFACES[spec.kind]
    try:
        async with asyncio.timeout(spec.timeout_seconds):
            there = await target(base_url + interface.PATH)
    except TimeoutError:
        said = "The name of the model provider was not resolved in time; nothing was sent."
        return Ended("unavailable", said, free=True, kind="unavailable", pause=_PAUSE)
    except UnreachableError as error:
        kind: ErrorKind = "not_configured" if error.private else "unavailable"
        return Ended("unavailable", str(error), free=True, kind=kind, pause=None if error.private else _PAUSE)
    # The address was looked at, so it is called and no other; the certificate still has to be the name's.
    headers = interface.headers(key) | there.headers | {"content-type": "application/json"}
    headers |= {"accept": "application/json", "accept-encoding": ACCEPTED}
    timeout = httpx.Timeout(spec.timeout_seconds, connect=min(5, spec.timeout_seconds))
    try:
        async with (
            asyncio.timeout(spec.timeout_seconds),
            httpx.AsyncClient(timeout=timeout, follow_redirects=False) as client,
            client.stream("POST", there.url, headers=headers, content=body, extensions=there.extensions) as answer,
        ):
            content = await content_of(answer, MAX_ANSWER)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        said = f"The model provider could not be reached ({type(error).__name__})."
        return Ended("unavailable", said, free=True, kind="unavailable", pause=_PAUSE)
    except (httpx.HTTPError, TimeoutError) as error:
        said = f"The model provider gave no answer ({type(error).__name__})."
        return Ended("unanswered", said, kind="unavailable", pause=_PAUSE)
    if answer.status_code != 200:
        return _refusal(answer.status_code, content or b"", answer.headers.get("retry-after"), key)
    return _success(spec, content, key)


def _success(spec: ModelReasoner, content: bytes | None, key: str) -> Ended:
    if content is None:
        said = f"The answer is larger than {MAX_ANSWER:,} bytes, or packed in a way that was not asked for."
        return Ended("oversize", said, kind="invalid_output")
    text = content.decode(errors="replace")
    # Nobody is shown what the call was made with.
    echoed = Ended("malformed", "The answer holds the key that the call was made with; it is not kept.")
    if key in text:
        return echoed
    try:
        document = parse(content)
        reply = INTERFACES[spec.kind].read(document)
        if holds([document, *(use.input for use in reply.uses)], key):
            return echoed
    except MalformedError as error:
        return Ended("malformed", str(error), text=text)
    except (ValueError, RecursionError):
        return Ended("malformed", "The answer is not JSON.", text=text)
    if reply.stop == "truncated":
        said = f"The answer was cut off at {spec.max_tokens} tokens; raise max_tokens, or show the model less."
        return Ended("truncated", said, reply, text, kind="truncated")
    if reply.stop == "refused":
        return Ended(
            "refused", "The model, or a filter of its provider, refused to answer.", reply, text, kind="refused"
        )
    return Ended("suggested", None, reply, text)


def _refusal(status: int, content: bytes, wait: str | None, key: str) -> Ended:
    """What an answer that is no success means. None of them is charged for."""
    code = _code(content)
    if key in code:
        code = ""  # what is said here is kept in the clear
    said = f"The model provider answered {status}{f' ({code})' if code else ''}."
    pause = _pause(wait)
    if status == 429:
        return Ended("rate_limited", said, free=True, kind="rate_limited", pause=pause or _RATE_PAUSE)
    if status >= 500:
        return Ended("unavailable", said, free=True, kind="unavailable", pause=pause or _PAUSE)
    if status in (401, 403):
        return Ended(
            "forbidden", f"{said} Its key is not accepted; give the provider a new one.", free=True, kind="forbidden"
        )
    if code == "content_filter":
        return Ended("refused", "A filter of the provider refused the prompt.", free=True, kind="refused")
    return Ended("rejected", f"{said} It does not take this request; look at its model and base_url.", free=True,
        kind="not_configured")  # fmt: skip


def _code(content: bytes) -> str:
    """The error's code as either interface gives it, if it is a short word."""
    try:
        error = json.loads(content)["error"]
        code = error.get("code") or error.get("type")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return ""
    return code if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) <= 60 else ""


def _pause(value: str | None) -> float | None:
    """The `Retry-After` of an answer in seconds, an hour at most; None where there is none to be read."""
    wanted = retry_after.seconds(value)
    return None if wanted is None else min(wanted, _LONGEST_PAUSE)
