"""Passages of untrusted text that read like instructions. They are shown to the reviewer and raise the risk score.

A signal lowers nothing and decides nothing: whoever writes a text can avoid every pattern here. What holds is that
nothing in an untrusted text can ground a value or ask for an effect (docs/grounding.md).
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from api.gate.decisions import Signal
from api.gate.facts import ObservationFacts, RunFacts
from api.gate.grounding.disguise import UNSEEN, decoded
from api.gate.grounding.sources import indexed
from api.gate.injection_patterns import HIDDEN, SPACED, SPACED_WORDS, SPOKEN, TURNED

#: Characters of one observation, its signals, and signals of one run that are looked at.
MAX_TEXT = 65_536
MAX_OF_OBSERVATION = 20
MAX_OF_RUN = 50
#: Characters of one run that are looked at, so that a cold start stays within seconds at worst.
MAX_READ = 16 * MAX_TEXT
_EXCERPT = 160

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
#: Nothing to see, several times; single joiners stand in emoji and in some scripts.
_BLANK = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u00ad]{3,}|[\U000e0020-\U000e007f]{2,}")
_INSIDE = re.compile("(?<=[A-Za-z])[\u200b-\u200d\u2060-\u2064\ufeff\u00ad\u034f]+(?=[A-Za-z])")
#: Letters of Greek and Cyrillic that are taken for Latin ones, and those.
_ALIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝАВЕКМНОРСТХІЅЈαορνικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijshdqwABEKMHOPCTXISJaopvikABEZHIKMNOPTYX",
)
_FOREIGN = re.compile("[" + "".join(map(chr, _ALIKE)) + "]")
_MIXED = re.compile(r"[^\W\d_]{3,60}")
_WIDE = re.compile("[\uff01-\uff5e\U0001d400-\U0001d7ff\u2460-\u24ff]")
_LATIN = re.compile("[A-Za-z]")


class Passage(NamedTuple):
    kind: str
    start: int
    end: int


def signals_of(run: RunFacts) -> list[Signal]:
    """The signals of what a run has read, in its order: MAX_OF_RUN at most, of MAX_READ characters."""
    held = run.__dict__.get("_signals")
    if held is not None and held[0] is run.observations and held[1] == len(run.observations):
        kept: list[Signal] = held[2]
        return kept
    found: list[Signal] = []
    left = MAX_READ
    for observation in run.observations:
        if left <= 0 or len(found) >= MAX_OF_RUN:
            break
        left -= min(MAX_TEXT, sum(len(text) for _, text in indexed(observation).untrusted))
        found += _signals(observation)
    run.__dict__["_signals"] = (run.observations, len(run.observations), found[:MAX_OF_RUN])
    return found[:MAX_OF_RUN]


def _signals(observation: ObservationFacts) -> list[Signal]:
    held = observation.__dict__.get("_signals")
    if held is not None and held[0] is observation.result and held[1] is observation.labels:
        kept: list[Signal] = held[2]
        return kept
    found: list[Signal] = []
    left = MAX_TEXT
    for pointer, text in indexed(observation).untrusted:
        found += [_signal(observation, pointer, text, passage) for passage in passages(text[:left])]
        left -= len(text)
        if left <= 0 or len(found) >= MAX_OF_OBSERVATION:
            break
    found = found[:MAX_OF_OBSERVATION]
    observation.__dict__["_signals"] = (observation.result, observation.labels, found)
    return found


def _signal(observation: ObservationFacts, pointer: str, text: str, passage: Passage) -> Signal:
    excerpt = text[passage.start : min(passage.end, passage.start + _EXCERPT)]
    return Signal(
        observation_id=observation.id,
        pointer=pointer,
        kind=passage.kind,
        excerpt="".join(c if c.isprintable() or c == "\n" else f"<U+{ord(c):04X}>" for c in excerpt),
        start=passage.start,
        end=passage.end,
    )


def passages(text: str) -> list[Passage]:
    """Every passage in the first MAX_TEXT characters that reads like an instruction or hides one, without overlaps."""
    text = text[:MAX_TEXT]
    found = sorted({*_hidden(text), *_spoken(text), *_spaced(text), *_encoded(text), *_mixed(text)}, key=_place)
    kept: list[Passage] = []
    for passage in found:
        if not any(p.kind == passage.kind and passage.start < p.end for p in kept[-8:]):
            kept.append(passage)
    return kept


def _place(passage: Passage) -> tuple[int, int, str]:
    return passage.start, -passage.end, passage.kind


def _hidden(text: str) -> Iterator[Passage]:
    if not text.isascii():
        for pattern in (_TURNING, _BLANK, _INSIDE):
            found = islice(pattern.finditer(text), MAX_OF_OBSERVATION)
            yield from (Passage("hidden_text", *m.span()) for m in found)
    if "<" in text:
        lowered = text.lower()
        yield from (Passage("hidden_text", *span) for pattern in HIDDEN for span in pattern.find(text, lowered))


def _spoken(text: str) -> Iterator[Passage]:
    """What is asked in plain words, also where letters are swapped for others that look the same."""
    plain, places = _plain(text)
    for turned, kinds in ((plain, SPOKEN), (codecs.encode(plain, "rot13"), TURNED)):
        lowered = turned.lower()
        for kind, patterns in kinds.items():
            for pattern in patterns:
                for start, end in pattern.find(turned, lowered):
                    yield Passage(kind, places[start], places[end - 1] + 1)


def _plain(text: str) -> tuple[str, list[int] | range]:
    """The text as it is read, and where each of its characters came from."""
    if text.isascii() or not (UNSEEN.search(text) or _FOREIGN.search(text) or _WIDE.search(text)):
        return text, range(len(text))
    read, places = [], []
    mixed = [m.span() for m in _MIXED.finditer(text) if _FOREIGN.search(m[0]) and _LATIN.search(UNSEEN.sub("", m[0]))]
    swapped = {n for start, end in mixed for n in range(start, end)}
    for n, character in enumerate(text):
        if UNSEEN.match(character):
            continue
        for c in unicodedata.normalize("NFKC", character):
            read.append(c.translate(_ALIKE) if n in swapped else c)
            places.append(n)
    return "".join(read), places


def _spaced(text: str) -> Iterator[Passage]:
    for match in SPACED.finditer(text):
        if SPACED_WORDS.search(re.sub(r"[\s.\-_*]", "", match[0]).lower()):
            yield Passage("override", *match.span())


def _encoded(text: str) -> Iterator[Passage]:
    """What decodes to several words: nobody writes to a person in base64."""
    for start, end, said in decoded(text):
        words = re.findall(r"[A-Za-z]{2,}", said)
        if len(words) >= 3 and " " in said.strip():
            yield Passage("encoded", start, end)


def _mixed(text: str) -> Iterator[Passage]:
    """Words of Latin letters with some of another script among them that look the same."""
    if text.isascii() or not _FOREIGN.search(text):
        return
    for match in _MIXED.finditer(text):
        if _FOREIGN.search(match[0]) and len(_LATIN.findall(match[0])) >= 2:
            yield Passage("look_alike", *match.span())
