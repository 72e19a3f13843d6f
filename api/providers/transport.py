"""The HTTP client that every call to a provider goes through."""

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.config import settings
from api.providers.content import ACCEPTED, content_of

if TYPE_CHECKING:
    import httpx

#: Of an answer no more than this is read.
MAX_ANSWER = 1_000_000

_clients: dict[asyncio.AbstractEventLoop, "httpx.AsyncClient"] = {}


def http() -> "httpx.AsyncClient":
    """The HTTP client of this event loop: connections are reused, redirects not followed, cookies not kept."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    loop = asyncio.get_running_loop()
    for old in [known for known in _clients if known.is_closed()]:
        del _clients[old]
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            follow_redirects=False,
            # Nothing that one connection is told to remember goes along with another's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"Accept": "application/json", "Accept-Encoding": ACCEPTED},
            # Shorter than the whole, so that a host that does not answer at all is known not to have been reached.
            timeout=httpx.Timeout(settings().provider_timeout, connect=min(5, settings().provider_timeout / 2)),
        )
    return _clients[loop]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered: the status and the JSON in it, None where there is none that can be read."""

    status: int
    body: Any


async def ask(request: dict[str, Any], auth: Any = None) -> Answer:
    """One request that does no work of a tool; raises what httpx does, and TimeoutError."""
    import httpx

    async with (
        asyncio.timeout(settings().provider_timeout),
        http().stream(**request, auth=auth or httpx.USE_CLIENT_DEFAULT) as answer,
    ):
        content = await content_of(answer, MAX_ANSWER)
    try:
        return Answer(answer.status_code, json.loads(content or b""))
    except (ValueError, RecursionError):
        return Answer(answer.status_code, None)
