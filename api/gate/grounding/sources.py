"""The sources of one run, indexed once: what each observation vouches for, and what it merely contains."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from api.gate import normalise
from api.gate.facts import ObservationFacts, RunFacts
from api.gate.grounding import keys
from api.gate.grounding.addresses import scan
from api.gate.grounding.instruction import Reading, read
from api.gate.grounding.numbers import written
from api.gate.grounding.word_list import words as word_list
from api.gate.pointer import escape

#: Leaves of one observation that are indexed; what is beyond grounds nothing.
MAX_LEAVES = 20_000
#: Characters of one trusted text in which addresses are sought.
MAX_TEXT = 4_096
_MAX_DEPTH = 64

_IDS = frozenset(
    word_list(
        """
    id ids key uid uuid guid number no nr num ref reference code sku handle slug identifier
    """
    )
)
_NOT_WORTH = _IDS | frozenset(
    word_list(
        """
    at date time timestamp created updated modified on day month year week hour minute second version page limit
    offset count index seq sequence position rank phone zip postcode postal lat lng latitude longitude size length
    """
    )
)
_CURRENCY = frozenset({"currency", "ccy", "currencycode"})
#: Members that say which record it is; beside those of ids.
_NAMING = _IDS | frozenset(word_list("name title subject email mail address user username login from label"))
#: Of one observation, records that are told apart.
_MAX_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Money:
    """A trusted number that could be an amount.

    record: the object that it stands in. items: its place in each item of a list. major: it counts major units, since
    it was written as people write or the numbers at its place have decimals; else it counts what the proposal does.
    """

    value: Decimal
    currencies: frozenset[str]
    pointer: str
    pattern: str
    record: str
    items: str
    major: bool


@dataclass
class Indexed:
    """One observation: keys of what is trusted and of metadata, with where they stand; amounts; untrusted texts.

    again: where else a key stands. named: by record (an item of a list, or the whole), the values that name it.
    """

    id: str
    tool: str
    trusted: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    amounts: list[Money] = field(default_factory=list)
    by_value: dict[Decimal, list[Money]] = field(default_factory=dict)
    untrusted: list[tuple[str, str]] = field(default_factory=list)
    again: dict[str, list[str]] = field(default_factory=dict)
    named: dict[str, list[str | int]] = field(default_factory=dict)

    def where(self, pointer: str) -> str:
        return f"{self.tool}, observation {self.id}, {pointer or '/'}"


@dataclass(frozen=True)
class Sources:
    """Everything that one run has read, and the instruction that it began with."""

    reading: Reading
    subject: frozenset[str]
    observations: tuple[Indexed, ...]

    def trusted(self, wanted: list[str], *, chosen: bool = False) -> str | None:
        """Where one of the keys stands in a trusted field, the earliest observation first.

        chosen: but for records that the instruction passes over.
        """
        return self._find("trusted", wanted, chosen)

    def metadata(self, wanted: list[str], *, chosen: bool = False) -> str | None:
        return self._find("metadata", wanted, chosen)

    def untrusted(self, value: str) -> str | None:
        """Where the value occurs in what nobody vouches for; for a message, and for nothing else."""
        sought = value.casefold().strip()
        if len(sought) < 3:
            return None
        left = 1_000_000
        for seen in self.observations:
            for pointer, text in seen.untrusted:
                left -= len(text)
                if left < 0:
                    return None
                if sought in text.casefold():
                    return seen.where(pointer)
        return None

    @cached_property
    def skeletons(self) -> dict[str, str]:
        """What the trusted names and domains look like; of the first MAX_LEAVES keys."""
        known = [*sorted(self.reading.keys), *(key for seen in self.observations for key in seen.trusted)]
        found: dict[str, str] = {}
        for key in known[:MAX_LEAVES]:
            kind, _, value = key.partition(":")
            if kind in ("domain", "email"):
                domain = value.rpartition("@")[2]
                found.setdefault(normalise.looks_of_domain(domain), domain)
            elif kind == "text" and len(value) <= 100:
                found.setdefault(normalise.looks(value), value)
        return found

    @cached_property
    def passed_over(self) -> frozenset[tuple[str, str]]:
        """Records that the instruction passes over: it names others of the same kind, and not them.

        A kind is a list, or what one tool answers. Each record is (id of its observation, pointer).
        """
        found: dict[tuple[str, str], dict[tuple[str, str], bool]] = {}
        for seen in self.observations:
            for record, values in seen.named.items():
                kind = (seen.tool, "/".join("*" if part.isdecimal() else part for part in record.split("/")))
                found.setdefault(kind, {})[seen.id, record] = any(self._names(value) for value in values)
        return frozenset(
            record
            for records in found.values()
            if any(records.values())
            for record, named in records.items()
            if not named
        )

    def _names(self, value: str | int) -> bool:
        text = str(value).strip()
        if f"id:{text}" in self.subject:
            return True
        # A small number may be one of anything.
        if text in self.reading.tokens and not (text.isdecimal() and len(text) < 4):
            return True
        if isinstance(value, int) or len(text) > keys.MAX_VALUE:
            return False
        known = keys.typed(text)
        return known in self.reading.keys if known else " " in text and self.reading.names(text)

    def _find(self, kind: str, wanted: list[str], chosen: bool) -> str | None:
        for seen in self.observations:
            held: dict[str, str] = getattr(seen, kind)
            for key in wanted:
                if key in held:
                    for pointer in (held[key], *seen.again.get(key, ())):
                        if not chosen or not self._is_passed_over(seen, pointer):
                            return seen.where(pointer)
        return None

    def _is_passed_over(self, seen: Indexed, pointer: str) -> bool:
        if not self.passed_over:
            return False
        parts = pointer.split("/")
        return any((seen.id, "/".join(parts[:end])) in self.passed_over for end in range(1, len(parts) + 1))


def sources_of(run: RunFacts) -> Sources:
    """The index of a run: a function of its content, kept with it, since a run is held across decisions."""
    held = run.__dict__.get("_sources")
    # A copy of a run with other content takes along what was kept with the original.
    if held is not None and held[0] is run.instruction and held[1] is run.observations and held[2] == len(held[1]):
        found: Sources = held[3]
        return found
    found = Sources(
        reading=read(run.instruction),
        subject=frozenset(_ids_of(run.subject or {})),
        observations=tuple(indexed(observation) for observation in run.observations),
    )
    run.__dict__["_sources"] = (run.instruction, run.observations, len(run.observations), found)
    return found


def _ids_of(subject: dict[str, Any]) -> Iterator[str]:
    for name, value in subject.items():
        if name == "id" and isinstance(value, str | int) and not isinstance(value, bool):
            yield f"id:{value}"
            if (number := keys.decimal(value)) is not None:
                yield keys.of_number(number)


def indexed(observation: ObservationFacts) -> Indexed:
    held = observation.__dict__.get("_indexed")
    if held is not None and held[0] is observation.result and held[1] is observation.labels:
        found: Indexed = held[2]
        return found
    found = Indexed(str(observation.id), observation.tool)
    if not observation.erased:
        for _, leaf in zip(range(MAX_LEAVES), _leaves(observation.result, "", "", _Around()), strict=False):
            _take(found, leaf, observation.labels.get(leaf.pattern, {}).get("trust", "untrusted"))
        decimals = {money.pattern for money in found.amounts if money.major}
        found.amounts = [replace(m, major=True) if m.pattern in decimals else m for m in found.amounts]
        for money in found.amounts:
            found.by_value.setdefault(money.value, []).append(money)
    observation.__dict__["_indexed"] = (observation.result, observation.labels, found)
    return found


@dataclass(frozen=True, slots=True)
class _Around:
    """What an object says of the leaves in it: their currency, its pointer, and its place in the records of a list.

    item: the pointer of the innermost item of a list that is an object; the whole answer where there is none.
    """

    currencies: frozenset[str] = frozenset()
    record: str = ""
    items: str = ""
    item: str = ""


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: Any
    pointer: str
    pattern: str
    name: str
    around: _Around


def _leaves(value: Any, pointer: str, pattern: str, around: _Around, name: str = "", depth: int = 0) -> Iterator[_Leaf]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        of_list = pointer if around.items.endswith("/*") else around.item
        inner = _Around(_currency_of(value) or around.currencies, pointer, around.items, of_list)
        for member, item in value.items():
            token = escape(member)
            place = _Around(inner.currencies, pointer, f"{around.items}/{token}", of_list)
            at = "*" if token.isdecimal() else token
            yield from _leaves(item, f"{pointer}/{token}", f"{pattern}/{at}", place, member, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            place = _Around(around.currencies, around.record, f"{pointer}/*", around.item)
            yield from _leaves(item, f"{pointer}/{index}", f"{pattern}/*", place, name, depth + 1)
    else:
        yield _Leaf(value, pointer, pattern, name, around)


def _currency_of(record: dict[str, Any]) -> frozenset[str]:
    for name, value in record.items():
        if isinstance(value, str) and len(value) == 3 and value.isalpha() and keys.name_parts(name) & _CURRENCY:
            return frozenset({value.upper()})
    return frozenset()


def _take(found: Indexed, leaf: _Leaf, trust: str) -> None:
    value = leaf.value
    if value is None or isinstance(value, bool | dict | list):
        return
    if trust not in ("trusted", "metadata"):
        if isinstance(value, str) and value:
            found.untrusted.append((leaf.pointer, value))
        return
    held = found.trusted if trust == "trusted" else found.metadata
    for key in _keys_of(value, leaf.name):
        if held.setdefault(key, leaf.pointer) != leaf.pointer:
            found.again.setdefault(key, []).append(leaf.pointer)
    if isinstance(value, str | int) and keys.name_parts(leaf.name) & _NAMING:
        item = leaf.around.item
        if item in found.named or len(found.named) < _MAX_RECORDS:
            found.named.setdefault(item, []).append(value)
    if isinstance(value, str):
        if trust == "trusted":
            _take_text(found, leaf, value)
        # Nobody vouches for what is in it, so a message may say that something stands there.
        else:
            found.untrusted.append((leaf.pointer, value))
    elif trust == "trusted" and not keys.name_parts(leaf.name) & _NOT_WORTH:
        number = keys.decimal(value)
        if number is not None:
            found.amounts.append(_money(abs(number), leaf.around.currencies, leaf, isinstance(value, float)))


def _keys_of(value: Any, name: str) -> Iterator[str]:
    number = keys.decimal(value)
    if isinstance(value, str) and len(value) <= keys.MAX_URL:
        for key in keys.whole(value):
            if not key.startswith("id:") or not _is_short_number(value):
                yield key
    if number is not None:
        if not isinstance(value, str) and not keys.name_parts(name) & _NOT_WORTH:
            yield keys.of_number(number)
        # A small number is the id of many things; it is this one's where the member says that it is an id.
        if _is_short_number(str(value)):
            parts = keys.name_parts(name)
            yield f"id@{name.lower()}:{value}"
            if not parts.isdisjoint(_IDS):
                yield f"id:{value}"
        elif not isinstance(value, str):
            yield f"id:{value}"


def _is_short_number(text: str) -> bool:
    return len(text) < 6 and text.strip().isdecimal()


def _take_text(found: Indexed, leaf: _Leaf, text: str) -> None:
    """What stands in a trusted text is trusted too: addresses, and amounts that name their currency."""
    number = keys.decimal(text)
    if number is not None:
        if not keys.name_parts(leaf.name) & _NOT_WORTH:
            found.amounts.append(_money(abs(number), leaf.around.currencies, leaf, "." in text))
        return
    text = text[:MAX_TEXT]
    if " " in text:
        for address in scan(text):
            if not address.disguised:
                for key in address.keys:
                    found.trusted.setdefault(key, leaf.pointer)
    if any(c.isdigit() for c in text):
        found.amounts += [_money(one.value, one.currencies, leaf, True) for one in written(text) if one.currencies]


def _money(value: Decimal, currencies: frozenset[str], leaf: _Leaf, major: bool) -> Money:
    around = leaf.around
    # A written amount has no place: whatever else the texts beside it say is not of its kind.
    pattern = "" if currencies is not around.currencies else leaf.pattern
    return Money(value, currencies, leaf.pointer, pattern or leaf.pointer, around.record, around.items, major)
