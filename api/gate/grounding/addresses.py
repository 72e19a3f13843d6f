"""The addresses, accounts and links that occur in a text, also those that hide in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from api.gate.grounding import keys
from api.gate.grounding.disguise import UNSEEN, decoded, reveal, turned
from api.gate.grounding.top_level import FILES, ROOT_ZONE
from api.gate.grounding.word_list import words

#: Characters of one text that are looked through; a longer one is not grounded at all.
MAX_TEXT = 65_536
#: Addresses of one text that are told apart.
MAX_FOUND = 200

#: What looks like an address at first sight, and is looked at more closely.
_CANDIDATES = 400

Kind = Literal["recipient", "account", "url"]


@dataclass(frozen=True, slots=True)
class Address:
    """One address in a text: the role that it would play, the text, its keys, and whether it was disguised."""

    role: Kind
    text: str
    keys: tuple[str, ...]
    start: int = 0
    end: int = 0
    disguised: bool = False


_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-")
_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,10}[\w-]{2,63}")
_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s<>\"']{1,2000}"
    r"|(?<!\w)javascript:\S{1,500}|(?<!\w)data:\w{1,20}/\S{1,500}"
)
_DOMAIN = re.compile(
    r"(?<![\w@-])(?:[\w-]{1,63}\.){1,10}[\w-]{2,63}(?![\w@-])"
    r"(?::\d{1,5})?(?:[/\\?][^\s<>\"']{0,2000})?"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \u00a0.-]{0,2}[A-Za-z0-9]){11,30}")
_US = re.compile(r"(?<!\w)(\d{9})\s{0,3}/\s{0,3}(\d{4,17})(?!\w)")
_CARD = re.compile(r"(?<![\w])\d(?:[ -]?\d){12,18}(?!\w)")
_SAID = re.compile(
    r"(?:account|acct|a/c|konto|kontonummer|compte|cuenta|rekening|conto)[ \t.:#-]{0,4}"
    r"(?:(?:number|no|nr|num|nummer|numéro|número)[ \t.:#-]{0,4})?"
    r"(?:(?:is|ist|est|es)[ \t:]{1,3})?(\d(?:[ -]?\d){5,17})(?!\w)",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ().\-/]{0,3}\d){6,14}(?!\d)")
#: Without a country, only what is said to be called is a telephone number; a link to one says so itself.
_CALLED = re.compile(
    r"(?<!\w)(?:tel|sms|call|phone|telephone|telefon|ring|dial|fax|mobile|cell|hotline|whatsapp|text|sms|anrufen|rufnummer)"
    r"[ \t.:#-]{0,4}(?:(?:me|us|at|on|now|is|number|no|nr|under|unter|him|her|them)[ \t.:#]{1,3}){0,3}"
    r"(\(?\d(?:[ ().\-/]{0,3}\d){6,14})(?!\d)",
    re.IGNORECASE,
)
_DOTTED_HOST = re.compile(
    r"(?<![\w.@/-])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5}(?:/[^\s<>\"']{0,2000})?|/[^\s<>\"']{1,2000})"
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?!\d)|\d{1,2}([./-])\d{1,2}\1\d{2,4}(?!\d)")
_WALLET = re.compile(
    r"(?<![A-Za-z0-9])(?:0x[0-9a-fA-F]{40}|(?:bc|tb|ltc)1[a-z0-9]{25,62}|[13][1-9A-HJ-NP-Za-km-z]{25,34}"
    r"|T[1-9A-HJ-NP-Za-km-z]{33}|[48][1-9A-HJ-NP-Za-km-z]{94})(?![A-Za-z0-9])"
)
#: Endings of domains that no sentence begins with, and those of two letters that one does.
_NO_WORD = frozenset(words("com net org info biz xyz online site app dev website icu"))
_BEGINNING = frozenset(words("ad al am an as at be by de do dr es hr id im in is it la me mr my no pa so st to us we"))
#: Characters on each side of where two texts meet, and what may go on behind it.
_SEAM = 80
_SEAMS = re.compile(r"@[\w.-]*$|://\S*$|[A-Za-z]{2}\d{2}[A-Za-z0-9 .-]{0,40}$")
_DIGITS = re.compile(r"\d{4}|\d[ .-]\d")


def scan(text: str) -> tuple[Address, ...]:
    """Every address in the first MAX_TEXT characters, the disguised ones last; more than MAX_FOUND are cut off.

    An address counts as disguised where it is found only after what is unseen was removed or an encoding undone.
    """
    text = text[:MAX_TEXT]
    if not text or text.isalpha():
        return ()
    plain = _spans(text)
    known = {key for address in plain for key in address.keys}
    hidden: dict[str, Address] = {}
    for said in turned(text):
        _hide(hidden, known, _spans(reveal(said)))
    if UNSEEN.search(text):
        text = UNSEEN.sub("", text)
        clear = _spans(text)
        _hide(hidden, known, clear)
    else:
        clear = plain
    # A link is left out: what its path encodes is its own. All else stays, for something may be hidden at its edge.
    rest = _without(text, [address for address in clear if "://" in address.text])
    shown = reveal(rest)
    if shown != rest:
        _hide(hidden, known, _spans(shown))
    for _, _, said in decoded(rest):
        _hide(hidden, known, _spans(reveal(said)))
    return (*plain, *hidden.values())[: MAX_FOUND + 1]


def across(one: str, other: str) -> tuple[Address, ...]:
    """The addresses that two texts make which stand one after the other, and neither has: an old way to hide one."""
    tail, head = one[-_SEAM:], other[:_SEAM]
    goes_on = head.startswith((".", "@")) or (tail.endswith(".") and head[:1].islower())
    if not goes_on and not _SEAMS.search(tail):
        return ()
    if any(a.end == len(tail) for a in scan(tail)) or any(a.start == 0 for a in scan(head)):
        return ()
    made = (a for a in _spans(tail + head) if a.start < len(tail) < a.end)
    return tuple(replace(address, disguised=True) for address in made)


def _hide(hidden: dict[str, Address], known: set[str], found: list[Address]) -> None:
    for address in found:
        if not known.intersection(address.keys):
            hidden.setdefault(address.keys[0], replace(address, disguised=True))


def _spans(text: str) -> list[Address]:
    """The addresses that stand in the text as it is; of two that overlap, the one that was looked for first."""
    found: list[Address] = []
    steps = (_urls, _emails, _wallets, _accounts, _phones, _domains)
    for step in steps:
        more = list(_bounded(step(text)))
        if more:
            found += more
            text = _without(text, more)
    return sorted(found, key=lambda address: address.start)


def _bounded(found: Iterator[Address]) -> Iterator[Address]:
    for _, address in zip(range(MAX_FOUND + 1), found, strict=False):
        yield address


def _without(text: str, found: list[Address]) -> str:
    """The text with spaces where addresses stood, so that no part of one is taken for another."""
    parts, at = [], 0
    for address in sorted(found, key=lambda address: address.start):
        if address.start >= at:
            parts += [text[at : address.start], " " * (address.end - address.start)]
            at = address.end
    return "".join([*parts, text[at:]])


def _urls(text: str) -> Iterator[Address]:
    for match in _DOTTED_HOST.finditer(text):
        link = _trimmed(match[0])
        yield Address("url", link, (keys.url(f"http://{link}") or (f"url:{link}",))[:1], match.start(), match.end())
    if ":" not in text:
        return
    for match in _URL.finditer(text):
        link = _trimmed(match[0])
        found = keys.url(link)
        yield Address("url", link, found or (f"url:{link}",), match.start(), match.start() + len(link))


def _trimmed(link: str) -> str:
    """Without the punctuation of the sentence around it."""
    link = link.rstrip(".,;:!?…'\"»*_")
    for opening, closing in ("()", "[]", "{}"):
        while link.endswith(closing) and link.count(closing) > link.count(opening):
            link = link[:-1].rstrip(".,;:!?")
    return link


def _emails(text: str) -> Iterator[Address]:
    at = text.find("@")
    for seen in range(_CANDIDATES + 1):
        if at < 0:
            return
        if seen == _CANDIDATES:
            yield _beyond("recipient", at)
            return
        start = at
        while start > 0 and at - start < 64 and (text[start - 1] in _LOCAL or _letter(text[start - 1])):
            start -= 1
        start = next((n for n in range(start, at) if text[n] not in ".'`/=*_#"), at)
        host = _HOST.match(text, at + 1)
        if host and start < at:
            raw = text[start : host.end()]
            yield Address("recipient", raw, (keys.email(raw) or f"email:{raw.casefold()}",), start, host.end())
        at = text.find("@", at + 1)


def _beyond(role: Kind, at: int) -> Address:
    """What stands for everything after as many candidates as are looked at: something that no source names."""
    return Address(role, "more than can be looked at", (f"beyond:{at}",), at, at + 1)


def _letter(character: str) -> bool:
    return not character.isascii() and character.isalnum()


def _domains(text: str) -> Iterator[Address]:
    if "." not in text:
        return
    for match in _DOMAIN.finditer(text):
        whole = _trimmed(match[0])
        host = whole.replace("\\", "/").replace("?", "/").partition("/")[0]
        name, _, port = host.partition(":")
        bare = whole == name
        # What has a path or port is no end of a sentence, however it is written.
        if not (_ends_well(name) or (not bare and _ends_well(name.lower())) or (port and name.count(".") > 0)):
            continue
        if bare and name.count(".") == 1 and name.rpartition(".")[2].lower() in FILES:
            continue
        key = keys.domain(name) or f"domain:{name.casefold()}"
        link = keys.url(f"https://{whole}")
        found = (key,) if bare or link is None else (link[0], link[1])
        yield Address("url", whole, found, match.start(), match.start() + len(whole))


def _ends_well(name: str) -> bool:
    """Whether a name ends as domains do; that of a sentence without a space after its full stop does not."""
    first, _, last = name.rpartition(".")
    if name.lower().startswith("www."):
        return True
    if not last.isascii():
        encoded = keys.domain(name)
        return encoded is not None and encoded.rpartition(".")[2] in ROOT_ZONE
    if last.lower() not in ROOT_ZONE or (first.isdigit() and last.lower() in ("am", "pm")):
        return False
    # "Done.So we" is a sentence without its space; "Evil.Ru" is not.
    written = last.islower() or name.isupper() or not last.istitle() or name.count(".") > 1
    return written or last.lower() in _NO_WORD or (len(last) == 2 and last.lower() not in _BEGINNING)


def _accounts(text: str) -> Iterator[Address]:
    if not _DIGITS.search(text):
        return
    taken: list[tuple[int, int]] = []
    for found in (*_ibans(text), *_pairs(text), *_cards(text), *_numbers(text)):
        if not any(start < found.end and found.start < end for start, end in taken):
            taken.append((found.start, found.end))
            yield found


def _ibans(text: str) -> Iterator[Address]:
    for seen, match in enumerate(_IBAN.finditer(text)):
        if seen == _CANDIDATES:
            yield _beyond("account", match.start())
            return
        raw = match[0]
        places = [n for n, c in enumerate(raw) if c.isalnum()]
        letters = "".join(raw[n] for n in places).upper()
        for length in range(min(len(letters), 34), 14, -1):
            if _checks(letters[:length]) and (key := keys.iban(letters[:length])):
                end = match.start() + places[length - 1] + 1
                yield Address("account", text[match.start() : end], (key,), match.start(), end)
                break


def _checks(letters: str) -> bool:
    """Whether the check digits of an IBAN hold (ISO 7064, MOD 97-10)."""
    return letters.isascii() and int("".join(str(int(c, 36)) for c in letters[4:] + letters[:4])) % 97 == 1


def _pairs(text: str) -> Iterator[Address]:
    if "/" not in text:
        return
    for match in _US.finditer(text):
        if key := keys.us(match[1], match[2]):
            yield Address("account", match[0], (key,), match.start(), match.end())


def _cards(text: str) -> Iterator[Address]:
    for match in _CARD.finditer(text):
        digits = [int(c) for c in match[0] if c.isdigit()]
        doubled = [d if n % 2 == 0 else (2 * d if d < 5 else 2 * d - 9) for n, d in enumerate(reversed(digits))]
        if sum(doubled) % 10 == 0 and digits[0] in (2, 3, 4, 5, 6):
            key = f"number:{''.join(map(str, digits))}"
            yield Address("account", match[0], (key,), match.start(), match.end())


def _numbers(text: str) -> Iterator[Address]:
    for match in _SAID.finditer(text):
        key = keys.number(match[1])
        if key:
            yield Address("account", match[1], (key,), match.start(1), match.end(1))


def _phones(text: str) -> Iterator[Address]:
    for match in _CALLED.finditer(text):
        if not _DAY.match(match[1]):
            digits = "".join(filter(str.isdecimal, match[1]))
            yield Address("recipient", match[1], (f"number:{digits}",), match.start(1), match.end(1))
    if "+" not in text:
        return
    for match in _PHONE.finditer(text):
        key = keys.typed(match[0])
        if key and key.startswith("phone:"):
            yield Address("recipient", match[0], (key,), match.start(), match.end())


def _wallets(text: str) -> Iterator[Address]:
    for match in _WALLET.finditer(text):
        if any(c.isdigit() for c in match[0]) and any(c.isalpha() for c in match[0]):
            yield Address("account", match[0], (f"id:{match[0]}",), match.start(), match.end())
