"""Rules compiled together answer what each answers by itself, in one evaluation."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gate import cel, compiled
from api.gate.compiled import answers, applicable, one_by_one
from tests.unit.gate.strategies import BLIND, SEEING
from tests.unit.gate.test_cel import VALUES
from tests.unit.gate.world import ARGS, NOW, TOOL, decided, facts, rule


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every evaluation of the engine from now on."""
    seen: list[Any] = []
    run = cel._run

    def counted(program: Any, ready: Any) -> Any:
        seen.append(program)
        return run(program, ready)

    monkeypatch.setattr(cel, "_run", counted)
    return seen


def _said(found: list[Any]) -> list[Any]:
    return [one if isinstance(one, bool) else str(one) for one in found]


@pytest.mark.parametrize("count", [1, 2, 50, 200])
def test_a_healthy_constitution_is_one_evaluation(count: int, evaluations: list[Any]) -> None:
    rules = [{"id": f"r-{n}", "when": f'"amount" in args && args.amount > {n * 100}'} for n in range(count)]
    decision = decided(facts(rules=rules))
    assert len(evaluations) == 1
    assert decision.rules_evaluated == [f"r-{n}" for n in range(count)]
    assert decision.rules_matched == [f"r-{n}" for n in range(count) if n * 100 < ARGS["amount"]]


def test_long_rules_are_a_few_evaluations(evaluations: list[Any]) -> None:
    texts = [f"args.n == {n} || '{'x' * 1_900}' == ''" for n in range(200)]
    assert answers(texts, VALUES) == [n == 5 for n in range(200)]
    assert len(evaluations) == 25


def test_one_that_errs_is_told_apart(evaluations: list[Any]) -> None:
    texts = ["true", "args.missing == 1", "args.n == 5", "args.s", "(", "false"]
    found = answers(texts, VALUES)
    assert [one if isinstance(one, bool) else "error" for one in found] == [
        True,
        "error",
        True,
        "error",
        "error",
        False,
    ]
    # The four before the one that does not compile: together, then each by itself. And the one after it.
    assert len(evaluations) == 6
    assert not answers([], VALUES)


@pytest.mark.parametrize(
    "text",
    ["// why\ntrue", "true // why", "true || '//' == ''", "true)\n,(true", "true]", "[true][0]", "true\n\n", "(true)"],
)
def test_no_expression_ends_its_part_of_the_list(text: str) -> None:
    around = ["false", text, "args.n == 5"]
    assert _said(answers(around, VALUES)) == _said(one_by_one(around, VALUES))
    assert answers(around, VALUES)[0::2] == [False, True]


def test_expressions_as_deep_as_they_may_be_are_answered() -> None:
    deep = "(" * 31 + "true" + ")" * 31
    assert answers([deep, "false", deep], VALUES) == [True, False, True]


def test_a_boolean_is_a_boolean_and_nothing_else() -> None:
    odd = ["args.yes", "args.no", "args.n", "args.x", "args.s", "args.none", "args.list", "args.map"]
    found = answers(odd, VALUES)
    assert found[:2] == [True, False]
    assert not any(isinstance(one, bool) for one in found[2:])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(BLIND + SEEING), max_size=8))
def test_together_and_alone_are_the_same(texts: list[str]) -> None:
    values = VALUES | {"args": ARGS}
    assert _said(answers(texts, values)) == _said(one_by_one(texts, values))


def test_what_applies_is_in_force_and_in_order() -> None:
    rules = [
        rule(id="all"), rule(id="other", applies_to=["other.*"]), rule(id="some", applies_to=["no.such", "acme.*"]),
        rule(id="over", expires_at=NOW), rule(id="still", expires_at=NOW + timedelta(seconds=1)),
    ]  # fmt: skip
    assert [found.id for found in applicable(rules, TOOL, NOW)] == ["all", "some", "still"]
    assert [found.id for found in applicable(rules, "acme." + "x" * 10_000, NOW)] == ["all", "some", "still"]


def test_what_is_kept_is_kept_by_content() -> None:
    """Two constitutions of the same rules share their program; nothing is kept of what was decided on."""
    answers(["args.n == 1", "args.n == 2"], VALUES)
    before = compiled._program.cache_info()
    answers(["args.n == 1", "args.n == 2"], VALUES | {"args": {"n": 2}})
    after = compiled._program.cache_info()
    assert (after.hits - before.hits, after.misses) == (1, before.misses)
    assert answers(["args.n == 1", "args.n == 2"], VALUES | {"args": {"n": 2}}) == [False, True]
