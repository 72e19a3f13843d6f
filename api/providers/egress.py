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
    """url: with the address in the place of the name. host: the name, for TLS; None: as in url.

    authority: for the Host header, the name with the port where that is not the scheme's own (RFC 9110 section 7.2).
    """

    url: str
    host: str | None = None
    authority: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What a request to `url` says beside its own headers."""
        return {"host": self.authority} if self.authority else {}

    @property
    def extensions(self) -> dict[str, str]:
        """For httpx: the certificate has to be the name's, not the address's."""
        return {"sni_hostname": self.host} if self.host else {}


async def target(url: str) -> Target:
    """Where a call to the address goes. Raises UnreachableError."""
    there = rewritten(url)
    if there != url:
        return Target(there)
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        raise UnreachableError(f"The port of {host[:100]} is none; change the address.", private=True) from None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnreachableError(f"The name {host[:100]} has no address.", private=False) from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(public(address) for address in addresses):
        raise UnreachableError(f"The name {host[:100]} leads to a private address; nothing was sent.", private=True)
    own = port == (80 if parts.scheme == "http" else 443)
    authority = _literal(host) if own else f"{_literal(host)}:{port}"
    return Target(urlunsplit(parts._replace(netloc=f"{_literal(addresses[0])}:{port}")), host, authority)


def _literal(host: str) -> str:
    """A name or an address as a URL has it (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


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
