"""The keys under which a value is the same as another, so that sources are indexed and sought in one way.

`email:`, `domain:`, `url:`, `iban:`, `us:`, `phone:` for what is recognised by its form; `number:` for an account's
number, `id:` for exactly this text, `text:` for it as names are compared, `n:` for a number.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from api.gate import normalise

#: Longer values are texts, and nobody's address, number or name.
MAX_VALUE = 320
MAX_URL = 2000

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15})://([^/?#\s]*)([^?#\s]*)(\?[^#\s]*)?(#\S*)?")
_NAMED = re.compile(r"\s*[^<>@]{0,200}<\s*([^<>\s]+@[^<>\s]+)\s*>\s*")
_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_PORTS = {"http": "80", "https": "443", "ftp": "21"}
_IBAN = re.compile(r"\s*[A-Za-z]{2}\d{2}[\w ]{8,45}")
_US = re.compile(r"\s*(\d{9})\s*/\s*([\dA-Za-z -]{4,34})\s*")
_NUMBER = re.compile(r"[0-9A-Za-z][0-9A-Za-z \t-]{0,45}")
_DOMAIN = re.compile(r"[^\s/@:?#]+\.[^\s/@:?#]{2,63}")


@lru_cache(maxsize=4096)
def email(text: str) -> str | None:
    """The key of an e-mail address, or of `Name <address>`; None for anything else."""
    named = _NAMED.fullmatch(text)
    try:
        return f"email:{normalise.email(named[1] if named else text)}"
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def domain(text: str) -> str | None:
    try:
        return f"domain:{normalise.domain(text)}"
    except ValueError:
        return None


def url(text: str) -> tuple[str, str] | None:
    """The keys of an absolute URL and of its host; None for anything else.

    As browsers read it: a backslash is a slash, the host is what follows the last `@`. Who is named before that `@`
    stays in the key, so that such an address is never the same as one without.
    """
    found = _URL.fullmatch(text.strip().replace("\\", "/")) if len(text) <= MAX_URL else None
    if found is None:
        return None
    scheme = found[1].lower()
    user, at, place = found[2].rpartition("@")
    host, _, port = place.partition(":") if not place.startswith("[") else (place, "", "")
    known = domain(host)
    host = known.removeprefix("domain:") if known else host.lower()
    port = f":{port}" if port and port != _PORTS.get(scheme) else ""
    rest = found[3].rstrip("/") + (found[4] or "") + (found[5] or "")
    return f"url:{scheme}://{user}{at}{host}{port}{rest}", f"domain:{host}"


def link(text: str) -> list[str]:
    """The keys by which a link is the same as another: where it leads to nothing but a site, also the site's."""
    return equal(url(text) or ())


def equal(known: tuple[str, ...]) -> list[str]:
    """Of the keys of an address those that mean the same thing; a link is no more than its site if it has no path."""
    if len(known) == 2 and known[0] in (f"url:{scheme}://{known[1].removeprefix('domain:')}" for scheme in _PORTS):
        return list(known)
    return list(known[:1])


def typed(text: str) -> str | None:
    """The key of a value that its form gives away, or None; addresses of the web are looked at first."""
    if len(text) > MAX_VALUE and "://" not in text:
        return None
    if "://" in text:
        found = url(text)
        return found[0] if found else None
    if "@" in text:
        return email(text)
    if text[:1] == "+" or text[:2] == "00":
        try:
            return f"phone:{normalise.phone(text)}"
        except ValueError:
            return None
    if _IBAN.fullmatch(text) and (found_iban := iban(text)):
        return found_iban
    if account := _US.fullmatch(text):
        return us(account[1], account[2])
    return domain(text) if _DOMAIN.fullmatch(text) and text.rpartition(".")[2].isalpha() else None


@lru_cache(maxsize=4096)
def iban(text: str) -> str | None:
    try:
        return f"iban:{normalise.iban(text)}"
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def us(routing: str, number: str) -> str | None:
    try:
        return f"us:{normalise.routing_number(routing)}/{normalise.number(number)}"
    except ValueError:
        return None


def number(text: str) -> str | None:
    """The key of an account's number; one without a digit is a word."""
    if len(text) > 46 or not _NUMBER.fullmatch(text) or not any(c.isdigit() for c in text):
        return None
    return f"number:{re.sub(r'[ 	-]', '', text).upper()}"


def decimal(value: Any) -> Decimal | None:
    """A number, or a text that is one as JSON writes it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        found = Decimal(repr(value))
        return found if found.is_finite() else None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", value):
        return Decimal(value)
    return None


def of_number(value: Decimal) -> str:
    return f"n:{value.normalize():f}"


def whole(text: str) -> list[str]:
    """Every key under which a whole value is found, the most telling first."""
    found = [key for key in (typed(text), number(text)) if key]
    return [*found, f"id:{text.strip()}", f"text:{normalise.words(text)}"]


def name_parts(name: str) -> set[str]:
    """The words in the name of a member: of `vendorId` and `vendor_id` they are vendor and id."""
    return {part.lower() for part in _NAME.findall(name[:100])} | {name.lower()}


def words_of_name(name: str) -> list[str]:
    """Each word in the name of a member, without the name as a whole."""
    return [part.lower() for part in _NAME.findall(name[:100])]
