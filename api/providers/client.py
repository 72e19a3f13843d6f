"""Talks to providers: one HTTP request for a tool call, and the token endpoint's grants. Never inside a transaction."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from api.config import ConfigurationError, settings
from api.gate.models import Contract
from api.providers import retry_after
from api.providers.content import content_of
from api.providers.parts import Answers
from api.providers.read_back import is_enough, premise_args, read_back_args, read_back_found
from api.providers.request import build
from api.providers.site import Site
from api.providers.template import UnsendableError
from api.providers.tokens import Account, AccountError, TokenError, Tokens, account_of, exchange, repeats, revoke
from api.providers.transport import MAX_ANSWER, http

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Account", "AccountError", "Lease", "Outcome", "TokenError", "Tokens", "UnsendableError",
    "account_of", "build", "call_tool", "exchange", "is_enough", "premise_args", "read_back_args",
    "read_back_found", "revoke",
]  # fmt: skip

#: Of a lease, these seconds are kept for recording how the call ended.
RESERVE = 0.5
#: No `Retry-After` is believed beyond this many seconds: a mistake there must not stop a connection for days.
MAX_RETRY_AFTER = 3600.0
#: A NUL in JSON text, which no column can keep: an odd number of backslashes before u0000.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: Redirects that follow work done, as a browser sees them after posting a form (RFC 9110 section 15.4).
_REDIRECTS_AFTER_WORK = (301, 302, 303)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    reached: whether the provider may have acted on it: `no`, `maybe` (it was sent, and no answer tells), `yes`.
    status: HTTP status, None without an answer. body: parsed JSON. retry_after: seconds, from the provider.
    hopeless: it was not sent, and never will be by trying again: the consent is gone, or it makes no request.
    code: the provider's error code, of an answer that is no success. unauthorized: another access token may do.
    unreachable: nobody took the request there.
    """

    reached: Literal["no", "maybe", "yes"]
    status: int | None = None
    body: Any = None
    error: str | None = None
    retry_after: float | None = None
    hopeless: bool = False
    code: str | None = None
    unauthorized: bool = False
    unreachable: bool = False

    @property
    def troubled(self) -> bool:
        """Whether it speaks against the connection: no answer, or one of a server in trouble. A refusal does not."""
        if self.status is None:
            return self.reached == "maybe" or self.unreachable
        return self.status >= 500

    @property
    def pause(self) -> float | None:
        """Seconds for which the provider wants no call; MAX_RETRY_AFTER at most, None when it asks for none."""
        wanted = self.retry_after
        return min(wanted, MAX_RETRY_AFTER) if wanted is not None and wanted > 0 else None


class Lease:
    """How long the caller may still act. Nothing is sent when it is over, since somebody else may act then.

    Measured on two clocks, whichever says less: a frozen function's own clock may have stood still.
    """

    def __init__(self, seconds: float) -> None:
        self._monotonic = time.monotonic() + seconds
        self._wall = time.time() + seconds

    def remaining(self) -> float:
        """Seconds; negative when it is over."""
        return min(self._monotonic - time.monotonic(), self._wall - time.time())


async def call_tool(
    site: Site,
    contract: Contract,
    args: dict[str, Any],
    access_token: str,
    idempotency_key: str | None = None,
    lease: Lease | None = None,
) -> Outcome:
    """Makes the one HTTP request of a tool call and says how it ended. Raises nothing for what a provider can do.

    With a lease, nothing is sent after it, and the answer is awaited only as long as it can still be recorded.
    """
    import httpx

    seconds = settings().provider_timeout
    if lease is not None:
        seconds = min(seconds, lease.remaining() - RESERVE)
    if seconds <= 0:
        return Outcome("no", error="The time to act was nearly over; nothing was sent.")
    try:
        request = build(site, contract, args, idempotency_key)
        request["headers"]["Authorization"] = f"Bearer {access_token}"
        async with asyncio.timeout(seconds), http().stream(**request) as answer:
            return await _read(answer, site.manifest.answers_of(contract.name), access_token)
    except UnsendableError as error:
        return Outcome("no", error=str(error), hopeless=True)
    except (ConfigurationError, httpx.InvalidURL) as error:
        return Outcome("no", error=str(error))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        down = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        return Outcome("no", error=f"The provider could not be reached ({type(error).__name__}).", unreachable=down)
    except (httpx.HTTPError, TimeoutError) as error:
        return Outcome("maybe", error=f"No answer came ({type(error).__name__}).")


async def _read(answer: "httpx.Response", answers: Answers, access_token: str) -> Outcome:
    """What an answer says. Its status decides; a success counts as one only if its body can be read, and says so.

    A 4xx says that nothing was done, as does a 2xx whose body says it; a 5xx, a redirect after work, and a success
    that is no JSON or larger than 1 MB do not say. No redirect is followed: the credential is for this provider.
    """
    status = answer.status_code
    error = None if status < 300 else f"The provider answered {status}."
    content = await content_of(answer, MAX_ANSWER)
    if content is None:
        content, error = b"", error or "The answer is larger than 1 MB, or packed in a way that was not asked for."
    body: Any = None
    if content:
        try:
            body = json.loads(content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            error = error or "The answer is not JSON."
    outcome = judged(status, body, error, answers, retry_after.seconds(answer.headers.get("retry-after")))
    if repeats(content.decode(errors="replace"), [access_token]):
        # What was done is done; but nobody is shown what the call was made with.
        return replace(outcome, body=None, code=None, error="The answer holds the credential; it is not kept.")
    return outcome


def judged(status: int, body: Any, error: str | None, answers: Answers, pause: float | None) -> Outcome:
    verdict = answers.verdict(body) if error is None else None
    reached: Literal["no", "maybe", "yes"] = "yes" if verdict == "done" else _reached(status)
    code = answers.code(body) if verdict != "done" else None
    if verdict == "refused":
        reached, error = "no", f"The provider refused: {code or 'it did not say why'}."
    elif verdict == "unsure":
        error = f"The provider did not say whether it was done: {code or 'no known answer'}."
    if body is not None and not _can_be_kept(body):
        # What was done is done; the answer to it is only not kept.
        body = None
        error = error or "The answer holds characters or numbers that cannot be kept."
    if reached == "yes":
        return Outcome("yes", status, body, error)
    unauthorized = status == 401 or (reached == "no" and code in answers.unauthorized)
    return Outcome(reached, status, body, error, pause, code=code, unauthorized=unauthorized)


def _reached(status: int) -> Literal["no", "maybe"]:
    return "maybe" if status < 300 or status >= 500 or status in _REDIRECTS_AFTER_WORK else "no"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON (RFC 8259 section 6)")


def _can_be_kept(body: Any) -> bool:
    """Whether a parsed answer is what Postgres keeps as jsonb: no NUL, no lone surrogate, no infinite number."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return False
    return _NUL.search(text) is None
