"""Texts that a reviewer has read, with `{placeholder}`s, and whether a message is one of them."""

import re
import unicodedata
from bisect import bisect_left
from functools import lru_cache

from api.gate.grounding.addresses import MAX_FOUND, scan

#: Characters that one placeholder stands for at most; more would be a message of its own.
LONGEST = 200
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_ .-]{0,60}\}")
#: Placeholders of one template; one with more is a form, and nobody reads what it could say.
_MOST = 40


def fills(template: str, text: str) -> bool:
    """Whether the text is the template with its placeholders filled by short, harmless values.

    Harmless is one line of at least one and at most LONGEST characters, without anything unseen, and without an
    address, a link or an account in it or reaching into it. Takes time in proportion to the text for each placeholder.
    """
    pieces = _pieces(template)
    gaps = len(pieces) - 1
    if gaps > _MOST or len(text) > sum(map(len, pieces)) + gaps * LONGEST:
        return False
    if gaps == 0:
        return text == template
    # What is harmful takes longer to find than whether the pieces are there at all.
    return _reaches(pieces, text, []) and _reaches(pieces, text, _harmful(text))


def _reaches(pieces: list[str], text: str, bad: list[int]) -> bool:
    """Whether the pieces follow each other up to the end, with nothing of `bad` between them."""
    # Where the pieces so far can have ended. The nearest one before gives the shortest value, and if that is not
    # harmless, then no longer one is.
    ends = [len(pieces[0])] if text.startswith(pieces[0]) else []
    for index, piece in enumerate(pieces[1:], 1):
        last = index == len(pieces) - 1
        starts = _starts(text, piece) if not last else ([len(text) - len(piece)] if text.endswith(piece) else [])
        ends = [start + len(piece) for start in starts if _harmless(ends, start, bad)]
        if not ends:
            return False
    return True


@lru_cache(maxsize=512)
def _pieces(template: str) -> list[str]:
    return _PLACEHOLDER.split(template)


def _starts(text: str, piece: str) -> list[int]:
    if not piece:
        return list(range(len(text) + 1))
    found, at = [], text.find(piece)
    while at >= 0:
        found.append(at)
        at = text.find(piece, at + 1)
    return found


def _harmless(ends: list[int], start: int, bad: list[int]) -> bool:
    nearest = bisect_left(ends, start) - 1
    if nearest < 0:
        return False
    begin = ends[nearest]
    return start - begin <= LONGEST and bisect_left(bad, begin) == bisect_left(bad, start)


def _harmful(text: str) -> list[int]:
    """The places of a text that no value may hold, in order."""
    found_addresses = scan(text)
    if len(found_addresses) > MAX_FOUND or any(one.disguised for one in found_addresses):
        # Something is hidden somewhere in it: no value is vouched for.
        return list(range(len(text)))
    found = {n for n, c in enumerate(text) if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Co", "Cn")}
    for one in found_addresses:
        found.update(range(one.start, one.end))
    return sorted(found)
