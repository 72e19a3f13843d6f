"""Which sensitive values of what was read in a run an action carries away, in whatever form.

Values are compared as letters and digits only, so that case, spaces and separators make no difference. A value that is
not long has to be there as a whole; of a long text, any passage of SPAN letters and digits or a little more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.gate.facts import ObservationFacts, RunFacts
from api.gate.pointer import leaves
from api.gate.sensitive import MAX_TEXT, decoded, shown

if TYPE_CHECKING:
    from api.gate.case import Case

#: Classes whose values may go anywhere.
OPEN = frozenset({"public", "internal"})
#: Letters and digits below which a value says nothing: it occurs by chance.
SHORTEST = 6
#: Letters and digits of a passage by which a long text is recognised, and how far apart its passages begin.
SPAN, STRIDE = 48, 16
_LONGER = 16


@dataclass(frozen=True, slots=True)
class Carried:
    """A value of a class that an argument carries. pointer: without `/args`; where: of the observation."""

    pointer: str
    data_class: str
    observation_id: UUID
    where: str
    disguised: bool


@dataclass(slots=True)
class _Values:
    """Values to look for. lengths: of those that begin with the same letters, as many as one of `sizes` says.

    places: by value and class, the observation and the pointer.
    """

    sizes: tuple[int, ...] = ()
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)
    places: dict[str, dict[str, tuple[UUID, str]]] = field(default_factory=dict)


def carried(case: Case) -> list[Carried]:
    """Everything that the arguments carry, by argument; one for each class and argument, the first that was found."""
    values = _values(case.facts.run)
    if not values.places:
        return []
    found: dict[tuple[str, str], Carried] = {}
    for pointer, text in texts(case):
        for reading, disguised in _readings(text):
            for data_class, (observation, where) in _search(values, reading):
                found.setdefault((pointer, data_class), Carried(pointer, data_class, observation, where, disguised))
    return list(found.values())


def texts(case: Case) -> Iterator[tuple[str, str]]:
    """Every text and number of the arguments, with its pointer; and names of members that the contract does not know.

    A value can travel as a name, too.
    """
    known = _known_names(case.contract.input_schema) if case.contract else set()
    for pointer, value in leaves(case.proposal.args):
        if isinstance(value, str):
            yield pointer, value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield pointer, str(value)
        name = pointer.rpartition("/")[2]
        if not name.isdecimal() and name not in known:
            for part in pointer.split("/")[1:]:
                if part not in known and len(part) >= SHORTEST:
                    yield pointer, part.replace("~1", "/").replace("~0", "~")


def key(value: Any) -> str:
    """What of a value is compared: letters and digits, in lower case; nothing for what is not looked for."""
    if isinstance(value, str):
        return "".join(filter(str.isalnum, shown(value[:MAX_TEXT]).casefold()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        digits = "".join(filter(str.isdecimal, str(value)))
        return digits if len(digits) >= SHORTEST else ""
    return ""


def _readings(text: str) -> Iterator[tuple[str, bool]]:
    plain = key(text)
    if len(plain) < SHORTEST:
        return
    yield plain, False
    yield plain[::-1], True
    for said in decoded(text):
        yield key(said), True


def _search(values: _Values, text: str) -> Iterator[tuple[str, tuple[UUID, str]]]:
    lengths, places = values.lengths, values.places
    for size in values.sizes:
        for start in [at for at in range(len(text) - size + 1) if text[at : at + size] in lengths]:
            for length in lengths[text[start : start + size]]:
                if classes := places.get(text[start : start + length]):
                    yield from classes.items()


def _known_names(schema: Any) -> set[str]:
    """The names of members that a schema gives anywhere."""
    if isinstance(schema, list):
        return set().union(*(_known_names(item) for item in schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties")
    own = set(properties) if isinstance(properties, dict) else set()
    return own.union(*(_known_names(item) for item in schema.values() if isinstance(item, dict | list)))


def _values(run: RunFacts | None) -> _Values:
    """What to look for of a run: a function of its content, kept with it, since a run is decided on many times."""
    if run is None or not run.observations:
        return _Values()
    held = run.__dict__.get("_values")
    if held is not None and held[0] is run.observations and held[1] == len(held[0]):
        kept: _Values = held[2]
        return kept
    values = _Values()
    for observation in run.observations:
        for data_class, pointer, part in _sensitive(observation):
            values.places.setdefault(part, {}).setdefault(data_class, (observation.id, pointer))
    lengths: dict[str, set[int]] = {}
    for part in values.places:
        lengths.setdefault(part[: _LONGER if len(part) >= _LONGER else SHORTEST], set()).add(len(part))
    values.lengths = {start: tuple(sorted(of)) for start, of in lengths.items()}
    values.sizes = tuple(sorted({len(start) for start in lengths}))
    run.__dict__["_values"] = (run.observations, len(run.observations), values)
    return values


def _sensitive(observation: ObservationFacts) -> list[tuple[str, str, str]]:
    """What to look for of one observation, kept with it: class, pointer and what is compared of each value."""
    held = observation.__dict__.get("_sensitive")
    if held is not None and held[0] is observation.result and held[1] is observation.labels:
        kept: list[tuple[str, str, str]] = held[2]
        return kept
    classes = {at: label["data_class"] for at, label in observation.labels.items() if "data_class" in label}
    classes = {at: data_class for at, data_class in classes.items() if data_class not in OPEN}
    found = []
    for pointer, value in leaves(observation.result) if classes else ():
        data_class = classes.get("/".join("*" if part.isdecimal() else part for part in pointer.split("/")))
        if data_class is not None:
            found += [(data_class, pointer, part) for part in _parts(key(value))]
    observation.__dict__["_sensitive"] = (observation.result, observation.labels, found)
    return found


def _parts(text: str) -> Iterator[str]:
    if SHORTEST <= len(text) < SPAN + STRIDE:
        yield text
    elif len(text) >= SPAN + STRIDE:
        yield from (text[start : start + SPAN] for start in range(0, len(text) - SPAN + 1, STRIDE))
