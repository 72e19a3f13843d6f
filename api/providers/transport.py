"""The HTTP client that every call to a provider goes through."""

import asyncio
from typing import TYPE_CHECKING

from api.config import settings

if TYPE_CHECKING:
    import httpx

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
            headers={"Accept": "application/json"},
            # Shorter than the whole, so that a host that does not answer at all is known not to have been reached.
            timeout=httpx.Timeout(settings().provider_timeout, connect=min(5, settings().provider_timeout / 2)),
        )
    return _clients[loop]
