"""What is wrong with rules, and what is odd about them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.constitution.validation import MAX_SIZE, Schemas, broken, parsed, unknown_names, warnings
from tests.unit.gate.world import rule

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SCHEMAS: Schemas = {
    "acme.pay": {"additionalProperties": False, "properties": {"amount": {}, "to": {}}},
    "acme.note": {"additionalProperties": False, "properties": {"body": {}}},
    "open.tool": {"properties": {"x": {}}},
}


def _unknown(**changes: Any) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.message) for fault in unknown_names([rule(**changes)], SCHEMAS)]


@pytest.mark.parametrize(
    ("applies_to", "when", "known"),
    [
        (["acme.pay"], "args.amount > 1", True),
        (["acme.pay"], "args.body == 'x'", False),
        (["acme.*"], "args.body == 'x' && args.amount == 1", True),
        (["acme.*"], "args.subject == 'x'", False),
        (["acme.pay"], "'body' in args", False),
        (["acme.pay"], "args['body'] == 1", False),
        (["acme.pay"], "args[action.tool] == 1 && size(args) == 2", True),
        (["acme.pay"], "subject.id == 'body'", True),
        (["open.*"], "args.anything == 1", True),
        (["*"], "args.anything == 1", True),
        (["no.such"], "args.anything == 1", True),
        (["acme.pay"], "args.(", True),
    ],
)
def test_what_no_tool_takes_is_told(applies_to: list[str], when: str, known: bool) -> None:
    assert bool(_unknown(applies_to=applies_to, when=when)) is not known


def test_it_says_which_names_there_are() -> None:
    [(pointer, message)] = _unknown(applies_to=["acme.pay"], when="args.ammount > 1")
    assert (pointer, message) == ("/rules/0/when", 'args has no "ammount"; the tools take amount, to')
    [(_, message)] = _unknown(applies_to=["acme.pay"], when="args['\u0430mount'] > 1")
    assert message.endswith("it looks like amount, and is written with other characters")
    many = {"t.t": {"additionalProperties": False, "properties": {f"name{n:02}": {} for n in range(50)}}}
    [fault] = unknown_names([rule(when="args.x == 1")], many)
    assert fault.message.endswith("name11 and 38 more")


@pytest.mark.parametrize(
    ("changes", "kind", "pointer"),
    [
        ({"when": "args.("}, "expression", "/rules/0/when"),
        ({"when": "args.items.all(x, x > 1)"}, "expression", "/rules/0/when"),
        ({"when": "'a' + 'b' == 'ab'"}, "expression", "/rules/0/when"),
        ({"when": "args.s.matches('(a+)+$')"}, "expression", "/rules/0/when"),
        ({"when": "(" * 40 + "true" + ")" * 40}, "expression", "/rules/0/when"),
        ({"title": "a\u202eb"}, "unseen_characters", "/rules/0/title"),
        ({"principle": "a\x07b"}, "unseen_characters", "/rules/0/principle"),
        ({"bounds": {"amounts": {"EUR": (2, 1)}}}, "empty_bounds", "/rules/0/bounds/amounts/EUR"),
        ({"bounds": {"amounts": {"EUR": (-1, 1)}}}, "empty_bounds", "/rules/0/bounds/amounts/EUR"),
    ],
)
def test_what_keeps_a_rule_from_being_saved(changes: dict[str, Any], kind: str, pointer: str) -> None:
    assert [(fault.kind, fault.pointer) for fault in broken([rule(**changes)])] == [(kind, pointer)]


def test_what_keeps_all_rules_from_being_saved() -> None:
    assert [fault.kind for fault in broken([rule(), rule()])] == ["duplicate_id"]
    long = [rule(id=f"r-{n}", principle="x" * 2000) for n in range(MAX_SIZE // 2000)]
    assert [fault.kind for fault in broken(long)] == ["too_large"]
    assert list(broken(long[:100])) == []


def test_documents_are_rules_or_told_why_not() -> None:
    good = rule().model_dump(mode="json")
    found, faults = parsed([good, good | {"effect": "permit"}, {"id": "x"}, good | {"colour": "red"}])
    assert [one is None for one in found] == [False, True, True, True]
    assert ("/rules/1/effect", "invalid") in {(fault.pointer, fault.kind) for fault in faults}
    assert {fault.pointer for fault in faults if fault.rule_id == "x"} == {
        f"/rules/2/{name}" for name in ("title", "principle", "when", "effect")
    }


def _warned(*rules: dict[str, Any]) -> set[tuple[str, str]]:
    made = [rule(**({"id": f"r-{n}"} | each)) for n, each in enumerate(rules)]
    return {(fault.rule_id, fault.kind) for fault in warnings(made, SCHEMAS, NOW)}


@pytest.mark.parametrize(
    ("rules", "warned"),
    [
        ([{}], set()),
        ([{"applies_to": ["acme.p*"]}, {"applies_to": ["nope.*"]}], {("r-1", "no_such_tool")}),
        ([{"expires_at": NOW}], {("r-0", "expired")}),
        ([{"expires_at": "2027-01-01T00:00:00Z"}], set()),
        ([{"effect": "allow"}], {("r-0", "lifts_nothing")}),
        ([{"effect": "deny", "lifts": ["risk"]}], {("r-0", "lifts_nothing")}),
        ([{"effect": "allow", "lifts": ["risk"]}], {("r-0", "unbounded")}),
        ([{"effect": "allow", "lifts": ["risk"], "bounds": {"tiers": ["gold"]}}], set()),
        ([{"when": "args.x == 1"}, {"when": "args.x == 1", "title": "Other"}], {("r-1", "duplicate")}),
        ([{"approvals": {"count": 2}}, {"approvals": {"count": 3}}], set()),
        ([{}, {"effect": "deny"}], {("r-0", "shadowed")}),
        ([{"when": "args.x == 1"}, {"effect": "deny", "when": "args.x == 1"}], {("r-0", "shadowed")}),
        ([{"when": "args.x == 1"}, {"effect": "deny", "when": "args.x == 2"}], set()),
        ([{}, {"effect": "deny", "applies_to": ["acme.pay"]}], set()),
        ([{}, {"effect": "deny", "bounds": {"workflows": ["w"]}}], set()),
        ([{}, {"effect": "deny", "expires_at": "2027-01-01T00:00:00Z"}], set()),
    ],
)
def test_what_is_odd_is_told(rules: list[dict[str, Any]], warned: set[tuple[str, str]]) -> None:
    assert _warned(*rules) == warned
