"""A text as detectors read it, each character of it with its place in the text that was given."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from api.gate.sensitive import UNSEEN

#: Cyrillic and Greek letters that are taken for Latin ones. It matters only in a value of Latin letters.
_ALIKE = dict(
    zip(
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423\u0430"
        "\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455"
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf",
        "ABCEHIJKMOPSTXYaeopcyxijsABEZHIKMNOPTYXo",
        strict=True,
    )
)
#: Hyphens, dashes and minus signs.
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")


@dataclass(frozen=True, slots=True)
class Reading:
    """text: digits of any script as 0 to 9, compatible characters in their plain form, nothing that is not seen.

    places: by index in `text`, that in what was given; None where they are the same.
    """

    text: str
    places: list[int] | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where a slice of `text` is in what was given."""
        if self.places is None or start >= end:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def read(given: str) -> Reading:
    """Linear in the length of what is given."""
    if given.isascii():
        return Reading(given)
    parts, places = [], []
    for place, character in enumerate(given):
        plain = character if character.isascii() else _plain(character)
        parts.append(plain)
        places += [place] * len(plain)
    return Reading("".join(parts), places)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if UNSEEN.match(character):
        return ""
    if character in _DASHES:
        return "-"
    if (alike := _ALIKE.get(character)) is not None:
        return alike
    digit = unicodedata.decimal(character, None)
    return str(digit) if digit is not None else unicodedata.normalize("NFKC", character)


_WORD = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*|[^\W\d_]+")


@lru_cache(maxsize=4096)
def words_of(name: str) -> frozenset[str]:
    """The words of a field's name or pointer, in lower case: `/employee/bsnNumber` is employee, bsn, number."""
    words = [word.lower() for word in _WORD.findall(name[-200:])]
    pairs = [f"{one}{other}" for one, other in pairwise(words)]
    return frozenset((*words, *pairs))
