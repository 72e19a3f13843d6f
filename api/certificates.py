"""The certificates that a connection of ours trusts, read once per process."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext


@cache
def trusted() -> "SSLContext":
    """What httpx trusts by itself. To read it takes a client of httpx 30 to 60 ms, longer than most answers."""
    import httpx

    return httpx.create_ssl_context()
