"""The conditions of a rules reasoner: CEL, as the constitution has it, over what a run has seen."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from api.gate.cel import ExpressionError, compile_in, environment, truth
from api.gate.expression_tree import Path, paths

_ENVIRONMENT = environment(
    {
        "item": cel.Type.DYN,
        "observations": cel.Type("map<string, dyn>"),
        "subject": cel.Type("map<string, dyn>"),
        "now": cel.Type.TIMESTAMP,
        "today": cel.Type.STRING,
    }
)


class Condition:
    """A compiled condition. `paths` are the names that it reads, and the members of them."""

    def __init__(self, text: str) -> None:
        """Raises ExpressionError as api.gate.cel.compile_expression does."""
        self._program = compile_in(_ENVIRONMENT, text)
        self.paths: tuple[Path, ...] = tuple(paths(self._program.serialize()))
        self._read = {path[0] for path in self.paths if path}
        named = [path[1] if len(path) > 1 else None for path in self.paths if path[0] == "observations"]
        #: The observations that it reads; None where it works out which.
        self.observations: frozenset[str] | None = (
            None if None in named else frozenset(name for name in named if name is not None)
        )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds; only what it reads is given to it, so that a long list is not copied for each item.

        Raises ExpressionError when it errs or answers anything but a boolean.
        """
        given = {name: value for name, value in values.items() if name in self._read}
        if "observations" in given and self.observations is not None:
            given["observations"] = {
                name: result for name, result in values["observations"].items() if name in self.observations
            }
        try:
            ready = _ENVIRONMENT.Activation(data=given)
        except Exception as error:  # the engine has no class of its own for what it cannot take
            raise ExpressionError(str(error)[:300]) from None
        return truth(self._program, ready)


@lru_cache(maxsize=512)
def condition(text: str) -> Condition:
    """The compiled condition, kept. Raises ExpressionError."""
    return Condition(text)
