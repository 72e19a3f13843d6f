"""Reads the syntax tree of a compiled expression: every function call in it, and every name that it reads.

The engine hands the tree out as the protocol buffer `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto
and syntax.proto), in an `Any`. The few fields that matter are read here straight from the wire format.
"""

from collections.abc import Iterator
from dataclasses import dataclass

# Field numbers. Any: value. CheckedExpr: expr. Expr: the kinds that are read; their own fields follow.
_ANY_VALUE, _CHECKED_EXPR = 2, 4
_CONSTANT, _NAME, _SELECT, _CALL, _LIST, _STRUCT = 3, 4, 5, 6, 7, 8
_ID, _TEXT = 2, 6


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `arguments` holds the text of each argument after the receiver that is a literal text, else None."""

    function: str
    arguments: tuple[str | None, ...]


#: A name and the members read of it: `args.a.b`, `args["a"].b`; None where a member is worked out. `"a" in args` reads
#: a member, too.
Path = tuple[str | None, ...]


def calls(program: bytes) -> Iterator[Call]:
    """Every call in a serialized program.

    Raises ValueError for a kind of expression that rules do not have: loops, protocol buffers.
    """
    for field, value in _fields(_only(program, _ANY_VALUE)):
        if field == _CHECKED_EXPR:
            yield from _calls(value)


def paths(program: bytes) -> Iterator[Path]:
    """Every name that a serialized program reads, as far as the members that it reads of it are written down."""
    for field, value in _fields(_only(program, _ANY_VALUE)):
        if field == _CHECKED_EXPR:
            yield from _paths(value)


def _paths(expression: bytes) -> Iterator[Path]:
    path, apart = _path(expression)
    if path is not None:
        yield path
    for part in apart:
        yield from _paths(part)


def _path(expression: bytes) -> tuple[Path | None, list[bytes]]:
    """The path that an expression is, if it is one, and the expressions in it that are read by themselves."""
    for field, value in _fields(expression):
        if field == _NAME:
            return (_only(value, 1).decode(),), []
        if field == _SELECT:
            operand, member = _only(value, 1), _only(value, 2).decode()
            path, apart = _path(operand)
            return (None, [operand]) if path is None else ((*path, member), apart)
        if field == _CALL:
            return _called(value)
        if field == _LIST:
            return None, [part for number, part in _fields(value) if number == 1]
        if field == _STRUCT:
            entries = [part for number, part in _fields(value) if number == 2]
            return None, [part for entry in entries for number, part in _fields(entry) if number in (3, 4)]
    return None, []


def _called(call: bytes) -> tuple[Path | None, list[bytes]]:
    parts = _fields(call)
    function = _only(call, 2).decode()
    operands = [part for number, part in parts if number in (1, 3)]
    if function in ("_[_]", "@in") and len(operands) == 2:
        whole, member = operands if function == "_[_]" else reversed(operands)
        path, apart = _path(whole)
        if path is not None:
            return (*path, _text(member)), [*apart, member]
    return None, operands


def _calls(expression: bytes) -> Iterator[Call]:
    for field, value in _fields(expression):
        if field == _CALL:
            parts = _fields(value)
            target = [part for number, part in parts if number == 1]
            arguments = [part for number, part in parts if number == 3]
            yield Call(_only(value, 2).decode(), tuple(_text(argument) for argument in arguments))
            inner = target + arguments
        elif field in (_SELECT, _LIST):
            inner = [part for number, part in _fields(value) if number == 1]
        elif field == _STRUCT and not _named(value):
            entries = [part for number, part in _fields(value) if number == 2]
            inner = [part for entry in entries for number, part in _fields(entry) if number in (3, 4)]
        elif field in (_ID, _CONSTANT, _NAME):
            inner = []
        else:
            raise ValueError("The expression has a part of a kind that rules do not have.")
        for part in inner:
            yield from _calls(part)


def _named(struct: bytes) -> bool:
    """Whether a struct is a protocol buffer; a map has no name."""
    return any(number == 1 and name for number, name in _fields(struct))


def _text(expression: bytes) -> str | None:
    for field, value in _fields(expression):
        if field == _CONSTANT:
            return next((text.decode() for number, text in _fields(value) if number == _TEXT), None)
    return None


def _only(message: bytes, wanted: int) -> bytes:
    return next(value for number, value in _fields(message) if number == wanted)


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message as (number, bytes); of a varint, which no field that matters is, only the number."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            _, at = _varint(message, at)
            found.append((tag >> 3, b""))
            continue
        if tag & 7 == 2:
            length, at = _varint(message, at)
        else:
            length = {1: 8, 5: 4}[tag & 7]
        found.append((tag >> 3, message[at : at + length]))
        at += length
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
