"""Numbers of telephones: international (E.164), with a trunk prefix, and of North America.

Without a numbering plan of every country: what is called a telephone number is one where its length allows it, and what
is not called one is where it is written as one.
"""

import re
from collections.abc import Iterator

from api.gate.detectors.context import called, called_otherwise
from api.gate.detectors.found import Found

_WORDS = (
    r"phone|phones|telephone|telefon|telefonnummer|telefono|teléfono|téléphone|tel|tél|telefax|fax|mobile|mobil|mobiel|"
    r"móvil|movil|cell|cellphone|cellulare|celular|handy|handynummer|gsm|whatsapp|signal|sms|call|calls|called|ring|dial|"
    r"hotline|msisdn|portable|rufnummer|durchwahl|phonenumber|mobilephone|telephonenumber|contactnumber|komórka|reach|anrufen"
)
#: ITU-T E.164: country codes of one, two and three digits.
_CODES = re.compile(
    r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|"
    r"2[1-6]\d|29\d|3[578]\d|42[0-3]|50\d|59\d|6[78]\d|69[0-2]|80[08]|85[0-6]|8[78]\d|9[67]\d|99[2-8]"
)
_SEPARATED = r"(?:[ ./-]{0,2}\(?\d{1,14}\)?)"
_PLUS = re.compile(rf"(?<![\w+])\+ ?\d{{1,3}}{_SEPARATED}{{1,8}}(?!\w)")
_ZEROS = re.compile(rf"(?<![\w.,:/+-])00[1-9]\d{{0,2}}{_SEPARATED}{{1,8}}(?!\w)")
_NORTH_AMERICA = re.compile(
    r"(?<![\w.+-])(?:\+?1[ .-]?)?(?:\([2-9]\d\d\)[ .-]?|[2-9]\d\d([ .-]))[2-9]\d\d[ .-]\d{4}(?![\w-])"
)
_TRUNK = re.compile(r"(?<![\w.,:/+-])(?<!\d )(?:\(0\d{1,5}\)|0\d{1,5})(?:[ ./-]{1,2}\d{2,8}){1,5}(?![\w/-]|[.,:]\d)")
_CALLED = re.compile(r"(?<![\w.,+-])\(?\d(?:[ ()./-]{0,2}\d){5,14}(?!\w|[.,:]\d)")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})(?!\d)|\d{4}[./-]\d{1,2}[./-]\d{1,2}(?!\d)")


def phones(text: str, name: str) -> Iterator[Found]:
    for match in _PLUS.finditer(text):
        digits = _digits(match[0])
        if 8 <= len(digits) <= 15 and _code(digits):
            yield _found(match, 0.97, f"+{digits}")
    for match in _ZEROS.finditer(text):
        digits = _digits(match[0])[2:]
        if 8 <= len(digits) <= 15 and _code(digits):
            if called(text, match.start(), match.end(), name, _WORDS):
                yield _found(match, 0.97, f"+{digits}")
            elif not match[0].isdecimal() and not called_otherwise(text, match.start()):
                yield _found(match, 0.8, f"+{digits}")
    yield from _national(text, name)


def _national(text: str, name: str) -> Iterator[Found]:
    for match in _NORTH_AMERICA.finditer(text):
        if called(text, match.start(), match.end(), name, _WORDS):
            yield _found(match, 0.97)
        elif not called_otherwise(text, match.start()):
            yield _found(match, 0.8)
    for match in _TRUNK.finditer(text):
        digits = _digits(match[0])
        if not 9 <= len(digits) <= 12 or _DATE.match(match[0]) or not _grouped(match[0]):
            continue
        if not called_otherwise(text, match.start()):
            yield _found(match, 0.7)
    for match in _CALLED.finditer(text):
        if not 6 <= len(_digits(match[0])) <= 15 or _DATE.match(match[0]) or called_otherwise(text, match.start()):
            continue
        if called(text, match.start(), match.end(), name, _WORDS):
            yield _found(match, 0.9)


def _grouped(text: str) -> bool:
    """Whether it is written as numbers of telephones are: an area and a number, or pairs."""
    groups = [group for group in re.split(r"[ ()./-]+", text) if group]
    separators = set(re.findall(r"[./-]", text))
    return len(groups) >= 2 and len(separators) <= 1 and groups[0][:2] != "00" and 2 <= len(groups[0]) <= 6


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text.replace("(0)", "")))


def _code(digits: str) -> bool:
    return _CODES.match(digits) is not None


def _found(match: re.Match[str], confidence: float, value: str | None = None) -> Found:
    start = match.start()
    text = match[0].rstrip(" ./-(")
    opened = text.count("(") - text.count(")")
    if opened < 0 and text.endswith(")"):
        text = text[:-1]
    return Found("phone", start, start + len(text), confidence, value or _digits(text))
