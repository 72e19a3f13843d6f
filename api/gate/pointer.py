"""JSON pointers (RFC 6901), with `*` for every item or member."""

from collections.abc import Iterator
from typing import Any


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def resolve(document: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Every place in the document that the pointer matches, as (exact pointer, value)."""
    places: list[tuple[str, Any]] = [("", document)]
    for token in pointer.split("/")[1:]:
        places = [step for at, value in places for step in _step(at, value, token)]
    yield from places


def _step(at: str, value: Any, token: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        names = list(value) if token == "*" else [_unescape(token)]  # noqa: S105 - a wildcard, no secret
        for name in names:
            if name in value:
                yield f"{at}/{name.replace('~', '~0').replace('/', '~1')}", value[name]
    elif isinstance(value, list):
        if token == "*":  # noqa: S105
            for index, item in enumerate(value):
                yield f"{at}/{index}", item
        elif token.isdecimal() and int(token) < len(value):
            yield f"{at}/{token}", value[int(token)]


def covers(pattern: str, pointer: str) -> bool:
    """Whether the exact pointer lies at or below the pattern."""
    wanted, given = pattern.split("/")[1:], pointer.split("/")[1:]
    return len(wanted) <= len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=False))


def leaves(document: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar (and every empty object or list) of the document, as (exact pointer, value)."""
    if isinstance(document, dict) and document:
        for name, item in document.items():
            yield from leaves(item, f"{at}/{str(name).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(document, list) and document:
        for index, item in enumerate(document):
            yield from leaves(item, f"{at}/{index}")
    else:
        yield at, document
