"""Messages that leave: who of their recipients is an outsider, and which of it a reviewer has read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from api.gate import normalise
from api.gate.access_spec import Outbound
from api.gate.lookups import keys_of_value
from api.gate.pointer import covers, leaves, resolve
from api.gate.templates import fills

if TYPE_CHECKING:
    from api.gate.case import Case

EFFECTS = frozenset({"outbound_message", "mass_outbound"})
#: In an Outbound's recipients: everybody whom the directory knows.
DIRECTORY = "directory"
_NAMED = re.compile(r"[^<>]{0,200}<\s*([^<>\s]+)\s*>")
_SEVERAL = re.compile(r"[,;\n]")


@dataclass(frozen=True, slots=True)
class Gap:
    """What of a message no reviewer has read. setting: the one that would have covered it."""

    message: str
    setting: str
    pointer: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A message, looked at. inside: it leaves for nobody; gaps: what nobody has read, nothing when all of it was."""

    inside: bool
    gaps: list[Gap]


def review(case: Case) -> Review:
    """Looks at a message: it is inside when every recipient is an insider, and read when a reviewer read both."""
    named = list(_recipients(case))
    if not named:
        return Review(False, [Gap("It names no recipient, so whom it reaches is not known.", "insiders")])
    insiders = _keys(tuple(case.spec.insiders))
    outsiders = [(pointer, one) for pointer, one in named if not _listed(one, insiders)]
    if not outsiders:
        return Review(True, [])
    setting = f"tools.{case.proposal.tool[:120]}.outbound"
    reviewed = case.grant.outbound if case.grant else None
    if reviewed is None:
        return Review(False, [_outsider(pointer, one, "No reviewer has read", setting) for pointer, one in outsiders])
    known = _keys(tuple(one for one in reviewed.recipients if one != DIRECTORY))
    strangers = [
        (pointer, one)
        for pointer, one in outsiders
        if not _listed(one, known) and not (DIRECTORY in reviewed.recipients and _vouched_for(case, one))
    ]
    gaps = [_outsider(p, one, "It is not among the recipients of", f"{setting}.recipients") for p, one in strangers]
    return Review(False, [*gaps, *_unread(case, reviewed, setting)])


def _outsider(pointer: str, one: str, why: str, setting: str) -> Gap:
    told = f"{one[:120]!r} is an outsider. {why} messages that this tool may send."
    return Gap(f"{told} {setting} or insiders would have covered it.", setting, pointer)


def _recipients(case: Case) -> Iterator[tuple[str, str]]:
    """Everybody whom the arguments name as a recipient, one by one, also where one text names several."""
    if case.contract is None:
        return
    for pattern, argument in case.contract.arguments.items():
        if argument.role == "recipient":
            for at, given in resolve(case.proposal.args, pattern):
                for below, value in leaves(given):
                    for one in _each(value):
                        yield f"{at}{below}", one


def _each(value: object) -> Iterator[str]:
    if isinstance(value, str):
        for part in _SEVERAL.split(value):
            if part.strip():
                named = _NAMED.fullmatch(part.strip())
                yield named[1] if named else part.strip()
    elif value is not None and value not in ([], {}):
        yield str(value)


def _unread(case: Case, reviewed: Outbound, setting: str) -> Iterator[Gap]:
    if reviewed.any_text:
        return
    for pointer, text in _texts(case):
        if not any(fills(template, text) for template in reviewed.templates):
            told = "This text is none of those that a reviewer has read, with short and harmless values in its places."
            yield Gap(told, f"{setting}.templates", pointer)


def _texts(case: Case) -> Iterator[tuple[str, str]]:
    """Every text of the message: arguments of the role, and texts that the contract gives no role."""
    roles = {pattern: argument.role for pattern, argument in case.contract.arguments.items()} if case.contract else {}
    for pointer, value in leaves(case.proposal.args):
        if isinstance(value, str) and value:
            found = [role for pattern, role in roles.items() if covers(pattern, pointer)]
            if not found or "free_text" in found:
                yield pointer, value


@lru_cache(maxsize=256)
def _keys(listed: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_key(one) for one in listed)


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """How recipients are compared: an address, `@domain` or a telephone number in its one form, else as a name."""
    if text.startswith("@") and "@" not in text[1:]:
        try:
            return f"@{normalise.domain(text[1:])}"
        except ValueError:
            pass
    for kind in (normalise.email, normalise.phone):
        try:
            return kind(text)
        except ValueError:
            continue
    return normalise.words(text).removeprefix("#")


def _listed(one: str, listed: frozenset[str]) -> bool:
    key = _key(one)
    if key.startswith("@") and "." in key:
        return False  # everybody at a domain is a setting, and no recipient
    return key in listed or ("@" in key and f"@{key.rpartition('@')[2]}" in listed)


def _vouched_for(case: Case, one: str) -> bool:
    """Whether the directory knows the recipient, by address, domain or name, and trusts it by now."""
    answers = (case.facts.directory.get(key) for key in keys_of_value(one))
    return any(entry.trusted_from <= case.now for answer in answers if answer for entry in answer.entries)
