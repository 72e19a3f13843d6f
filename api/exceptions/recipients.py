"""Whom what waits goes to, for a list of it: by name, whom the directory knows; the rest as it was proposed. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from api.exceptions.models import Recipients
from api.gate.lookups import keys_of_value

#: Keys of one exception that are looked up, and bytes of a payload that is read for a list.
MOST, SIZE = 4, 20_000


def recipients_of(rows: Iterable[Mapping[str, Any]]) -> dict[UUID, Recipients]:
    """The recipients of each exception that names any, of the rows of recipients.sql."""
    found: dict[UUID, Recipients] = {}
    for row in rows:
        told = found.setdefault(row["id"], Recipients(left=max(0, row["keys"] - MOST)))
        kind = row["key"].partition(":")[0]
        if not row["entries"]:
            told.unknown.append((kind, _as_written(row["key"], row["texts"])))
            told.unknown.sort(key=lambda each: each[0] == "account")  # a name says more, and is read first
            continue
        for entry in row["entries"]:
            if entry["name"] not in told.known:
                told.known.append(entry["name"])
            if not entry["trusted"] and entry["name"] not in told.cooling:  # however long another way is known
                told.cooling.append(entry["name"])
        if kind == "account":
            found[row["id"]] = Recipients(told.known, told.cooling, told.unknown, True, told.left)
    return found


def objected(item: Mapping[str, Any]) -> bool:
    """Whether the check of counterparties may have objected to an exception of the queue.

    Of what is to be done by hand, `stopped_by` has only what denied it: what would have asked a person is not told.
    """
    return item["kind"] == "manual" or "counterparty" in item["stopped_by"]


def _as_written(key: str, texts: Iterable[str]) -> str:
    """The text of the payload that the key was made of; where that is none of these, the key without its kind."""
    for text in texts:
        if key in keys_of_value(text):
            return text
    _, _, value = key.partition(":")
    return value.removeprefix("iban:")
