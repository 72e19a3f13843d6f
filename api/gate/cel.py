"""Evaluates the rules' expressions in CEL: no loops, no string building, no unknown names, no side effects.

The environment lists the functions it has (comparison, logic, membership, indexing, size, prefixes and times)
and switches macros off, so that an expression's cost is bounded by its length. An expression that errs, or
answers anything but a boolean, is an error: the library hands errors out as values, and a value is truthy.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

_FUNCTIONS = (
    "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@in", "_[_]",
    "size", "startsWith", "endsWith", "contains", "getHours", "getDayOfWeek", "timestamp",
)  # fmt: skip
_CONFIG = "stdlib:\n  disable_macros: true\n  include_functions:\n" + "".join(
    f'  - name: "{name}"\n' for name in _FUNCTIONS
)
_VARIABLES = {name: cel.Type("map<string, dyn>") for name in ("action", "args", "subject", "workflow", "principal")} | {
    "now": cel.Type.TIMESTAMP
}
_ENVIRONMENT = cel.NewEnv(config=cel.NewEnvConfigFromYaml(_CONFIG), variables=_VARIABLES)


class ExpressionError(ValueError):
    """The expression is not one that a rule may have; the message says where and why."""


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Any:
    """The compiled program of an expression.

    Raises ExpressionError for a syntax error, an unknown name or function, or a type that cannot be boolean.
    """
    try:
        program = _ENVIRONMENT.compile(text)
    except Exception as error:
        raise ExpressionError(str(error).removesuffix(" [INVALID_ARGUMENT]")) from None
    if program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError("The expression does not answer true or false.")
    return program


def evaluate(text: str, values: Mapping[str, Any]) -> bool:
    """Whether the expression holds for the values.

    Raises ExpressionError when it errs or answers something else than a boolean.
    """
    try:
        value = compile_expression(text).eval(data=values)
    except ExpressionError:
        raise
    except Exception as error:
        raise ExpressionError(str(error)) from None
    if value.type() != cel.Type.BOOL:
        raise ExpressionError(str(value.plain_value())[:300])
    return bool(value.plain_value())
