"""The types of events of the audit log, in the groups that the page of it shows."""

from api.dashboard.audit import FIRST, GROUPS, grouped
from api.dashboard.words import NOUNS


def test_every_type_is_in_one_group_and_known_nouns_are_in_a_named_one() -> None:
    types = [f"{noun}.updated" for noun in NOUNS] + ["something.else"]
    found = grouped(types)
    assert sorted(name for _, rows in found for name, _ in rows) == sorted(types)
    named = [noun for nouns in GROUPS.values() for noun in nouns]
    assert len(named) == len(set(named))
    assert set(named) <= set(NOUNS)
    assert found[-1][0] == "Everything else"
    assert grouped([]) == []


def test_what_is_looked_for_first_is_of_known_nouns() -> None:
    assert {kind.partition(".")[0] for kind in FIRST if kind} <= set(NOUNS)
