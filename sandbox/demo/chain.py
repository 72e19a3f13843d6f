"""Checks the audit chain from exported events alone: nothing here asks Countersign whether it is right."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`broken_at`: the first event that does not fit; None when all do. `head`: the last hash, in hex."""

    events: int
    head: str
    broken_at: int | None


def verify(tenant_id: str, events: Sequence[Event]) -> Verdict:
    """Recomputes the chain of all of a tenant's events, in order of `seq`.

    hash = SHA-256(previous hash, then the record's UTF-8 bytes); the first one's previous hash is SHA-256 of the
    tenant's id. `seq` counts from 1 without gaps, and each record says its own.
    """
    previous = sha256(tenant_id.encode()).digest()
    for number, event in enumerate(events, 1):
        record = str(event["record"])
        own = sha256(previous + record.encode()).digest()
        fits = event["prev_hash"] == previous.hex() and event["hash"] == own.hex() and event["seq"] == number
        if not (fits and _says(record, number, tenant_id)):
            return Verdict(len(events), previous.hex(), number)
        previous = own
    return Verdict(len(events), previous.hex(), None)


def _says(record: str, number: int, tenant_id: str) -> bool:
    try:
        said = json.loads(record)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("seq") == number and said.get("tenant_id") == tenant_id


def forged(events: Sequence[Event]) -> tuple[int, list[Event]]:
    """A copy in which one character of one record was changed, and the number of that event."""
    at = len(events) // 2
    record = str(events[at]["record"])
    # The last digit of its time: the kind of change that nobody would notice by reading.
    place = record.rindex("Z") - 1
    changed = record[:place] + ("1" if record[place] != "1" else "2") + record[place + 1 :]
    return at + 1, [*events[:at], {**events[at], "record": changed}, *events[at + 1 :]]
