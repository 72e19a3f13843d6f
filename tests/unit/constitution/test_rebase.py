"""Three versions of the rules become one: what each side changed stays, and what both changed is asked."""

from typing import Any

import pytest

from api.constitution.rebase import Side, merged


def rules(**said: str | None) -> list[dict[str, Any]]:
    return [{"id": name, "when": when} for name, when in said.items() if when is not None]


def said(found: Any) -> dict[str, str]:
    return {rule["id"]: rule["when"] for rule in found}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "becomes", "conflict"),
    [
        ("a", "a", "a", "a", False),
        ("a", "b", "a", "b", False),
        ("a", "a", "b", "b", False),
        ("a", "b", "b", "b", False),
        ("a", None, "a", None, False),
        ("a", "a", None, None, False),
        ("a", None, None, None, False),
        (None, "b", None, "b", False),
        (None, None, "b", "b", False),
        (None, "b", "b", "b", False),
        ("a", "b", "c", "c", True),
        ("a", None, "c", "c", True),
        ("a", "b", None, None, True),
        (None, "b", "c", "c", True),
    ],
)
def test_each_rule_is_as_who_changed_it_has_it(
    base: str | None, mine: str | None, theirs: str | None, becomes: str | None, conflict: bool
) -> None:
    versions = rules(r=base), rules(r=mine), rules(r=theirs)
    found, conflicts = merged(*versions, {})
    assert said(found) == said(rules(r=becomes))
    assert [each["rule_id"] for each in conflicts] == (["r"] if conflict else [])
    kept, _ = merged(*versions, {"r": "mine"})
    assert said(kept) == said(rules(r=mine if conflict else becomes))
    keep: dict[str, Side] = {"r": "theirs", "unknown": "mine"}
    assert merged(*versions, keep)[0] == found


def test_the_order_in_force_stays_and_what_is_added_comes_last() -> None:
    found, conflicts = merged(
        rules(a="1", b="1", c="1"), rules(mine="1", b="1", a="2", c="1"), rules(c="1", a="1", theirs="1", b="1"), {}
    )
    assert list(said(found).items()) == [("c", "1"), ("a", "2"), ("theirs", "1"), ("b", "1"), ("mine", "1")]
    assert not conflicts
