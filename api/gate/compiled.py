"""A constitution, compiled once: which of its rules apply to a tool, and what each of them answers.

The rules of one decision are one program that answers a list, so that a healthy constitution costs one evaluation
however many rules it has. When one of them errs the whole list does, and each is asked by itself. What is kept is kept
by content, so by version of a constitution, and is the same whoever asks.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import translate
from functools import lru_cache
from typing import Any

from api.gate.cel import ExpressionError, activation, answer, answer_all, compile_all, compile_expression
from api.gate.rules import Rule

#: Characters of expressions in one list program, which keeps about 70 bytes for each.
_TOGETHER = 16_000
#: No tool has a longer name; an agent may well send one, for every pattern to be tried on.
_LONGEST_NAME = 120

Answer = bool | ExpressionError


def applicable(rules: Sequence[Rule], tool: str, now: datetime) -> list[Rule]:
    """The rules that are in force at `now` and apply to the tool, in their order."""
    name = tool[:_LONGEST_NAME]
    return [
        rule
        for rule in rules
        if (rule.expires_at is None or rule.expires_at > now)
        and ("*" in rule.applies_to or _pattern(tuple(rule.applies_to)).match(name))
    ]


def answers(expressions: Sequence[str], values: Mapping[str, Any]) -> list[Answer]:
    """What each expression answers for the values: true, false, or the error that it is.

    An expression that answers anything but a boolean is an error.
    """
    if not expressions:
        return []
    ready = activation(values)
    found: list[Answer] = []
    for part in _parts(tuple(expressions)):
        found += _all_of(part, ready)
    return found


def one_by_one(expressions: Sequence[str], values: Mapping[str, Any]) -> list[Answer]:
    """As `answers`, without a program of them all: for rules of which each decision has others."""
    ready = activation(values)
    return [_one(text, ready) for text in expressions]


def _all_of(expressions: tuple[str, ...], ready: Any) -> list[Answer]:
    program = _program(expressions)
    found = answer_all(program, ready) if program is not None else None
    if found is None or len(found) != len(expressions) or not all(isinstance(one, bool) for one in found):
        return [_one(text, ready) for text in expressions]
    return found


def _one(text: str, ready: Any) -> Answer:
    try:
        return answer(text, ready)
    except ExpressionError as error:
        return error


@lru_cache(maxsize=512)
def _parts(expressions: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The expressions, in their order, in parts that one program holds; what does not compile is a part by itself."""
    parts: list[list[str]] = []
    room, joins = 0, False
    for text in expressions:
        compiles = _compiles(text)
        if not (joins and compiles and len(text) <= room):
            parts.append([])
            room = _TOGETHER
        parts[-1].append(text)
        room, joins = room - len(text), compiles
    return [tuple(part) for part in parts]


@lru_cache(maxsize=128)
def _program(expressions: tuple[str, ...]) -> Any | None:
    if len(expressions) == 1 or not all(_compiles(text) for text in expressions):
        return None
    return compile_all(expressions)


def _compiles(text: str) -> bool:
    try:
        compile_expression(text)
    except ExpressionError:
        return False
    return True


@lru_cache(maxsize=2048)
def _pattern(applies_to: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for all of a rule's; none of them backtracks (fnmatch writes atomic groups)."""
    return re.compile("|".join(translate(pattern) for pattern in applies_to))
