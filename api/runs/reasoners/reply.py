"""What a model answered, in one form whichever interface it came through."""

import json
from dataclasses import dataclass
from typing import Any, Literal

#: Levels of nesting of an answer; what proposes an action needs a third of it (api/gate/arguments.py).
MAX_DEPTH = 100


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


def parse(text: str | bytes) -> Any:
    """JSON whose every part can be looked through, sent back, and kept.

    Raises MalformedError for what is nested deeper than MAX_DEPTH or holds half of a surrogate pair, which no UTF-8
    carries; ValueError and RecursionError for what is no JSON.
    """
    document = json.loads(text)
    left = [(document, 1)]
    while left:
        value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise MalformedError(f"It is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            left += ((item, depth + 1) for pair in value.items() for item in pair)
        elif isinstance(value, list):
            left += ((item, depth + 1) for item in value)
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise MalformedError("It holds half of a surrogate pair.") from None
    return document


def holds(value: Any, word: str) -> bool:
    """Whether the word stands in a text of a parsed answer, however it was escaped there; names of members count."""
    return json.dumps(word, ensure_ascii=False)[1:-1] in json.dumps(value, ensure_ascii=False)


def a(kind: type, value: Any, what: str) -> Any:
    """The value, if it is of the kind. Raises MalformedError."""
    if not isinstance(value, kind):
        raise MalformedError(f"{what} is not what the interface says it is.")
    return value
