"""Where in a TOML file each table and key begins, for error messages."""

import re

#: Keys, and the number of an item in a list of tables.
Place = tuple[str | int, ...]

_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")


def lines_of(text: str) -> dict[Place, int]:
    """The line (from 1) of each table and key by its path; the items of a list of tables are numbered from 0.

    For text that is valid TOML. What stands inside a value on the line of its key has no line of its own.
    """
    lines: dict[Place, int] = {(): 1}
    counts: dict[Place, int] = {}
    table: Place = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:
            closing = "" if closing in line else closing
            continue
        header = re.match(r"\s*(\[\[?)", line)
        start = header.end() if header else 0
        keys, end = _keys(line, start)
        if header and line[end : end + 1] == "]":
            table = _enter(keys, counts, repeated=header[1] == "[[")
            _note(lines, table, number)
        elif not header and line[end : end + 1] == "=":
            _note(lines, table + keys, number)
            opening = re.match(r"=\s*('''|\"\"\")", line[end:])
            if opening and opening[1] not in line[end + opening.end() :]:
                closing = opening[1]
    return lines


def line_of(text: str, path: Place) -> int:
    """The line on which the part begins that a path names, or else the closest part around it."""
    lines = lines_of(text)
    return next(lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines)


def _keys(line: str, at: int) -> tuple[Place, int]:
    """The dotted key that begins there, and where it ends."""
    keys: list[str | int] = []
    while match := _KEY.match(line, at):
        keys.append(match[1][1:-1] if match[1][0] in "\"'" else match[1])
        at = match.end()
        if line[at : at + 1] != ".":
            break
        at += 1
    return tuple(keys), at


def _enter(keys: Place, counts: dict[Place, int], *, repeated: bool) -> Place:
    """The path of a table that a header opens: a list of tables that it passes through stands for its last item."""
    path: Place = ()
    for key in keys[:-1]:
        path = (*path, key)
        path = (*path, counts[path]) if path in counts else path
    path = (*path, *keys[-1:])
    if repeated:
        counts[path] = counts.get(path, -1) + 1
        return (*path, counts[path])
    return path


def _note(lines: dict[Place, int], path: Place, number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)
