"""JSON that a person types: read as strictly as a request's body, and with the line of each of its values."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

from api.body import parse
from api.errors import Problem
from api.gate.pointer import escape

_SPACE = re.compile(r"[ \t\r\n]*")
_VALUE = json.JSONDecoder()


class Place(NamedTuple):
    """Something wrong and where: `line` counts from 1, `text` is what stands there."""

    line: int
    text: str
    pointer: str
    message: str


def read(text: str) -> Any:
    """The value of a text. Raises Problem 422 that says in which line it is not JSON."""
    try:
        return parse(text.encode("utf-8", "surrogatepass"))
    except Problem as problem:
        detail = str(problem.detail).replace("The body is not JSON", "This is not JSON")
        raise Problem(422, "invalid_json", detail) from None


def written(value: Any) -> str:
    """JSON as people read and edit it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def places(text: str, errors: Iterable[dict[str, Any]]) -> list[Place]:
    """Where in the text each error is, by line; where its value is left out, the line of what should hold it.

    text: JSON that was read. errors: as in a Problem, with pointers into the value.
    """
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    known: dict[str, int] = {}
    _walk(text, 0, "", known)
    lines = text.split("\n")

    def placed(error: dict[str, Any]) -> Place:
        pointer = str(error.get("pointer", ""))
        near = pointer
        while near not in known:
            near = near.rpartition("/")[0]
        line = bisect_right(starts, known[near])
        return Place(line, lines[line - 1].strip()[:120], pointer, str(error.get("message", "")))

    return sorted(map(placed, errors))


def _walk(text: str, at: int, pointer: str, known: dict[str, int]) -> int:
    """Notes where each value of a JSON text begins; answers where the one at `at` ends."""
    at = _skip(text, at)
    known[pointer] = at
    if text[at] not in "{[":
        return _VALUE.raw_decode(text, at)[1]
    closing, member, at = ("}" if text[at] == "{" else "]"), 0, _skip(text, at + 1)
    while text[at] != closing:
        name = str(member)
        begun = at
        if closing == "}":
            key, at = _VALUE.raw_decode(text, at)
            name, at = escape(key), _skip(text, at) + 1
        at = _skip(text, _walk(text, at, f"{pointer}/{name}", known))
        # A member is where its name stands.
        known[f"{pointer}/{name}"] = begun
        member += 1
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
