"""Addresses: of e-mail, on the internet (versions 4 and 6), and of pages."""

import re
from collections.abc import Iterator

from api.gate.detectors.context import before, called_otherwise, words
from api.gate.detectors.found import Found

_AT = re.compile(r"@|%40|\s?[\[({]\s?(?:at|@)\s?[\])}]\s?", re.IGNORECASE)
#: Read backwards from the sign.
_LOCAL = re.compile(r"\"[^\"\s@]{1,60}\"|[\w.!#$%'*+^`~-]{1,64}")
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[^\W_]|-(?=[^\W_]|-)){0,62}(?:\.|\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?)){1,8}"
    r"(?:xn--[a-z0-9-]{2,20}|[^\W\d_]{2,24})(?![\w@])",
    re.IGNORECASE,
)
_DOT = re.compile(r"\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?", re.IGNORECASE)
#: What ends the name of a file and no domain.
_FILES = re.compile(
    r"png|jpe?g|gif|svg|webp|ico|css|m?jsx?|tsx?|json|ya?ml|toml|xml|html?|pdf|csv|txt|md|log|zip|gz|exe|dll|py|rb|php|java"
)


def emails(text: str, name: str) -> Iterator[Found]:
    """RFC 5322 addresses as people have them, also with `%40`, `(at)` and `[dot]`."""
    for at in _AT.finditer(text):
        local = _LOCAL.match(text[max(0, at.start() - 64) : at.start()][::-1])
        domain = _DOMAIN.match(text, at.end()) if local else None
        if local is None or domain is None:
            continue
        person = local[0][::-1].lstrip(".!#$%'*^`~-").removeprefix("mailto:")
        host = _DOT.sub(".", domain[0])
        top = host.rpartition(".")[2].lower()
        following = text[domain.end() : domain.end() + 2]
        if not person or person.endswith(".") or ".." in person or _FILES.fullmatch(top):
            continue
        if following[:1] == ":" and re.match(r":[A-Za-z~/]", following):  # user@host:path, as of git and scp
            continue
        value = f"{person}@{host}".lower()
        yield Found("email", at.start() - len(person), domain.end(), 0.97 if at[0] == "@" else 0.9, value)


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\.[0-9.]{5,11})?(?:%\w{1,15})?(?![\w:])")
_VERSIONS = (
    r"version|versions|v|ver|release|released|build|firmware|driver|section|sections|chapter|abschnitt|kapitel|"
    r"article|clause|upgrade|upgraded|update|updated|oid|paragraph|rev|revision|sdk|edition|assembly|fileversion"
)


def ips(text: str, name: str) -> Iterator[Found]:
    """Numbers of version 4, where they are not called a version, and of version 6."""
    for match in _IPV4.finditer(text):
        said = before(text, match.start())
        if not words(_VERSIONS).search(said[-24:]) and not called_otherwise(text, match.start()):
            yield Found("ip", match.start(), match.end(), 0.85, match[0])
    if ":" in text:
        yield from _version_6(text)


def _version_6(text: str) -> Iterator[Found]:
    from ipaddress import AddressValueError, IPv6Address

    for match in _IPV6.finditer(text):
        found = match[0]
        start = match.start()
        if found.count(":") < 2:
            continue
        if found.endswith(":") and not found.endswith("::"):  # an address at the end of a clause
            found = found[:-1]
        try:
            value = IPv6Address(found)
        except AddressValueError:
            continue
        if int(value) > 0xFFFF or found == "::1":
            yield Found("ip", start, start + len(found), 0.9, str(value))


_URL = re.compile(r"(?<![A-Za-z0-9])(?:(?:https?|ftps?|wss?)://|www\.(?=[\w-]{1,63}\.))[^\s<>\"'`\\^{|}]{2,2000}", re.I)


def urls(text: str, name: str) -> Iterator[Found]:
    """Addresses of pages, without the full stop or bracket that a sentence adds."""
    for match in _URL.finditer(text):
        found = match[0].rstrip(".,;:!?*_~")
        while found.endswith((")", "]")) and found.count(found[-1]) > found.count("(" if found[-1] == ")" else "["):
            found = found[:-1].rstrip(".,;:!?")
        if len(found) > 8:
            yield Found("url", match.start(), match.start() + len(found), 0.98, found)
