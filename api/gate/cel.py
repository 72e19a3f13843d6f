"""Evaluates the rules' expressions in CEL: no loops, no string building, no unknown names, no side effects.

The environment lists the functions it has (comparison, logic, membership, indexing, size, prefixes and times)
and switches macros off, so that an expression costs at most its length times the size of the values. Two functions
would escape that, so what they are given must be written in the rule: `contains` searches in quadratic time, and a
time zone is the name of a file that gets opened. An expression that errs, or answers anything but a boolean, is an
error: the library hands errors out as values, and a value is truthy.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from api.gate.expression_tree import Path, calls, paths

MAX_LENGTH = 2000
_FUNCTIONS = (
    "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@in", "_[_]",
    "size", "startsWith", "endsWith", "contains", "getHours", "getDayOfWeek", "timestamp",
)  # fmt: skip
_CONFIG = "stdlib:\n  disable_macros: true\n  include_functions:\n" + "".join(
    f'  - name: "{name}"\n' for name in _FUNCTIONS
)
#: What an expression may name, and of what has a fixed form, every member.
FIELDS: dict[str, frozenset[str]] = {
    "action": frozenset({"tool", "effect", "confidence", "citations", "evidence"}),
    "subject": frozenset({"type", "id", "tier"}),
    "workflow": frozenset({"slug", "environment", "stage"}),
    "principal": frozenset({"kind", "id"}),
}
LIMIT_FIELDS = frozenset({"amount", "count", "max_amount", "max_count", "remaining"})
_VARIABLES = {name: cel.Type("map<string, dyn>") for name in (*FIELDS, "args")} | {
    "limits": cel.Type("map<string, map<string, int>>"),
    "now": cel.Type.TIMESTAMP,
}


def environment(variables: Mapping[str, Any]) -> Any:
    """An environment of the same few functions, and macros off, over variables of one's own: types by name."""
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_CONFIG), variables=dict(variables))


_ENVIRONMENT = environment(_VARIABLES)


# As in the IANA database, or an offset. Without dots and a leading slash it is a file of that database.
_ZONE = re.compile(r"UTC|[+-][0-9]{2}:[0-9]{2}|[A-Z][A-Za-z_]{1,30}(/[A-Z][A-Za-z0-9_+-]{1,30}){1,2}")


class ExpressionError(ValueError):
    """The expression is not one that a rule may have; the message says where and why."""


def compile_expression(text: str) -> Any:
    """The compiled program of an expression.

    Raises ExpressionError for a syntax error, an unknown name, member or function, a type that cannot be boolean, more
    than MAX_LENGTH characters or 32 levels, and for a `contains` or a time zone that is not given as a literal text.
    """
    program = _compiled(text)
    if isinstance(program, ExpressionError):
        raise ExpressionError(str(program))
    return program


@lru_cache(maxsize=1024)  # a long expression keeps 150 KB
def _compiled(text: str) -> Any:
    """The program, or the ExpressionError that it is instead: both are kept, so that neither is worked out twice."""
    try:
        return compile_in(_ENVIRONMENT, text)
    except ExpressionError as error:
        return ExpressionError(str(error))


def compile_in(where: Any, text: str) -> Any:
    """As compile_expression, in an environment of one's own, and not kept."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"The expression is longer than {MAX_LENGTH} characters.")
    try:
        program = where.compile(text)
        answers = program.return_type()
        written = program.serialize()
        called, read = list(calls(written)), list(paths(written))
    except Exception as error:
        raise ExpressionError(_plainly(str(error))) from None
    if answers not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError("The expression does not answer true or false.")
    for call in called:
        if call.function == "contains" and None in call.arguments:
            raise ExpressionError("contains() looks for a text that is written in the rule.")
        if call.function in ("getHours", "getDayOfWeek") and not all(_ZONE.fullmatch(a or "") for a in call.arguments):
            raise ExpressionError(f"{call.function}() takes a time zone like 'Europe/Berlin' or '+02:00'.")
    for path in read:
        _require_member(path)
    return program


def _plainly(said: str) -> str:
    """What the engine says of an expression, without its own words for it."""
    return re.sub(r"^(?:INVALID_ARGUMENT|CANCELLED): (?:ERROR: <input>:)?| \[[A-Z_]+\]$", "", said)


def _require_member(path: Path) -> None:
    """Refuses a member that a variable never has: a rule with a slip of the pen would protect nobody."""
    root, *members = path
    known = FIELDS.get(root or "")
    if root == "limits":
        known, members = LIMIT_FIELDS, members[1:]
    if known and members and members[0] is not None and members[0] not in known:
        of = "a limit" if root == "limits" else root
        raise ExpressionError(f"{of} has no {members[0][:100]!r}; it has {', '.join(sorted(known))}.")


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[Path, ...]:
    return tuple(paths(compile_expression(text).serialize()))


def arguments_named(text: str) -> list[str]:
    """The arguments that an expression names, in the order of the expression; those that it works out are left out.

    Raises ExpressionError, as compile_expression does.
    """
    named = [path[1] for path in _read(text) if path[0] == "args" and len(path) > 1]
    return list(dict.fromkeys(name for name in named if name is not None))


def mentions(text: str, variable: str) -> bool:
    """Whether an expression reads a variable; one that could not be compiled reads nothing."""
    try:
        return any(path[0] == variable for path in _read(text))
    except ExpressionError:
        return False


def evaluate(text: str, values: Mapping[str, Any]) -> bool:
    """Whether the expression holds for the values.

    The values nest at most 32 levels (arguments.MAX_DEPTH); far deeper ones overflow the engine's stack. Raises
    ExpressionError when it errs or answers something else than a boolean.
    """
    return answer(text, activation(values))


def activation(values: Mapping[str, Any]) -> Any:
    """The values, made ready for any number of expressions."""
    return _ENVIRONMENT.Activation(data=values)


def answer(text: str, ready: Any) -> bool:
    """As `evaluate`, on values that were made ready."""
    return truth(compile_expression(text), ready)


def truth(program: Any, ready: Any) -> bool:
    """What a program answers, for values that were made ready; raises ExpressionError as `evaluate` does."""
    found = _run(program, ready)
    kind, plain = found.type(), found.plain_value()
    if kind != cel.Type.BOOL:
        raise ExpressionError(str(plain)[:300])
    return bool(plain)


def compile_all(texts: tuple[str, ...]) -> Any | None:
    """One program that answers the list of what each expression answers, for `answer_all`.

    None when there is no such program: it would be too long, or nest too deep. Each expression compiles by itself, so
    that none can end its own part of the list.
    """
    listed = ",".join(f"({text}\n)" for text in texts)  # the line ends a comment
    try:
        return _ENVIRONMENT.compile(f"[{listed}]")
    except Exception:
        return None


def answer_all(program: Any, ready: Any) -> list[Any] | None:
    """What every expression of a list program answers, each whatever it is; None when one of them errs."""
    try:
        found = _run(program, ready)
        return list(found.plain_value()) if found.type() == cel.Type.LIST else None
    except ExpressionError:
        return None


def _run(program: Any, ready: Any) -> Any:
    """The one place where an expression is evaluated."""
    try:
        return program.eval(ready)
    except Exception as error:
        raise ExpressionError(str(error)) from None
