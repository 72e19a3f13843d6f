"""Texts as a machine or a careful reader would take them, with what hides an address from a plain search undone."""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator

#: What nobody sees in a text: of no width, joining, turning its direction, tags, fillers and selectors.
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\U000e0000-\U000e0fff]"
)
#: Shows what follows it backwards, Latin letters too.
_OVERRIDE = "\u202e"
#: The block of tags: each stands for one character of ASCII, and none is shown.
_TAGS = re.compile("[\U000e0020-\U000e007e]")
#: Letters of other scripts that are taken for Latin ones (Unicode's table of confusables), in words that mix the two.
_LIKE_LATIN = str.maketrans(
    "асԁеһіјӏоррԛѕυѵԝхуАВСЕНІЈКМОРЅТУХαικνορτχΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡ",  # that is what they do
    "acdehijloppqsuvwxyABCEHIJKMOPSTYXaikvoptxABEZHIKMNOPTYXiag",
)
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_DOT = re.compile(
    r"\s?(?:\[\s?(?:\.|dot)\s?\]|\(\s?(?:\.|dot)\s?\)|\{\s?(?:\.|dot)\s?\}|<\s?dot\s?>)\s?", re.IGNORECASE
)
_AT = re.compile(r"\s?(?:\[\s?(?:@|at)\s?\]|\(\s?(?:@|at)\s?\)|\{\s?(?:@|at)\s?\}|<\s?at\s?>)\s?", re.IGNORECASE)
_SPOKEN_AT = re.compile(
    r"\b([\w.+-]{1,64}) at ([\w-]{1,63}(?:(?: dot | \. |\.)(?!(?:in|is|it|at|to|so|the)\b)[\w-]{2,63}){1,4})(?!\w)",
    re.IGNORECASE,
)
_SPOKEN_DOT = re.compile(
    r"(?<=\w) (?:dot|punkt|punto|point) (?=(?:com|net|org|info|io|co|biz|xyz|app|dev|example|eu|de|uk)\b)",
    re.IGNORECASE,
)
_OTHER_DOTS = re.compile("(?<=\\w)[\u3002\uff0e\uff61\u2024\u00b7\u2027\u30fb](?=\\w)")
_HXXP = re.compile(r"\bh(?:xx|\*\*|tt)p(s?)(?:\[:\]|\s?:\s?)//", re.IGNORECASE)
#: What could be text in base64 (RFC 4648, both alphabets) or in hexadecimal digits.
_BLOB = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/-])")


def reveal(text: str) -> str:
    """The text without what is unseen, in its plain characters, with encodings and spelled-out dots and ats undone."""
    found = unicodedata.normalize("NFKC", UNSEEN.sub("", text))
    if not found.isascii():
        found = re.sub(r"\S+", _in_latin, found)
    for _ in range(2):  # encoded twice is a known trick; a third time is nobody's mail program
        if "&" in found:
            found = html.unescape(found)
        if "%" in found:
            found = _PERCENT.sub(_unquoted, found)
    found = UNSEEN.sub("", _OTHER_DOTS.sub(".", found))
    if "[" in found or "(" in found or "{" in found or "<" in found:
        found = _AT.sub("@", _DOT.sub(".", found))
    lowered = found.lower()
    if " dot " in lowered or " at " in lowered or " pu" in lowered or " point " in lowered:
        found = _SPOKEN_AT.sub(_spoken, _SPOKEN_DOT.sub(".", found))
    return _HXXP.sub(r"http\1://", found)


def turned(text: str) -> Iterator[str]:
    """What a text shows or tells where it is turned round, or letters that only machines see (tags)."""
    if _OVERRIDE in text:
        yield text[::-1]
    if _TAGS.search(text):
        yield _TAGS.sub(lambda tag: chr(ord(tag[0]) - 0xE0000), text)


def _in_latin(word: re.Match[str]) -> str:
    """A word that mixes scripts, as it is read."""
    mixed = not word[0].isascii() and any(c.isascii() and c.isalnum() for c in word[0])
    return word[0].translate(_LIKE_LATIN) if mixed else word[0]


def _unquoted(match: re.Match[str]) -> str:
    raw = bytes.fromhex(match[0].replace("%", ""))
    return raw.decode("utf-8", "replace")


def _spoken(match: re.Match[str]) -> str:
    host = re.sub(r" ?(?:\.| dot ) ?", ".", match[2], flags=re.IGNORECASE)
    return f"{match[1]}@{host}"


def decoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Passages in base64 or hexadecimal digits that decode to text, as (start, end, what they say)."""
    for blob in _BLOB.finditer(text):
        said = _decoded(blob[0])
        if said:
            yield blob.start(), blob.end(), said


def _decoded(blob: str) -> str | None:
    bare = blob.rstrip("=")
    tries: list[bytes] = []
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", bare):
        tries.append(bytes.fromhex(bare))
    if len(bare) % 4 != 1:
        padded = bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4)
        try:
            tries.append(base64.b64decode(padded, validate=True))
        except (binascii.Error, ValueError):
            tries.append(b"")
    return next((said for raw in tries if (said := _readable(raw))), None)


def _readable(raw: bytes) -> str | None:
    for encoding in ("utf-8", "utf-16-le"):
        try:
            said = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        plain = sum(c.isascii() and (c.isprintable() or c in "\r\n\t") for c in said)
        if len(said) >= 8 and plain >= len(said) * 0.9:
            return said
    return None
