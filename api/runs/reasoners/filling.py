"""Fills the templates of a rules reasoner with what a run has seen.

A template is read before anything is put into it, and what is put in is never read as one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.gate.pointer import escape, resolve

ROOTS = ("item", "observations", "subject", "today", "now")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER = re.compile(r"(item|observations|subject|today|now)((?:/(?:[^~/*{}]|~[01])+)*)")


class FillingError(ValueError):
    """A placeholder finds nothing, or what cannot stand there; the message says which."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`root` of ROOTS, and a JSON pointer into it."""

    root: str
    pointer: str

    def __str__(self) -> str:
        return f"{{{self.root}{self.pointer}}}"


def parse(text: str) -> list[str | Placeholder]:
    """The pieces of a template, texts and placeholders.

    Raises FillingError for a brace that belongs to neither, and for a placeholder of an unknown form.
    """
    pieces: list[str | Placeholder] = []
    at = 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[at : token.start()])
        at = token.end()
        if token[0] in ("{{", "}}"):
            pieces.append(token[0][0])
        elif token[1] is None:
            raise FillingError(f"A brace alone means nothing; write {token[0] * 2} for the character.")
        elif (found := _PLACEHOLDER.fullmatch(token[1])) is None or (found[1] in ("today", "now") and found[2]):
            raise FillingError(f"{token[0][:80]} is no placeholder; they begin with {', '.join(ROOTS)}.")
        else:
            pieces.append(Placeholder(found[1], found[2]))
    pieces.append(text[at:])
    return [piece for piece in pieces if piece != ""]


def texts_of(template: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a template that can hold placeholders, as (pointer, text); names of members hold none."""
    if isinstance(template, str):
        yield at, template
    elif isinstance(template, dict):
        for name, value in template.items():
            yield from texts_of(value, f"{at}/{escape(name)}")
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from texts_of(value, f"{at}/{index}")


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with every placeholder filled; one that is a whole text becomes the value with its own type.

    Raises FillingError.
    """
    if isinstance(template, str):
        pieces = parse(template)
        if len(pieces) == 1 and isinstance(pieces[0], Placeholder):
            return _value(pieces[0], values)
        return "".join(piece if isinstance(piece, str) else _text(piece, values) for piece in pieces)
    if isinstance(template, dict):
        return {name: fill(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    return template


def text(template: str, values: Mapping[str, Any]) -> str:
    """As `fill`, for what has to be a text whatever stands for it."""
    return "".join(piece if isinstance(piece, str) else _text(piece, values) for piece in parse(template))


def _value(placeholder: Placeholder, values: Mapping[str, Any]) -> Any:
    found = [value for _, value in resolve(values.get(placeholder.root), placeholder.pointer)]
    if not found or found[0] is None:
        raise FillingError(f"{placeholder} finds nothing.")
    return found[0]


def _text(placeholder: Placeholder, values: Mapping[str, Any]) -> str:
    value = _value(placeholder, values)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FillingError(f"{placeholder} is neither a text nor a whole number, so it cannot stand within a text.")
    return str(value)
