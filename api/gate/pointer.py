"""JSON pointers (RFC 6901), with `*` for every item or member."""

import re
from collections.abc import Iterator
from typing import Any

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # RFC 6901 section 4: ASCII digits, no leading zeros


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def escape(name: str) -> str:
    """The name of a member as a pointer writes it (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def resolve(document: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Every place in the document that the pointer matches, as (exact pointer, value)."""
    places: list[tuple[str, Any]] = [("", document)]
    for token in pointer.split("/")[1:]:
        places = [step for at, value in places for step in _step(at, value, token)]
    yield from places


def missing(document: Any, pointer: str) -> Iterator[str]:
    """Every place where the pointer leads nowhere, as far as it led; a `*` that finds no item leads nowhere too."""
    places: list[tuple[str, Any]] = [("", document)]
    for token in pointer.split("/")[1:]:
        steps = [(at, list(_step(at, value, token))) for at, value in places]
        yield from (f"{at}/{token}" for at, found in steps if not found)
        places = [place for _, found in steps for place in found]


def _step(at: str, value: Any, token: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        names = list(value) if token == "*" else [_unescape(token)]  # noqa: S105 - a wildcard, no secret
        for name in names:
            if name in value:
                yield f"{at}/{escape(name)}", value[name]
    elif isinstance(value, list):
        if token == "*":  # noqa: S105
            for index, item in enumerate(value):
                yield f"{at}/{index}", item
        elif _INDEX.fullmatch(token) and int(token) < len(value):
            yield f"{at}/{token}", value[int(token)]


def covers(pattern: str, pointer: str) -> bool:
    """Whether the exact pointer lies at or below the pattern."""
    wanted, given = pattern.split("/")[1:], pointer.split("/")[1:]
    return len(wanted) <= len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=False))


def leaves(document: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar (and every empty object or list) of the document, as (exact pointer, value)."""
    if isinstance(document, dict) and document:
        for name, item in document.items():
            yield from leaves(item, f"{at}/{escape(name)}")
    elif isinstance(document, list) and document:
        for index, item in enumerate(document):
            yield from leaves(item, f"{at}/{index}")
    else:
        yield at, document
