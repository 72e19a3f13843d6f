"""Accounts that are written as a bank's code and a number: the same keys as those of the directory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.gate import normalise
from api.gate.pointer import escape

#: Names of members that hold a bank's code, and that hold the number of an account.
_CODE = re.compile(r"routing|sort_?code|bank_?code|bsb|blz|branch|bic|swift|aba|transit", re.IGNORECASE)
_NUMBER = re.compile(r"account|number|acct", re.IGNORECASE)
_US = re.compile(r"(?:us:)?([0-9]{9})/([0-9A-Za-z -]{1,40})")
_OTHER = re.compile(r"other:([0-9A-Za-z]{1,35})/([0-9A-Za-z -]{1,40})")
#: Members of one object that are looked at; no bank asks for more.
_MOST = 40


@dataclass(frozen=True, slots=True)
class Composite:
    """One account that two members of one object name together; pointers without `/args`."""

    code: str
    number: str
    key: str


def key_of_text(text: str) -> str | None:
    """The key of `routing/account` or `other:code/account`, as the directory writes it; None for anything else."""
    if found := _US.fullmatch(text.strip()):
        return _us(found[1], found[2])
    if found := _OTHER.fullmatch(text.strip()):
        return _other(found[1], found[2])
    return None


def composites(document: Any, at: str = "") -> Iterator[Composite]:
    """Every account that an object anywhere in the document names by a bank's code and a number beside it."""
    if isinstance(document, list):
        for index, item in enumerate(document):
            yield from composites(item, f"{at}/{index}")
    elif isinstance(document, dict):
        yield from _of(document, at)
        for name, item in document.items():
            if isinstance(item, dict | list):
                yield from composites(item, f"{at}/{escape(name)}")


def _of(members: dict[str, Any], at: str) -> Iterator[Composite]:
    texts = {name: str(v) for name, v in list(members.items())[:_MOST] if type(v) in (str, int) and len(str(v)) <= 40}
    codes = [name for name in texts if _CODE.search(name)]
    if not codes:
        return
    numbers = [name for name in texts if _NUMBER.search(name) and name not in codes]
    for code in codes:
        for number in numbers:
            for key in (_us(texts[code], texts[number]), _other(texts[code], texts[number])):
                if key is not None:
                    yield Composite(f"{at}/{escape(code)}", f"{at}/{escape(number)}", key)


def _us(code: str, number: str) -> str | None:
    try:
        return f"account:us:{normalise.routing_number(code)}/{normalise.number(number)}"
    except ValueError:
        return None


def _other(code: str, number: str) -> str | None:
    plain = re.sub(r"[\s-]", "", code).upper()
    try:
        return f"account:other:{plain}/{normalise.number(number)}" if re.fullmatch(r"[0-9A-Z]{1,35}", plain) else None
    except ValueError:
        return None
