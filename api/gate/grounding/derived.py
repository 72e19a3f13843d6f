"""Amounts that follow from trusted ones: a sum or difference of two, or the sum of a list."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Literal

from api.gate.grounding import lexicon
from api.gate.grounding.instruction import Reading
from api.gate.grounding.sources import Indexed, Money, Sources
from api.gate.money import digits_of, format_amount

#: Amounts of one record, and of one observation, beyond which no two of them are combined: from many numbers, any other
#: number can be made.
MOST_OF_RECORD = 12
MOST_OF_OBSERVATION = 8
#: Items of a list that are summed.
MOST_OF_LIST = 1_000


#: By the name of the tool that was read with: whether its numbers count minor units, or major ones, or who knows.
Units = Callable[[str], Literal["minor", "major"] | None]


def minor_of(money: Money, unit: Literal["minor", "major"] | None, currency: str | None) -> int | None:
    """A trusted amount in minor units. unit: in which the tool counts that it was read with.

    None where that is not known and the amount does not show it, where it is in another currency, or finer than that
    currency has units for.
    """
    if currency is not None and money.currencies and currency not in money.currencies:
        return None
    if not money.major and unit is None:
        return None
    major = money.major or unit == "major"
    exact = money.value.scaleb(digits_of(currency or "EUR")) if major else money.value
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < 2**63 else None


def derive(sources: Sources, wanted: int, units: Units, currency: str | None) -> str | None:
    """How the amount follows from others, for a person to check; None when it does not.

    Only where the instruction asks for a calculation, which nobody who writes a text can do. Two amounts of one record
    (a total and what was paid of it) are added or subtracted as it says; the sum of a list, and two amounts of the same
    kind out of two records, are looked at where it calculates at all. The work is bounded by the number of amounts, not
    of their pairs.
    """
    if wanted <= 0:
        return None
    asked = sources.reading.calculates()
    alike: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for seen in sources.observations:
        found = _in_minor(seen, units, currency)
        for group in _by(found, "record").values():
            signs = _signs(sources.reading, [pointer for _, _, pointer in group])
            if signs and len(group) <= MOST_OF_RECORD and (how := _pair(group, wanted, currency, signs)):
                return f"{how}, of {seen.where(group[0][2])}"
        if not asked:
            continue
        for items, group in _by(found, "items").items():
            total = sum(minor for minor, _, _ in group)
            if "/*" in items and 1 < len(group) <= MOST_OF_LIST and total == wanted:
                return f"{_money(total, currency)} is the sum of {len(group)} amounts at {seen.where(items)}"
        if len({minor for minor, _, _ in found}) <= MOST_OF_OBSERVATION:
            for minor, money, pointer in found:
                alike.setdefault((seen.tool, money.pattern), []).append((minor, seen.where(pointer)))
    for pairs in alike.values():
        if how := _pair([(minor, None, where) for minor, where in pairs], wanted, currency):
            return f"{how}, of {pairs[0][1]} and another"
    return None


def _in_minor(seen: Indexed, units: Units, currency: str | None) -> list[tuple[int, Money, str]]:
    found = ((minor_of(money, units(seen.tool), currency), money) for money in seen.amounts)
    return [(minor, money, money.pointer) for minor, money in found if minor is not None]


def _by(found: list[tuple[int, Money, str]], place: str) -> dict[str, list[tuple[int, Money, str]]]:
    groups: dict[str, list[tuple[int, Money, str]]] = {}
    for one in found:
        groups.setdefault(getattr(one[1], place), []).append(one)
    return groups


def _signs(reading: Reading, pointers: list[str]) -> frozenset[str]:
    """How two amounts of one record may be put together. Who asks for a total that the record has, adds nothing."""
    adds = reading.says(lexicon.ADDING)
    if not adds and reading.says(lexicon.TOTAL):
        adds = not any("total" in pointer.rpartition("/")[2].lower() for pointer in pointers)
    return frozenset([*["plus"] * adds, *["less"] * reading.says(lexicon.SUBTRACTING)])


def _pair(
    group: Sequence[tuple[int, Money | None, str]],
    wanted: int,
    currency: str | None,
    signs: frozenset[str] = frozenset({"plus", "less"}),
) -> str | None:
    counts = Counter(minor for minor, _, _ in group)
    for one, other, sign in _others(counts, wanted):
        if sign in signs and counts[other] > (one == other):
            return f"{_money(wanted, currency)} is {_money(one, currency)} {sign} {_money(other, currency)}"
    return None


def _others(minors: Iterable[int], wanted: int) -> Iterator[tuple[int, int, str]]:
    for minor in minors:
        if wanted > minor:
            yield minor, wanted - minor, "plus"
        elif minor > wanted:
            yield minor, minor - wanted, "less"


def _money(minor: int, currency: str | None) -> str:
    return format_amount(minor, currency[:10]) if currency else str(Decimal(minor))
