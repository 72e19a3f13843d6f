"""What the demo prints: plain lines of at most 96 columns, coloured only on a terminal that wants colours."""

import os
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TextIO

WIDTH = 96
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
# A label that makes its text one item of a list below the line before.
BULLET = "        -"
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def clean(text: str, limit: int = 300) -> str:
    """One line that is safe to print, whoever wrote it.

    Control, format and other invisible characters become spaces: a mail must not move the cursor, colour a verdict or
    turn the direction of writing.
    """
    visible = "".join(" " if unicodedata.category(c).startswith(("C", "Z")) else c for c in text)
    line = " ".join(visible.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def money(amount: object, currency: object) -> str:
    """`EUR 1,299.00` of minor units; whatever is no amount is shown as it is."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        return f"{clean(str(currency), 10)} {clean(str(amount), 30)}"
    digits = 0 if currency in ("JPY", "KRW") else 2
    return f"{clean(str(currency), 10)} {amount / 10**digits:,.{digits}f}"


def iban(value: str) -> str:
    """An IBAN in groups of four, as banks print it."""
    return " ".join(textwrap.wrap(clean(value, 40).replace(" ", ""), 4))


class Screen:
    """Prints as things happen: every line is flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        self._colours = wanted and stream.isatty()

    def styled(self, text: str, *styles: str) -> str:
        """The text in a style, if this terminal shows any."""
        if not self._colours or not styles:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def scene(self, title: str) -> None:
        """Begins a part of the demo."""
        self.line()
        self.line(self.styled(title, "bold"))
        self.line(self.styled("-" * len(title), "dim"))

    def say(self, text: str, *styles: str, indent: int = 2) -> None:
        """A paragraph, wrapped."""
        for row in textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]:
            self.line(" " * indent + self.styled(row, *styles))

    def item(self, label: str, text: str, *styles: str, indent: int = 2, room: int = 10) -> None:
        """A label and its text, which is wrapped beside it."""
        rows = textwrap.wrap(text, WIDTH - indent - room, break_long_words=False, break_on_hyphens=False) or [""]
        for index, row in enumerate(rows):
            shown = self.styled((label if index == 0 else "").ljust(room), "dim")
            self.line(f"{' ' * indent}{shown}{self.styled(row, *styles)}".rstrip())

    def table(self, rows: Sequence[Sequence[str]], indent: int = 2) -> None:
        """Columns as wide as their widest cell; cells may be styled."""
        widths = [max(len(_ESCAPE.sub("", row[i])) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = (cell + " " * (width - len(_ESCAPE.sub("", cell))) for cell, width in zip(row, widths, strict=True))
            self.line(f"{' ' * indent}{'  '.join(cells)}".rstrip())
