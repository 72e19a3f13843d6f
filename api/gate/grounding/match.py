"""Which source may ground a value of which role, and how a value is sought in it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from api.gate import normalise
from api.gate.accounts import key_of_text
from api.gate.contracts import ArgumentRole
from api.gate.decisions import Source
from api.gate.facts import DirectoryAnswer
from api.gate.grounding import dates, keys
from api.gate.grounding.disguise import UNSEEN
from api.gate.grounding.instruction import Reading
from api.gate.grounding.sources import Sources
from api.gate.lookups import directory_keys
from api.gate.pointer import covers
from api.gate.vocabulary import unseen

#: Of each role: the sources that may ground it, the most trusted first.
ALLOWED: dict[ArgumentRole, tuple[Source, ...]] = {
    "recipient": ("instruction", "trusted_record", "directory", "metadata"),
    "account": ("instruction", "trusted_record", "directory"),
    "amount": ("instruction", "trusted_record", "derived"),
    "quantity": ("instruction", "trusted_record", "derived"),
    "url": ("instruction", "trusted_record", "directory"),
    "object_id": ("instruction", "trusted_record", "metadata"),
    "setting": ("instruction", "trusted_record"),
    "free_text": (),
}

#: Roles that choose between records: of those that the instruction passes over, nothing counts.
CHOSEN: frozenset[ArgumentRole] = frozenset({"recipient", "account", "url", "object_id"})

#: How a message names a source.
NAMES: dict[Source, str] = {
    "instruction": "the instruction",
    "trusted_record": "a trusted record",
    "directory": "the directory",
    "metadata": "a whole field of metadata",
    "derived": "a sum or difference of trusted amounts",
    "none": "nothing",
}


@dataclass(frozen=True)
class Sought:
    """A value as it is sought: its keys in records, those in the directory, and whether it has a form of its own.

    An address or account that is recognised by its form is that and no name, and is not sought as words.
    """

    role: ArgumentRole
    text: str
    keys: list[str]
    directory: list[str]
    typed: bool


@dataclass(frozen=True, slots=True)
class Found:
    source: Source
    where: str


def sought(role: ArgumentRole, value: Any, name: str = "", pair: list[str] | None = None) -> Sought:
    """name: of the argument. pair: the directory's keys of the account that the value is a part of."""
    text = value.strip() if isinstance(value, str) else _written(value)
    known = keys.typed(text)
    paired = list(pair or [])
    if account := key_of_text(text):
        paired.append(account)
    if known:
        link = keys.link(text) if known.startswith("url:") else []
        site = list(keys.url(text) or ()) if link else []
        return Sought(role, text, link or [known], [*paired, *directory_keys([known, *site])], True)
    found = [f"id:{text}"]
    if len(text) < 6 and text.isdecimal():
        # A small number is the id of many things: the member it is read from has to be of the same name, or an id.
        found.append(f"id@{name.lower()}:{text}")
    # A telephone number that is written without its country is sought as an account's number is.
    digits = role == "recipient" and not any(c.isalpha() for c in text) and sum(c.isdigit() for c in text) > 5
    if (role == "account" or digits) and (number := keys.number(text)):
        found.append(number)
    if role in ("recipient", "account", "setting", "url"):
        found.append(f"text:{normalise.words(text)}")
    named = f"name:{normalise.words(text)}"
    return Sought(role, text, found, [*paired, named] if role == "recipient" else paired, False)


def _written(value: Any) -> str:
    number = keys.decimal(value)
    return str(value) if number is None else f"{number:f}"


def in_instruction(reading: Reading, subject: frozenset[str], want: Sought) -> str | None:
    """How the instruction names the value, or None."""
    if want.keys[0] in subject:
        return "the record that the run is about"
    if any(key in reading.keys for key in want.keys if not key.startswith("text:")):
        return "named there"
    if want.typed:
        return None
    bare = want.text.lstrip("#@")
    if not reading.is_nobody(bare) and not reading.tokens.isdisjoint((want.text, bare)):
        return "named there"
    if UNSEEN.search(want.text) or unseen(want.text, lines=False):
        return None  # what nobody sees in a name makes it another one
    if want.role == "setting" and f"text:{normalise.words(want.text)}" in reading.keys:
        return "named there"
    if want.role == "setting" and reading.spells(want.text):
        return "named there"
    # An account's number is that number, and an id that is one word is that word.
    worded = any(c.isalpha() for c in want.text) and not (
        want.role == "account" and any(c.isdigit() for c in want.text)
    )
    exact = want.role == "object_id" and " " not in want.text and not want.text.isalpha()
    return "named there" if worded and not exact and reading.names(bare) else None


def in_records(sources: Sources, want: Sought) -> str | None:
    return sources.trusted(want.keys, chosen=want.role in CHOSEN)


def in_metadata(sources: Sources, want: Sought) -> str | None:
    # Who writes an account into a field of his own is not thereby one to be paid.
    known = [key for key in want.keys if key.partition(":")[0] not in ("number", "iban", "us")]
    return sources.metadata(known, chosen=want.role in CHOSEN)


def in_directory(
    answers: dict[str, DirectoryAnswer], want: Sought, now: datetime
) -> tuple[str | None, datetime | None, list[str]]:
    """Who the directory says it is; else from when on it would, and what it could be taken for."""
    later: datetime | None = None
    alike: list[str] = []
    for key in want.directory:
        answer = answers.get(key)
        if answer is None:
            continue
        for entry in answer.entries:
            if entry.trusted_from <= now:
                return f"{entry.name}, by its {key.partition(':')[0]}", None, []
            later = entry.trusted_from if later is None else min(later, entry.trusted_from)
        alike += answer.alike
    return None, later, alike


def numbers_in_instruction(reading: Reading, value: Decimal) -> bool:
    """Whether the instruction writes the number, of whatever; signs make no difference."""
    return abs(value) in reading.numbers


def date_in_instruction(reading: Reading, text: str, now: datetime) -> bool:
    return dates.is_stamp(text) and dates.named(text, reading.dates, reading.words, now.date())


def is_at(pattern: str, pointer: str) -> bool:
    """Whether a pattern means exactly this argument, and not a part of it."""
    return pattern == pointer or (pattern.count("/") == pointer.count("/") and covers(pattern, pointer))
