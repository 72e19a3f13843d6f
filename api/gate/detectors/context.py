"""What stands around a value, and what the field that it is in is called."""

import re
from functools import lru_cache

from api.gate.detectors.reading import words_of

#: Characters before a value in which a word may say what it is, and after it.
BEFORE, AFTER = 40, 16
#: A sentence that has ended says nothing of what follows.
_ENDED = re.compile(r"[;\n!?]|[a-z]{2}\. ")
#: What a number is called that is of a business and not of a person.
_OTHER = (
    r"order|invoice|rechnung|facture|factura|fattura|ref|reference|referenz|tracking|shipment|parcel|ticket|case|po|batch|"
    r"lot|sku|article|artikel|item|product|part|serial|build|transaction|txn|commit|job|session|trace|span|isbn|ean|gtin|"
    r"upc|imei|meter|timestamp|epoch|row|rows|bytes|units|pcs|version|v"
)


@lru_cache(maxsize=64)
def words(alternatives: str) -> re.Pattern[str]:
    """Any of these words, as a whole, in any case."""
    return re.compile(rf"(?<![^\W\d_])(?:{alternatives})(?![^\W\d_])", re.IGNORECASE)


def before(text: str, start: int) -> str:
    """What is said right before a value, in the same sentence."""
    said = text[max(0, start - BEFORE) : start]
    ends = [match.end() for match in _ENDED.finditer(said)]
    return said[ends[-1] :] if ends else said


def called(text: str, start: int, end: int, name: str, alternatives: str) -> bool:
    """Whether a value is called one of these words: right before it, in brackets after it, or by its field's name."""
    pattern = words(alternatives)
    named = words_of(name)
    if any(pattern.fullmatch(word) for word in named):
        return True
    if pattern.search(before(text, start)):
        return True
    after = re.match(r"\s{0,2}\(([^)]{1,14})\)", text[end : end + AFTER])
    return after is not None and pattern.search(after[1]) is not None


def called_otherwise(text: str, start: int) -> bool:
    """Whether the word right before a value calls it a number of something else, as of an order."""
    said = text[max(0, start - BEFORE) : start]
    match = re.search(
        r"([^\W\d_]+)[\s\d.:#=\"'/-]{0,6}(?:(?:no|nr|number|num|id|code)[\s.:#=\"'/-]{0,4})?$", said, re.I
    )
    return match is not None and words(_OTHER).fullmatch(match[1]) is not None
