"""Where an address that a tenant named is reached: never a private one, whatever its name resolves to.

What the deployment replaces by COUNTERSIGN_PROVIDER_ORIGINS (a test double, an egress gateway) is its own to say, and
may be anywhere. All else is resolved here, and the call goes to the very address that was looked at, so that a name
cannot be private the next moment.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from api.providers.site import rewritten


class UnreachableError(Exception):
    """The name has no address, or a private one (or no port that there is); `private` says which."""

    def __init__(self, message: str, *, private: bool) -> None:
        super().__init__(message)
        self.private = private


@dataclass(frozen=True, slots=True)
class Target:
    """url: with the address in the place of the name. host: the name, for the Host header and TLS; None: as in url."""

    url: str
    host: str | None


async def target(url: str) -> Target:
    """Where a call to the address goes. Raises UnreachableError."""
    there = rewritten(url)
    if there != url:
        return Target(there, None)
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or 443
    except ValueError:
        raise UnreachableError(f"The port of {host[:100]} is none; change the address.", private=True) from None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnreachableError(f"The name {host[:100]} has no address.", private=False) from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(public(address) for address in addresses):
        raise UnreachableError(f"The name {host[:100]} leads to a private address; nothing was sent.", private=True)
    literal = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    return Target(urlunsplit(parts._replace(netloc=f"{literal}:{port}")), host)


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet; one that embeds another counts as that, too."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return public(str(inner))
        # What was set aside before private networks had a range of their own; some still route it at home.
        if ip.is_site_local or ip.is_reserved:
            return False
    return ip.is_global and not ip.is_multicast
