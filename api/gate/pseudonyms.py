"""Tokens instead of values: an agent or a model sees `<IBAN_1_1>`, and what it proposes is given the IBAN back.

A token is a function of what was read in the run, so no table is needed and every instance makes the same: the kind,
the number of the observation (0: the instruction and the subject), and which distinct value of that kind in it, in
order of the document with its members sorted. So a token means one value for ever, whatever else is read or erased;
those of an erased observation mean nothing any more. A value is shown by the first token that it has.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from api.gate.detectors import MASKS, Found, Kind, detect
from api.gate.detectors.reading import read, words_of
from api.gate.facts import RunFacts
from api.gate.pointer import escape
from api.gate.vocabulary import Pseudonym

#: By kind, the word in its tokens.
WORDS: dict[Pseudonym, str] = {
    "iban": "IBAN",
    "card": "CARD",
    "account": "ACCOUNT",
    "email": "EMAIL",
    "phone": "PHONE",
    "national_id": "ID",
    "ip": "IP",
    "personal": "PERSON",
}
_ANY = "|".join(WORDS.values())
_TOKEN = re.compile(rf"<(?:{_ANY})_(?:0|[1-9]\d{{0,5}})_[1-9]\d{{0,5}}>")
#: Whatever begins as a token does, in any case, is meant as one.
_MEANT = re.compile(rf"<\s*/?\s*(?:{_ANY})\s*_[^<>\n]{{0,40}}>?", re.IGNORECASE)
_OPENING = re.compile("[<\uff1c\ufe64\u2039\u3008\u27e8]")
_LETTERS = re.compile(rf"(?:{_ANY})", re.IGNORECASE)
#: Characters of a field that a contract labels personal, up to which it is one value: a name, and not a letter.
LONGEST_FIELD = 80
_CARDS: tuple[Kind, ...] = ("card",)
_AS_WRITTEN = frozenset({"account", "personal", "email", "phone", "ip"})
#: The least number of 13 digits: none of fewer is a card's.
_OF_A_CARD = 10**12
#: Characters of a value by which it is found where nothing else says what it is.
SHORTEST = 4
_ACCOUNT = frozenset(
    {"account", "accounts", "iban", "bic", "swift", "routing", "sort", "sortcode", "bban", "konto", "pan"}
)
#: Dates, times and amounts, which stay; and codes of currencies and countries.
_STAYS = re.compile(r"\d{4}-\d\d(?:-\d\d)?(?:[T ][\d:.,+Z-]{2,24})?|[+-]?\d{1,12}(?:[.,]\d{1,6})?|[A-Z]{2,3}")
_WORD = re.compile(r"\w+")


class UnknownTokenError(ValueError):
    """A text names a token that was not given out in this run, or whose value is erased. pointer: where."""

    def __init__(self, pointer: str, token: str) -> None:
        super().__init__(f"{token} is no token that was given out in this run, or its value is erased; read it again.")
        self.pointer, self.token = pointer, token


def is_token(value: Any) -> bool:
    """Whether something is written as a token as a whole, whoever gave it out."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


@dataclass(slots=True)
class Pseudonyms:
    """The tokens of one run; made by `of`.

    values: by token. tokens: the first, by kind and value; known: of texts that are hidden wherever they stand, in
    lower case, by their first word: the lengths that they have, and their tokens.
    """

    kinds: frozenset[Pseudonym]
    values: dict[str, Any] = field(default_factory=dict)
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    known: dict[str, tuple[set[int], dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunFacts | None, kinds: Collection[Pseudonym]) -> "Pseudonyms":
        """Those of everything that was read in the run so far. Deterministic; kept with the run, which is immutable."""
        wanted = frozenset(kinds)
        if run is None or not wanted:
            return cls(wanted)
        held = run.__dict__.get("_pseudonyms")
        if held is not None and held[0] == wanted:
            kept: Pseudonyms = held[1]
            return kept
        made = cls(wanted)
        made._learn(0, {"instruction": run.instruction, "subject": run.subject}, {})
        for number, observation in enumerate(run.observations, 1):
            if not observation.erased:
                made._learn(number, observation.result, observation.labels)
        run.__dict__["_pseudonyms"] = (wanted, made)
        return made

    def hide(self, document: Any, name: str = "") -> Any:
        """The document, or text, with a token in the place of every value of the kinds that was read in the run.

        A value of these kinds that was not read has no token: it is masked (`[IBAN]`), as credentials are. What only
        looks like a token is written with another bracket, so that it cannot be taken for one. Not to be applied twice.
        """
        if isinstance(document, str):
            return self._hidden(document, name)
        if isinstance(document, dict):
            return {self._hidden(key, ""): self.hide(value, f"{name}/{escape(key)}") for key, value in document.items()}
        if isinstance(document, list):
            return [self.hide(item, name) for item in document]
        if isinstance(document, int) and not isinstance(document, bool):
            return self._number(document, name)
        return document

    def shown(self, document: Any, at: str = "") -> Any:
        """The document with the value in the place of every token. Raises UnknownTokenError for any other.

        A text that is a token as a whole becomes the value as it was read, a number if it was one; within a longer text
        it is written out. Names of members are not given values.
        """
        if isinstance(document, str):
            return self._revealed(document, at)
        if isinstance(document, dict):
            for key in document:
                if named := _MEANT.search(key):
                    raise UnknownTokenError(at, named[0])
            return {key: self.shown(value, f"{at}/{escape(key)}") for key, value in document.items()}
        if isinstance(document, list):
            return [self.shown(item, f"{at}/{index}") for index, item in enumerate(document)]
        return document

    def _number(self, number: int, name: str) -> Any:
        """A number that is known of the run, or is one of a card: of more digits than an amount has."""
        token = self.whole.get(str(number))
        if token is not None or number < _OF_A_CARD:
            return number if token is None else token
        hidden = self._hidden(str(number), name)
        return number if hidden == str(number) else hidden

    def _revealed(self, text: str, at: str) -> Any:
        if not text.isascii():
            self._refuse_disguised(text, at)
        if "<" not in text:
            return text
        if text in self.values:
            return self.values[text]

        def value(match: re.Match[str]) -> str:
            if _TOKEN.fullmatch(match[0]) is None or match[0] not in self.values:
                raise UnknownTokenError(at, match[0])
            return str(self.values[match[0]])

        return _MEANT.sub(value, text)

    @staticmethod
    def _refuse_disguised(text: str, at: str) -> None:
        """What reads as a token, and is none for what is between its letters or how its bracket is written."""
        seen = _MEANT.findall(read(text).text)
        if len(seen) > len(_MEANT.findall(text)):
            raise UnknownTokenError(at, seen[-1])

    def _learn(self, source: int, document: Any, labels: dict[str, dict[str, str]]) -> None:
        counted: dict[tuple[str, str], str] = {}
        counts: dict[str, int] = {}
        for kind, value, written in _values(document, labels, self.kinds):
            if (kind, value) in counted:
                continue
            counts[kind] = counts.get(kind, 0) + 1
            token = f"<{WORDS[kind]}_{source}_{counts[kind]}>"
            counted[kind, value] = token
            self.values[token] = written if kind in _AS_WRITTEN or isinstance(written, int) else value
            self._remember(self.tokens.setdefault((kind, value), token), str(written))

    def _remember(self, token: str, written: str) -> None:
        self.whole.setdefault(written, token)
        first = _WORD.search(written)
        if first is not None and first.start() == 0 and len(written) >= SHORTEST:
            lengths, tokens = self.known.setdefault(first[0].lower(), (set(), {}))
            lengths.add(len(written))
            tokens.setdefault(written.lower(), token)

    def _hidden(self, text: str, name: str) -> str:
        if (token := self.whole.get(text)) is not None:
            return token
        kinds: tuple[Kind, ...] = ("credential", *(kind for kind in MASKS if kind in self.kinds))
        spans = [(f.start, f.end, self.tokens.get((f.kind, f.value), MASKS[f.kind])) for f in detect(text, name, kinds)]
        parts, at = [], 0
        for start, end, token in [*spans, (len(text), len(text), "")]:
            parts += [self._known(text[at:start]), token]
            at = end
        return "".join(parts)

    def _known(self, text: str) -> str:
        """A passage in which no detector found anything: what is known of the run is found by its words."""
        parts, at = [], 0
        for word in _WORD.finditer(text):
            if word.start() < at:
                continue
            lengths, tokens = self.known.get(word[0].lower(), (set(), {}))
            for length in sorted(lengths, reverse=True):
                end = word.start() + length
                after = text[end : end + 1]
                token = tokens.get(text[word.start() : end].lower())
                if token is not None and not (after.isalnum() or after == "_"):
                    parts += [_escaped(text[at : word.start()]), token]
                    at = end
                    break
        return "".join([*parts, _escaped(text[at:])])


def _escaped(text: str) -> str:
    """The text with another bracket before whatever reads as the word of a token, with or without anything between."""

    def bracket(match: re.Match[str]) -> str:
        following = read(text[match.end() : match.end() + 40]).text
        return "\u2039" if _LETTERS.match("".join(c for c in following if c.isalpha())) else match[0]

    return _OPENING.sub(bracket, text)


def _values(
    document: Any, labels: dict[str, dict[str, str]], kinds: frozenset[Pseudonym]
) -> Iterator[tuple[Pseudonym, str, Any]]:
    """Every value to hide, as (kind, the form in which two writings are equal, as it is written), in order."""
    for pointer, pattern, leaf in _leaves(document):
        if isinstance(leaf, int) and not isinstance(leaf, bool):
            kind = _labelled(pointer, str(leaf), labels.get(pattern, {}).get("data_class"))
            if kind in kinds and len(str(leaf)) >= 6:
                yield kind, str(leaf), leaf
            elif leaf >= _OF_A_CARD:
                yield from (("card", f.value, leaf) for f in detect(str(leaf), pointer, _CARDS) if f.kind in kinds)
        elif isinstance(leaf, str) and leaf:
            yield from _of_text(pointer, leaf, labels.get(pattern, {}).get("data_class"), kinds)


def _of_text(
    pointer: str, text: str, data_class: str | None, kinds: frozenset[Pseudonym]
) -> Iterator[tuple[Pseudonym, str, Any]]:
    found = [f for f in detect(text, pointer) if f.kind in kinds]
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        yield from _told(found, text)
        return
    kind = _labelled(pointer, text, data_class)
    if kind in kinds and not _OPENING.search(text) and not (kind == "personal" and _STAYS.fullmatch(text)):
        yield kind, text.strip().lower(), text
    else:
        yield from _told(found, text)


def _told(found: list[Found], text: str) -> Iterator[tuple[Pseudonym, str, Any]]:
    for one in found:
        if one.kind != "credential" and one.kind != "url":
            yield one.kind, one.value, text[one.start : one.end]


def _labelled(pointer: str, text: str, data_class: str | None) -> Pseudonym | None:
    """What a whole field is by its label: `personal` if it is short, `account` if it is financial and called so."""
    if data_class in ("personal", "regulated") and 2 <= len(text) <= LONGEST_FIELD and "\n" not in text:
        return "personal"
    if data_class == "financial" and len(text) <= LONGEST_FIELD and words_of(pointer.rpartition("/")[2]) & _ACCOUNT:
        return "account"
    return None


def _leaves(document: Any, at: str = "", pattern: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every scalar as (pointer, pattern as labels have it, value), members in order of their names."""
    if isinstance(document, dict):
        for name in sorted(document):
            step = escape(name)
            yield from _leaves(document[name], f"{at}/{step}", f"{pattern}/{'*' if step.isdecimal() else step}")
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from _leaves(item, f"{at}/{index}", f"{pattern}/*")
    else:
        yield at, pattern, document
