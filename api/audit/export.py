"""The log as a file: every line of JSON has what it takes to check the chain without us; CSV is for reading."""

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

Format = Literal["jsonl", "csv"]
Read = Callable[[int, int], Awaitable[list[dict[str, Any]]]]
MEDIA: dict[Format, str] = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}
#: Events that are read at once, so that no transaction lasts and no file stands in memory.
BATCH = 2000
#: Events of one file. The next one begins after the last number of this one.
MOST = 200_000
COLUMNS = (
    "seq", "at", "type", "principal_kind", "principal_id", "environment", "subject_type", "subject_id", "action_id",
    "run_id", "before", "after", "request_id", "prev_hash", "hash",
)  # fmt: skip


async def pieces(read: Read, form: Format, after: int) -> AsyncIterator[str]:
    """The file in pieces, oldest event first, from the one after `after`; `read` answers events after a number.

    What is wrong with the request is raised by the first read, before there is a piece.
    """
    return _written(read, form, await read(after, BATCH))


async def _written(read: Read, form: Format, rows: list[dict[str, Any]]) -> AsyncIterator[str]:
    written = 0
    if form == "csv":
        yield _lines([COLUMNS])
    while rows:
        yield "".join(map(_json, rows)) if form == "jsonl" else _lines(map(_cells, rows))
        written += len(rows)
        if len(rows) < BATCH or written >= MOST:
            return
        rows = await read(rows[-1]["seq"], min(BATCH, MOST - written))


def _json(row: dict[str, Any]) -> str:
    kept = {name: row[name] for name in ("seq", "prev_hash", "hash", "record")}
    return json.dumps(kept, ensure_ascii=False) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    event = row["event"]
    flat = event | row | {
        "principal_kind": event.get("principal", {}).get("kind"), "principal_id": event.get("principal", {}).get("id"),
        "subject_type": event.get("subject", {}).get("type"), "subject_id": event.get("subject", {}).get("id"),
    }  # fmt: skip
    return [_cell(flat.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:
    """A text that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _lines(rows: Any) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
