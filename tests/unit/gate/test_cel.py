"""Rules' expressions: what they can say, and that whatever else they are, they are errors."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gate.cel import (
    FIELDS,
    LIMIT_FIELDS,
    MAX_LENGTH,
    ExpressionError,
    arguments_named,
    compile_expression,
    evaluate,
    mentions,
)
from api.gate.models import Rule

VALUES: dict[str, Any] = {
    "action": {"tool": "t", "effect": "write", "confidence": 0.5, "citations": ["a"], "evidence": 1},
    "args": {
        "n": 5,
        "x": 1.0,
        "half": 0.5,
        "s": "Invoice 7",
        "list": [1, 2, 3],
        "map": {"k": "v"},
        "yes": True,
        "no": False,
        "none": None,
        "big": 2**53 - 1,
        "when": "2026-11-20T10:00:00Z",
        "a-b": 1,
    },
    "subject": {},
    "workflow": {"slug": "w", "environment": "sandbox", "stage": "autonomous"},
    "principal": {"kind": "service", "id": "7"},
    "limits": {"daily": {"amount": 700, "count": 3, "max_amount": 1000, "remaining": 300}, "a-b": {"count": 1}},
    "now": datetime(2026, 11, 20, 23, 30, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("true", True),
        ("args.n == 5 && args.n != 6 && !(args.n > 5) && args.n >= 5.0", True),
        ("args.x == 1 && args.half < 1 && args.n > 4.5", True),
        ("'n' in args && !('m' in args) && 2 in args.list && !(4 in args.list)", True),
        ("args.s.startsWith('Inv') && args.s.endsWith('7') && args.s.contains('voice')", True),
        ("args['a-b'] == 1 && args.map.k == 'v' && args.list[0] == 1", True),
        ("size(args.list) == 3 && size(args.s) == 9 && size(args) == 12", True),
        ("args.yes ? args.no : args.yes", False),
        ("args.none == null", True),
        ("args.big == 9007199254740991", True),
        ("now.getHours() == 23 && now.getDayOfWeek() == 5", True),
        ("now.getHours('Europe/Berlin') == 0 && now.getDayOfWeek('+02:00') == 6", True),
        ("now.getHours('Etc/GMT+1') == 22 && now.getHours('America/Argentina/Buenos_Aires') == 20", True),
        ("timestamp(args.when) < now", True),
        ("args.yes == 1", False),
        ("args.s == 5", False),
        ("[1, 'a', true] == [1, 'a', true] && {'a': 1} == {'a': 1}", True),
        ("args.yes || args.missing", True),
        ("args.no && args.missing", False),
        ("args.contains == 1 || true", True),
        ("// why\ntrue", True),
        ("limits.daily.remaining < 301 && limits['a-b'].count == 1 && !('weekly' in limits)", True),
        ("'daily' in limits && 'max_count' in limits.daily", False),
        ("limits.daily.amount >= limits.daily.max_amount || limits.daily['count'] > 2", True),
    ],
)
def test_what_a_rule_can_say(expression: str, answer: bool) -> None:
    assert evaluate(expression, VALUES) is answer


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "1",
        "null",
        "'true'",
        "[true]",
        "args",
        "now",
        "nope",
        "__import__('os')",
        "args.n + 1 == 6",
        "args.n - 1 == 4",
        "args.n * 2 == 10",
        "1 / 0 == 1",
        "1 % 0 == 1",
        "'a' + 'b' == 'ab'",
        "[1] + [2] == [1, 2]",
        "args.s.matches('^(a+)+$')",
        "args.list.all(x, x > 0)",
        "args.list.exists(x, x > 0)",
        "args.list.exists_one(x, x > 0)",
        "args.list.filter(x, x > 0) == []",
        "args.list.map(x, [x, x]) == []",
        "has(args.n)",
        "cel.bind(x, 1, x == 1)",
        "args.?n.orValue(true)",
        "[?args.n] == []",
        "optional.none() == optional.none()",
        "type(1) == int",
        "dyn(args)",
        "int('1') == 1",
        "string(1) == '1'",
        "duration('1s') == duration('1s')",
        "math.greatest(1, 2) == 2",
        "'%s'.format(['x']) == 'x'",
        "args.s.split(',') == []",
        "google.protobuf.Struct{} == google.protobuf.Struct{}",
        "google.protobuf.Int64Value{value: 1} == 1",
        "google.protobuf.Any{} == google.protobuf.Any{}",
        "[google.protobuf.Value{}] == []",
        "{null: true}",
        "!!{null: true}",
        "now - now == now",
        "args.s.contains(args.s)",
        "args.s.contains(args.yes ? 'a' : 'b')",
        "[args.s.contains(args.s)] == [true]",
        "{'a': args.s.contains(args.s)} == {'a': true}",
        "{args.s.contains(args.s): 1} == {true: 1}",
        "args[args.s.contains(args.s) ? 'n' : 'x'] == 1",
        "!args.s.contains(args.s)",
        "(args.s.contains(args.s) ? 'y' : 'z').startsWith('y')",
        "now.getHours(args.s) == 1",
        "now.getHours('/dev/stdin') == 1",
        "now.getHours('file:/dev/stdin') == 1",
        "now.getHours('../../../dev/stdin') == 1",
        "now.getHours('Europe/../../../dev/stdin') == 1",
        "now.getHours('localtime') == 1",
        "now.getHours('libc:localtime') == 1",
        "now.getHours('') == 1",
        "now.getHours('UTC\\n') == 1",
        "now.getHours('\\u002fdev\\u002fstdin') == 1",
        "now.getHours(r'/dev/stdin') == 1",
        "now.getDayOfWeek('/dev/stdin') == 1",
        "timestamp(args.when).getHours('/dev/stdin') == 1",
        "true ? true : now.getHours('/dev/stdin') == 1",
        "true;",
        "action.colour == 'red'",
        "action['colour'] == 'red'",
        "'colour' in action",
        "action.tool.x == 1 && action.Tool == 1",
        "subject.name == 'x'",
        "workflow.version == 1",
        "principal.role == 'owner'",
        "now.x == 1",
        "limits.daily.spent > 1",
        "limits['daily']['spent'] > 1",
        "'spent' in limits.daily",
        "limits.daily > 1",
        "limits.daily.amount == '1'",
        "\u0430rgs.n == 5",
        "args.n == 5 && \u0430ction.tool == 't'",
        "action.t\u043eol == 't'",
        "action['t\u043eol'] == 't'",
        "true\x00",
        "\ud800",
        "'\\ud800' == ''",
        "9223372036854775808 == 1",
        "true true",
        "true &&",
        "(" * 33 + "true" + ")" * 33,
        "args" + ".n" * 40 + " == 1",
        "[" * 40 + "]" * 40 + " == []",
        "true ? " * 40 + "true" + " : true" * 40,
        "true || false || '" + "x" * MAX_LENGTH + "' == ''",
    ],
    ids=lambda expression: expression[:40].encode("ascii", "backslashreplace").decode(),
)
def test_what_a_rule_cannot_say(expression: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(expression)
    with pytest.raises(ExpressionError):
        evaluate(expression, VALUES)


@pytest.mark.parametrize(
    "expression",
    [
        "args.missing",
        "args.missing == 1",
        "args.missing != 1",
        "!args.missing",
        "args.n",
        "args.s",
        "args.none",
        "args.map",
        "args.n || false",
        "args.n && true",
        "args.yes && args.missing",
        "args.no || args.missing",
        "args.s > 5",
        "args.list > 1",
        "args.none > 1",
        "args.n.k == 1",
        "args.list[3] == 1",
        "args.list[-1] == 1",
        "args.list['0'] == 1",
        "size(args.n) == 1",
        "args.n.startsWith('x')",
        "args.n in args.n",
        "timestamp(args.s) < now",
        "timestamp(99999999999999) < now",
        "now.getHours('Atlantis/City') == 1",
        "{'a': 1, 'a': 2} == {}",
        "{[]: 1} == {}",
        "args.n ? true : false",
        "limits.weekly.amount > 1",
        "limits.daily.max_count > 1",
        "limits[args.s].amount > 1",
    ],
)
def test_what_fails_on_these_values_is_an_error_and_not_an_answer(expression: str) -> None:
    """The engine hands errors out as values, and a value is truthy."""
    compile_expression(expression)
    with pytest.raises(ExpressionError):
        evaluate(expression, VALUES)


@pytest.mark.parametrize("value", ["true", 1, 1.0, [True], {"a": True}, None, "", 0])
def test_only_true_is_true(value: Any) -> None:
    with pytest.raises(ExpressionError):
        evaluate("args.v", VALUES | {"args": {"v": value}})


def test_the_bound_on_length_is_the_models() -> None:
    when = Rule.model_fields["when"]
    assert [m.max_length for m in when.metadata if hasattr(m, "max_length")] == [MAX_LENGTH]
    assert evaluate("true" + " " * (MAX_LENGTH - 4), VALUES) is True
    with pytest.raises(ExpressionError, match="longer than"):
        evaluate("true" + " " * (MAX_LENGTH - 3), VALUES)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("args.a == 1 && args['b'].c == 2 && 'd' in args && args.e[0].f", ["a", "b", "d", "e"]),
        ("args[args.k] == args.k", ["k"]),
        ("size(args) == 1 && action.tool == 'args.x'", []),
        ("(args.a == 1 ? args.b : args.c) == {'x': [args.d]}", ["a", "b", "c", "d"]),
        ("args.a.startsWith('x') && now.getHours('UTC') in args.hours", ["a", "hours"]),
        ("args['\u0430mount'] == 1", ["\u0430mount"]),
    ],
)
def test_the_arguments_that_it_names_are_known(expression: str, names: list[str]) -> None:
    assert sorted(arguments_named(expression)) == sorted(names)


@pytest.mark.parametrize(
    ("expression", "mentioned"),
    [
        ("limits.daily.amount > 1", True),
        ("'daily' in limits", True),
        ("size(limits) == 0", True),
        ("[limits] == []", True),
        ("limits['x'].count == 1 || true", True),
        ("args.limits == 1", False),
        ("action.tool == 'limits.daily'", False),
        ("// limits\ntrue", False),
        ("limits.(", False),
    ],
)
def test_what_it_mentions_is_known(expression: str, mentioned: bool) -> None:
    assert mentions(expression, "limits") is mentioned


def test_every_member_can_be_named() -> None:
    for name, members in FIELDS.items():
        for member in members:
            assert compile_expression(f"{name}.{member} == {name}['{member}'] || '{member}' in {name}")
    for member in LIMIT_FIELDS:
        assert compile_expression(f"limits.any.{member} == limits['any']['{member}']")


def test_a_refusal_says_which_members_there_are() -> None:
    with pytest.raises(ExpressionError, match=r"action has no 'colour'; it has citations, confid"):
        compile_expression("action.colour == 'red'")
    with pytest.raises(ExpressionError, match=r"a limit has no 'spent'; it has amount, count"):
        compile_expression("limits.daily.spent > 1")
    with pytest.raises(ExpressionError) as refused:
        compile_expression("nope == 1")
    assert str(refused.value).startswith("1:1: undeclared reference to 'nope'")
    assert "INVALID" not in str(refused.value)


_OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "+", "/", "%"]
_LEAVES = (
    "true false null 1 -7 0.5 'a' b'a' args args.n args.s args.list args.missing args.none action.confidence now "
    "subject [] {} size(args) '/dev/stdin' x now.getHours()"
)
_EXPRESSIONS = st.recursive(
    st.sampled_from(_LEAVES.split()),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(_OPERATORS), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        inner.map(lambda e: f"!{e}"),
        inner.map(lambda e: f"size({e})"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(inner, inner), max_size=2).map(lambda p: "{" + ", ".join(f"{k}: {v}" for k, v in p) + "}"),
        st.tuples(inner, st.sampled_from(["contains", "startsWith", "getHours", "getDayOfWeek", "all"]), inner).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(_EXPRESSIONS)
def test_any_expression_answers_or_errs(expression: str) -> None:
    try:
        answer = evaluate(expression, VALUES)
    except ExpressionError:
        return
    assert isinstance(answer, bool)
    assert evaluate(expression, VALUES) is answer


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="()[]{}!?:.,=<>&|'\"\\`/*-+ \nargstruefl0123", max_size=80))
def test_any_text_answers_or_errs(text: str) -> None:
    with suppress(ExpressionError):
        assert isinstance(evaluate(text, VALUES), bool)
