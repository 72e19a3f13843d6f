"""IBANs (ISO 13616) and numbers of payment cards (ISO/IEC 7812)."""

import re
from collections.abc import Iterator

from api.gate.detectors.context import called, called_otherwise
from api.gate.detectors.found import Found
from api.gate.sensitive import LENGTHS, luhn

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ \t\r\n.-]{0,2}[A-Za-z0-9])")
#: Whose account numbers are of digits alone; in others, what follows without a space would be taken for a part of it.
_OF_DIGITS = re.compile("AT|BA|BE|CZ|D[EK]|E[ES]|F[IO]|GL|H[RU]|I[LS]|LT|M[EK]|NO|P[LT]|RS|S[EIK]|TN|XK")

#: Groups as they are printed, then whatever has a separator now and then.
_CARD = re.compile(
    r"(?<!\d)(?<!\d[ .-])(?:\d{4}([ .-])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ .-])\d{6}\2\d{4,5}|\d{13,19})"
    r"(?![ .-]?\d)"
)
_LOOSE = re.compile(r"(?<!\d)(?=([2-6](?:[ .-]{0,2}\d){12,18}))")
_CARD_WORDS = (
    r"card|cards|karte|kreditkarte|karten|kartennummer|cardnumber|carte|tarjeta|carta|pan|visa|mastercard|amex|"
    r"american express|maestro|discover|cc|ccnumber|creditcard|debit|credit"
)
#: Issuers' first digits as (from, to), and how long their numbers are.
_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4000, 4999, (13, 16, 19)), (5100, 5599, (16,)), (2221, 2720, (16,)), (3400, 3499, (15,)), (3700, 3799, (15,)),
    (6011, 6011, (16, 19)), (6440, 6599, (16, 19)), (3528, 3589, (16, 19)), (3000, 3059, (14, 16, 19)),
    (3600, 3699, (14, 16, 19)), (3800, 3999, (14, 16, 19)), (6200, 6299, (16, 17, 18, 19)), (8100, 8199, (16,)),
    (5000, 5099, (16, 18, 19)), (5600, 5899, (16, 18, 19)), (6304, 6304, (16, 18, 19)), (6759, 6763, (16, 18, 19)),
)  # fmt: skip


def ibans(text: str, name: str) -> Iterator[Found]:
    """By country, length and check digits; alone the check would let one in 97 through."""
    for match in _IBAN.finditer(text):
        length = LENGTHS.get(match[0][:2].upper())
        if length is None:
            continue
        end = _end_of(text, match.start(), length)
        if end is None:
            continue
        value = _alphanumeric(text[match.start() : end]).upper()
        following = text[end : end + 1]
        if following.isalnum() and (following.isdecimal() or not _OF_DIGITS.match(value) or not value[2:].isdecimal()):
            continue
        if int("".join(str(int(c, 36)) for c in value[4:] + value[:4])) % 97 == 1:
            yield Found("iban", match.start(), end, 0.99, value)


def _alphanumeric(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _end_of(text: str, start: int, length: int) -> int | None:
    """Where the given number of letters and digits ends, parted by two separators at most; None without so many."""
    seen = parted = 0
    for at in range(start, min(len(text), start + 3 * length)):
        character = text[at]
        if character.isascii() and character.isalnum():
            seen, parted = seen + 1, 0
            if seen == length:
                return at + 1
        elif character in " \t\r\n.-" and parted < 2:
            parted += 1
        else:
            return None
    return None


def cards(text: str, name: str) -> Iterator[Found]:
    """By issuer, length and check digit. A number that is called something else, as an order's, is none."""
    for match in _CARD.finditer(text):
        found = _card(text, match.start(), match.end(), name, 0.97 if not match[0].isdecimal() else 0.85)
        if found is not None:
            yield found
    for match in _LOOSE.finditer(text):
        number = match[1]
        for end in range(13, len(number) + 1):
            if text[match.start() + end : match.start() + end + 1].isdecimal() or not number[end - 1].isdecimal():
                continue
            found = _card(text, match.start(), match.start() + end, name, 0.6)
            if found is not None:
                yield found


def _card(text: str, start: int, end: int, name: str, confidence: float) -> Found | None:
    digits = "".join(filter(str.isdecimal, text[start:end]))
    if not _issued(digits) or not luhn(digits):
        return None
    around = text[max(0, start - 1) : start]
    if called(text, start, end, name, _CARD_WORDS):
        confidence = 0.99
    elif around.isalnum() or around == "_" or called_otherwise(text, start) or not _grouped(text[start:end]):
        return None
    return Found("card", start, end, confidence, digits)


def _grouped(text: str) -> bool:
    """Whether a number is written in groups of which none is a single digit: not a list of numbers."""
    groups = re.split(r"[ .-]{1,2}", text)
    return all(len(group) >= 2 for group in groups) and len(groups) <= 8


def _issued(digits: str) -> bool:
    if len(set(digits)) < 2:
        return False
    first = int(digits[:4])
    return any(low <= first <= high and len(digits) in lengths for low, high, lengths in _ISSUERS)
