"""Personal and financial values, credentials and addresses in texts: where they are, and how sure that is.

Pure, deterministic, linear in the length of the text; measured by `python -m scripts.detectors`.
"""

import re
from collections.abc import Callable, Collection, Iterator

from api.gate.detectors.addresses import emails, ips, urls
from api.gate.detectors.found import CLASS_OF_KIND, KINDS, MASKS, Found, Kind
from api.gate.detectors.keys import credentials
from api.gate.detectors.national_ids import national_ids
from api.gate.detectors.payment import cards, ibans
from api.gate.detectors.phones import phones
from api.gate.detectors.reading import read

__all__ = ["CLASS_OF_KIND", "KINDS", "MASKS", "Found", "Kind", "detect", "masked"]

_DETECTORS: dict[Kind, Callable[[str, str], Iterator[Found]]] = {
    "credential": credentials,
    "iban": ibans,
    "card": cards,
    "email": emails,
    "url": urls,
    "national_id": national_ids,
    "ip": ips,
    "phone": phones,
}
#: Ids, digests and times, of which no part is anything else.
_WHOLE = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-f]{32,128}|[0-9A-F]{32,128}|"
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)(?![0-9A-Za-z])"
)


def detect(text: str, name: str = "", kinds: Collection[Kind] = KINDS) -> list[Found]:
    """Every value of these kinds, in order of place, none in another; offsets are those of the text that was given.

    name: the field's name or JSON pointer, which may say what a number is. Where two overlap, the kind that comes first
    in KINDS stands, of one kind the surer one, then the longer one, then the first.
    """
    reading = read(text)
    whole = [match.span() for match in _WHOLE.finditer(reading.text)]
    candidates = [
        found
        for kind in KINDS
        if kind in kinds
        for found in _DETECTORS[kind](reading.text, name)
        if kind in ("credential", "url") or not _within(found, whole)
    ]
    candidates.sort(key=lambda f: (KINDS.index(f.kind), -f.confidence, f.start - f.end, f.start))
    found = [_placed(f, reading.place(f.start, f.end)) for f in _apart(candidates, len(reading.text))]
    return sorted(found, key=lambda f: f.start)


def _within(found: Found, spans: list[tuple[int, int]]) -> bool:
    from bisect import bisect_right

    at = bisect_right(spans, (found.start, len(spans) and spans[-1][1])) - 1
    return at >= 0 and spans[at][0] <= found.start and found.end <= spans[at][1]


def _apart(candidates: list[Found], length: int) -> Iterator[Found]:
    taken = bytearray(length)
    for found in candidates:
        if found.end > found.start and not any(taken[found.start : found.end]):
            taken[found.start : found.end] = b"\x01" * (found.end - found.start)
            yield found


def _placed(found: Found, place: tuple[int, int]) -> Found:
    return Found(found.kind, *place, found.confidence, found.value, found.what)


def masked(text: str, found: list[Found]) -> str:
    """The text with `[IBAN]` and the like in the place of what was found in it, in order of place."""
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], MASKS[one.kind]]
        at = one.end
    return "".join([*parts, text[at:]])
