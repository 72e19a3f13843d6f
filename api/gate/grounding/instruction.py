"""What an instruction names and what it asks for.

The instruction is trusted: it is the words of whoever started the run.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from api.gate.grounding import lexicon
from api.gate.grounding.addresses import scan
from api.gate.grounding.dates import dates
from api.gate.grounding.numbers import Written, spelled, written

#: Characters of an instruction that are read.
MAX_TEXT = 65_536

_WORD = re.compile(r"[^\W_]+")
_SPOKEN = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*['\u2019]?|[.;:!?\n,()]")
_BREAKS = frozenset(".;:!?\n,()")
_ENDS = frozenset(".;!?\n")
#: What follows a word that is the name of a thing: "email from Bob", "Refund: see below".
_NOUN_BEFORE = frozenset({"from", "of", "about", "von", "de", ":"})
_EDGES = " \t\r\n.,;:!?\"'`()[]{}<>*#\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e"
_RUN = re.compile(r"\d(?:[ -]?\d){4,33}")


@dataclass(frozen=True)
class Reading:
    """What is taken from an instruction once, to be asked many times.

    words: in order, folded, between spaces. tokens: exactly as written, without the punctuation around them. keys: of
    its addresses and accounts. asks: words that stand as an order. spoken: every word, and whether it is denied.
    """

    words: str
    stems: frozenset[str]
    tokens: frozenset[str]
    keys: frozenset[str]
    written: tuple[Written, ...]
    numbers: frozenset[Decimal]
    dates: frozenset[str]
    asks: frozenset[str]
    spoken: tuple[tuple[str, bool], ...] = field(repr=False)

    def names(self, text: str) -> bool:
        """Whether the text stands in the instruction as whole words, whatever their case; a stop-word is no name."""
        return not self.is_nobody(text) and f" {' '.join(words_of(text))} " in self.words

    def spells(self, text: str) -> bool:
        """Whether several words of the instruction, one after the other, are the text without their spaces."""
        sought = text.casefold()
        if not sought.isalpha() or len(sought) < 6 or sought not in self.words.replace(" ", ""):
            return False
        spoken = self.words.split()
        for start in range(len(spoken)):
            said = ""
            for word in spoken[start : start + 4]:
                said += word
                if said == sought:
                    return True
                if len(said) > len(sought):
                    break
        return False

    def switches(self, told: Iterable[str], on: bool) -> bool:
        """Whether all words of a switch's name are said, as what it is set to: "notify" turns it off in "do not"."""
        wanted = {stem(word) for word in told}
        if not wanted or not wanted <= self.stems:
            return False
        if on:
            return wanted <= self._stems(False)
        return not wanted.isdisjoint(self._stems(True)) or self.says(lexicon.OFF)

    def rules_out(self, text: str) -> bool:
        """Whether the text is one word that the instruction says only to deny it."""
        said = {stem(word) for word in words_of(text)}
        return len(said) == 1 and said <= self._stems(True) and not said <= self._stems(False)

    def _stems(self, denied: bool) -> frozenset[str]:
        spoken = (word for word, is_denied in self.spoken if is_denied is denied)
        return frozenset(stem(part) for word in spoken for part in words_of(word))

    def is_nobody(self, text: str) -> bool:
        """Whether the text is too little to name anything: a letter, or words that every sentence has."""
        wanted = words_of(text)
        return not any(word.isdecimal() or (len(word) > 1 and word not in lexicon.STOP) for word in wanted)

    def asks_for(self, effect: str, own: Iterable[str] = ()) -> bool:
        """Whether a word by which the effect is known, or one of the tool's own, stands as an order, undenied."""
        if not self.asks.isdisjoint(lexicon.DEEDS.get(effect, ())) or not self.asks.isdisjoint(own):
            return True
        return any(self._says(phrase) for phrase in (*lexicon.PHRASES.get(effect, ()), *own) if " " in phrase)

    def calculates(self) -> bool:
        return self.says(lexicon.CALCULATING)

    def says(self, any_of: frozenset[str]) -> bool:
        """Whether one of the words occurs, whatever it means there."""
        return not any_of.isdisjoint(self.words.split())

    def _says(self, phrase: str) -> bool:
        wanted = phrase.split()
        firsts = [n for n, (word, denied) in enumerate(self.spoken) if word == wanted[0] and not denied]
        return any([word for word, _ in self.spoken[n : n + len(wanted)]] == wanted for n in firsts)


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: case and width make no difference, punctuation is none of them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def read(text: str) -> Reading:
    """Reads the first MAX_TEXT characters of an instruction, in linear time."""
    text = text[:MAX_TEXT]
    folded = words_of(text)
    addresses = [address for address in scan(text) if not address.disguised]
    found = tuple(written(text))
    numbers = {one.value for one in found} | set(spelled(folded))
    keys = {key for address in addresses for key in address.keys if address.role != "url" or key == address.keys[0]}
    # Who gives a link names its site, and what its path names.
    keys |= {
        address.keys[-1] for address in addresses if address.role == "url" and address.keys[-1].startswith("domain:")
    }
    runs = [re.sub("[ -]", "", run) for run in _RUN.findall(text)]
    keys |= {f"number:{run}" for run in runs}
    keys |= {f"phone:+{run.removeprefix('00')}" for run in runs if run.startswith("00")}
    tokens = _tokens(text)
    keys |= {f"number:{token.upper().replace('-', '')}" for token in tokens if any(c.isdigit() for c in token)}
    keys |= {f"text:{code.lower()}" for one in found for code in one.currencies}
    spoken = _spoken(text)
    return Reading(
        words=f" {' '.join(folded)} ",
        stems=frozenset(map(stem, folded)),
        tokens=frozenset(tokens),
        keys=frozenset(keys),
        written=found,
        numbers=frozenset(numbers),
        dates=dates(text),
        asks=frozenset(_asked(spoken)),
        spoken=tuple((word, denied) for word, denied, _ in spoken),
    )


def stem(word: str) -> str:
    """The word without the endings of English and German forms: rough, and the same on both sides."""
    for ending in ("ing", "ed", "es", "en", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _tokens(text: str) -> set[str]:
    """What could be an id: what stands between spaces, without the punctuation around it, and the parts of paths."""
    found: set[str] = set()
    money = re.compile(r"[€$£¥₹]")
    for raw in text.split():
        token = raw.strip(_EDGES)
        if not token or money.search(raw):
            continue
        found.add(token)
        # "ticket:4711", "id=4711", "#4711" and the path of a link; a time and a date stay whole.
        if "://" in token or "=" in token or (":" in token and not re.fullmatch(r"[\d:.]+", token)):
            found.update(part.strip(_EDGES) for part in re.split(r"[/?&=#:]", token))
        found.add(re.sub(r"['\u2019]s$", "", token))
    found.discard("")
    return found


def _spoken(text: str) -> list[tuple[str, bool, bool]]:
    """Every word and break, with whether it is denied and whether it stands where an order stands."""
    parts = _SPOKEN.findall(unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'"))
    denied = _denied(parts)
    found = []
    for n, part in enumerate(parts):
        before = parts[n - 1] if n else "\n"
        found.append((part, denied[n], before in _BREAKS or before in lexicon.ORDERING))
    return found


def _denied(parts: list[str]) -> list[bool]:
    """A word is denied by "not" or its like in its part of the sentence, shortly before it, or behind it."""
    denied = [False] * len(parts)
    reach, whole_sentence = 0, False
    for n, part in enumerate(parts):
        if part in _ENDS or (part in _BREAKS and not whole_sentence):
            reach, whole_sentence = 0, False
        elif part in lexicon.NEGATORS:
            # "Do not, under any circumstances, pay" means all of the sentence.
            reach, whole_sentence = 6, n + 1 < len(parts) and parts[n + 1] == ","
        elif reach:
            denied[n] = True
            reach -= 0 if whole_sentence else 1
    trailing = False
    for n in range(len(parts) - 1, -1, -1):
        if parts[n] in lexicon.TRAILING:
            trailing = True
        elif parts[n] in _BREAKS:
            trailing = False
        denied[n] = denied[n] or trailing
    return denied


def _asked(spoken: list[tuple[str, bool, bool]]) -> Iterable[str]:
    for n, (word, denied, ordering) in enumerate(spoken):
        if denied or word in _BREAKS:
            continue
        before = spoken[n - 1][0] if n else "\n"
        after = spoken[n + 1][0] if n + 1 < len(spoken) else "\n"
        if word in lexicon.SAYING and after in lexicon.ONESELF:
            continue
        if word in lexicon.EITHER or _singular(word) in lexicon.EITHER:
            # "Email Bob" asks, "email from Bob" does not; "issue a refund" does.
            if (ordering and after not in _NOUN_BEFORE) or _after_a_deed(spoken, n):
                yield word
                yield _singular(word)
        elif ordering or before not in lexicon.DETERMINERS or _after_a_deed(spoken, n):
            yield word


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def _after_a_deed(spoken: list[tuple[str, bool, bool]], n: int) -> bool:
    for word, denied, _ in reversed(spoken[max(0, n - 4) : n]):
        if word in _BREAKS:
            return False
        if word in lexicon.LIGHT and not denied:
            return True
    return False
