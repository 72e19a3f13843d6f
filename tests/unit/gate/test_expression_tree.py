"""Reading calls out of a compiled expression, wherever they hide."""

import pytest
from cel_expr_python import cel

from api.gate.expression_tree import Call, Path, calls, paths

ENVIRONMENT = cel.NewEnv(variables={"a": cel.Type("map<string, dyn>"), "now": cel.Type.TIMESTAMP})


def _calls(expression: str) -> list[Call]:
    return list(calls(ENVIRONMENT.compile(expression).serialize()))


@pytest.mark.parametrize(
    ("expression", "arguments"),
    [
        ("a.s.contains('x')", ("x",)),
        ('a.s.contains("x")', ("x",)),
        ("a.s.contains(r'\\x')", ("\\x",)),
        ("a.s.contains('''x''')", ("x",)),
        ("a.s.contains('\\u002fdev')", ("/dev",)),
        ("a.s.contains('é🦊')", ("é🦊",)),
        ("a.s.contains('')", ("",)),
        ("a.s.contains(a.t)", (None,)),
        ("a.s.contains(true ? 'x' : 'y')", (None,)),
        ("!(a.s.contains('x'))", ("x",)),
        ("a.list[size(a.s) > 1 && a.s.contains('x') ? 0 : 1] == 1", ("x",)),
        ("[[a.s.contains('x')]] == [[true]]", ("x",)),
        ("{'k': a.s.contains('x')} == {}", ("x",)),
        ("{a.s.contains('x'): 'k'} == {}", ("x",)),
        ("{'k': {'l': [a.s.contains('x')]}}.k.l[0]", ("x",)),
        ("a[a.s.contains('x') ? 'y' : 'z'].w == 1", ("x",)),
        ("(a.s.contains('x') ? 'y' : 'z').startsWith('y')", ("x",)),
        ("// a.s.contains('y')\na.s.contains('x')", ("x",)),
        ("'a.s.contains(\"y\")' == '' || a.s.contains('x')", ("x",)),
    ],
)
def test_a_call_is_found_with_its_literal_texts(expression: str, arguments: tuple[str | None, ...]) -> None:
    assert [call.arguments for call in _calls(expression) if call.function == "contains"] == [arguments]


def test_every_call_is_found() -> None:
    functions = [call.function for call in _calls("a.x == 1 && size(a.y) > 2 || now.getHours('UTC') in a.z")]
    assert functions == ["_||_", "_&&_", "_==_", "_>_", "size", "@in", "getHours"]


def test_a_number_is_no_literal_text() -> None:
    assert [call.arguments for call in _calls("size(a) == 5")] == [(None, None), (None,)]


@pytest.mark.parametrize(
    "expression", ["[1].all(x, x > 0)", "[1].exists(x, a.s.contains('x'))", "google.protobuf.Value{} == null"]
)
def test_loops_and_protocol_buffers_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        _calls(expression)


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("a.b.c == 1", [("a", "b", "c")]),
        ("a['b'].c == 1", [("a", "b", "c")]),
        ("a['b']['c'] == 1", [("a", "b", "c")]),
        ("'b' in a", [("a", "b")]),
        ("'c' in a.b", [("a", "b", "c")]),
        ("a[a.k].c == 1", [("a", None, "c"), ("a", "k")]),
        ("a.b[0] == 1", [("a", "b", None)]),
        ("(true ? a.b : a.c).d == 1", [("a", "b"), ("a", "c")]),
        ("[a.b][0] == {'k': a.c}.k", [("a", "b"), ("a", "c")]),
        ("a.b in a.c", [("a", "c", None), ("a", "b")]),
        ("a.b in [1, a.c]", [("a", "b"), ("a", "c")]),
        ("size(a) == 1 && now.getHours() == a.b", [("a",), ("now",), ("a", "b")]),
        ("a.b.contains('x')", [("a", "b")]),
    ],
)
def test_every_name_is_read_as_far_as_it_is_written(expression: str, read: list[Path]) -> None:
    assert sorted(map(str, paths(ENVIRONMENT.compile(expression).serialize()))) == sorted(map(str, read))
