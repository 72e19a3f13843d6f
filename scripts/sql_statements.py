"""Cut a SQL script into its statements, the way psql does.

A semicolon ends a statement unless it stands in a string, a quoted name, a dollar-quoted body, a comment,
parentheses (rules), or the ``begin atomic ... end`` body of a SQL-standard function. Lexical rules:
PostgreSQL manual, "Lexical Structure", with standard_conforming_strings on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Longest first. What matches none of the quoted forms advances by one character.
_TOKEN = re.compile(
    r"""
    (?P<line_comment> --[^\n]* )
  | (?P<block_comment> /\* )
  | (?P<escape_string> [eE]'(?: [^'\\] | \\. | '' )*' )
  | (?P<string> '(?: [^'] | '' )*' )
  | (?P<quoted_name> "(?: [^"] | "" )*" )
  | (?P<dollar> \$(?: [^\W\d]\w* )?\$ )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<number> \d[\w.]* )
  | (?P<open> [(\[] )
  | (?P<close> [)\]] )
  | (?P<semicolon> ; )
  | (?P<space> \s+ )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
# An unclosed quote matches none of the quoted forms and arrives here as a single character.
_UNCLOSED = {"'": "string", '"': "quoted name"}


class UnterminatedError(ValueError):
    """A string, quoted name, dollar quote or block comment that the script never closes."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(f"unterminated {what}")
        self.line = line


@dataclass(frozen=True)
class Statement:
    """One statement of a script.

    `text` is without its closing semicolon and the white space around it; comments before it belong to it.
    `line` is the script's line (from 1) on which `text` begins, `code_line` the one of its first word, which
    is None when there is nothing but comments. `words` are its first words outside of quotes, in lower case.
    """

    text: str
    line: int
    code_line: int | None
    words: tuple[str, ...]


class _Shape:
    """Where the reading stands inside one statement: its first words and what is still open."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.code_at: int | None = None
        self.parentheses = 0
        self.atomic_blocks = 0

    def code(self, at: int) -> None:
        if self.code_at is None:
            self.code_at = at

    def word(self, word: str) -> None:
        if self.parentheses == 0 and self._defines_routine():
            # Only a routine can have an atomic body, and within one only `case` also ends with `end`.
            if word == "begin" or (word == "case" and self.atomic_blocks):
                self.atomic_blocks += 1
            elif word == "end" and self.atomic_blocks:
                self.atomic_blocks -= 1
        if len(self.words) < 4:
            self.words.append(word)

    def open_ended(self) -> bool:
        return self.parentheses == 0 and self.atomic_blocks == 0

    def _defines_routine(self) -> bool:
        match self.words:
            case ["create", "function" | "procedure", *_]:
                return True
            case ["create", "or", "replace", "function" | "procedure", *_]:
                return True
            case _:
                return False


def split(script: str) -> list[Statement]:
    """The statements of a script in order; a tail of mere comments counts as one, blanks do not.

    Raises UnterminatedError.
    """
    statements: list[Statement] = []
    shape, begin = _Shape(), 0
    for kind, at, end in _tokens(script):
        if kind == "semicolon" and shape.open_ended():
            statements.extend(_statement(script, begin, end, shape))
            shape, begin = _Shape(), end
        elif kind not in ("space", "comment"):
            shape.code(at)
            if kind == "word":
                shape.word(script[at:end].lower())
            elif kind == "open":
                shape.parentheses += 1
            elif kind == "close":
                # More closed than opened is the server's to complain about.
                shape.parentheses = max(0, shape.parentheses - 1)
    statements.extend(_statement(script, begin, len(script), shape))
    return statements


def _statement(script: str, begin: int, end: int, shape: _Shape) -> Iterator[Statement]:
    text = script[begin:end].rstrip(";").strip()
    if text:
        first = script.index(text, begin)
        code_line = None if shape.code_at is None else _line(script, shape.code_at)
        yield Statement(text, _line(script, first), code_line, tuple(shape.words))


def _tokens(script: str) -> Iterator[tuple[str, int, int]]:
    """Kind, begin and end of every token."""
    at = 0
    while match := _TOKEN.match(script, at):
        kind, end = match.lastgroup or "other", match.end()
        if kind == "line_comment":
            kind = "comment"
        elif kind == "block_comment":
            kind, end = "comment", _end_of_block(script, at)
        elif kind == "dollar":
            closing = script.find(match.group(), end)
            if closing < 0:
                raise UnterminatedError(f"dollar quote {match.group()}", _line(script, at))
            kind, end = "string", closing + len(match.group())
        elif kind == "other" and match.group() in _UNCLOSED:
            raise UnterminatedError(_UNCLOSED[match.group()], _line(script, at))
        yield kind, at, end
        at = end


def _end_of_block(script: str, begin: int) -> int:
    """Where a block comment ends; they nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(script, begin):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise UnterminatedError("block comment", _line(script, begin))


def _line(script: str, at: int) -> int:
    return script.count("\n", 0, at) + 1
