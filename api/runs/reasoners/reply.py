"""What a model answered, in one form whichever interface it came through."""

from dataclasses import dataclass
from typing import Any, Literal


class MalformedError(ValueError):
    """The answer is none of the interface's answers; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool that a model asks for. input: what it gives; None when that was no JSON object."""

    id: str
    name: str
    input: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. echo: the message as the interface takes it back in the next request.

    input_tokens, output_tokens: as the provider counts them; None where it does not say, or says what cannot be.
    """

    stop: Literal["done", "truncated", "refused"]
    uses: list[ToolUse]
    text: str
    echo: dict[str, Any]
    input_tokens: int | None = None
    output_tokens: int | None = None


def count(value: Any) -> int | None:
    """A number of tokens as a provider says it; None for anything that is none."""
    return value if type(value) is int and 0 <= value < 2**31 else None


def a(kind: type, value: Any, what: str) -> Any:
    """The value, if it is of the kind. Raises MalformedError."""
    if not isinstance(value, kind):
        raise MalformedError(f"{what} is not what the interface says it is.")
    return value
