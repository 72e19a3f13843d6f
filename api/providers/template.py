"""Fills the templates of a manifest with what an agent gave.

A template is parsed before anything is put into it, and a value is only ever put where its placeholder stands: it can
add no member, header, parameter or path segment, and it does not leave the text that it is put into.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote

from api.config import ConfigurationError
from api.gate.models import Contract
from api.gate.money import digits_of

PLACEHOLDER = re.compile(r"{(\w+)(?:\|(major|major_text|lower|text|integer))?}")
IDEMPOTENCY = ("idempotency_key", "idempotency_uuid")


class UnsendableError(ValueError):
    """The arguments make no request of this tool."""


class Absent(Enum):
    """Stands for an optional argument that was not given."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Filling:
    """What placeholders stand for: a tool's arguments, the connection's values, and the action's idempotency key.

    names: every argument that the tool has. currencies: by amount, the argument that names its currency.
    """

    args: dict[str, Any]
    names: frozenset[str] = frozenset()
    values: dict[str, str] | None = None
    idempotency_key: str | None = None
    currencies: dict[str, str] | None = None

    @classmethod
    def of(
        cls, contract: Contract, args: dict[str, Any], values: dict[str, str], idempotency_key: str | None
    ) -> "Filling":
        """What the placeholders of a contract's execution stand for."""
        currencies = {
            pointer[1:]: argument.currency[1:] for pointer, argument in contract.arguments.items() if argument.currency
        }
        names = frozenset(contract.input_schema.get("properties", {}))
        return cls(args, names, values, idempotency_key, currencies)

    def value(self, name: str, form: str = "") -> Any:
        """What a placeholder stands for, with its type; ABSENT for an optional argument that was not given."""
        given = self._given(name)
        if given is ABSENT or not form:
            return given
        if form in ("lower", "text"):
            return as_text(given).lower() if form == "lower" else as_text(given)
        if form == "integer":
            return _integer(name, given)
        major = self._major(name, given)
        return _number(major) if form == "major" else major

    def text(self, name: str, form: str = "") -> str | Absent:
        """What a placeholder stands for, as text."""
        value = self.value(name, "major_text" if form == "major" else form)
        return value if isinstance(value, Absent) else as_text(value)

    def _given(self, name: str) -> Any:
        if name in self.args:
            return self.args[name]
        if name in self.names:
            return ABSENT
        if name in IDEMPOTENCY:
            return self._key(name)
        if name not in (self.values or {}):
            raise ConfigurationError(f"The connection does not know its {name}; connect it again.")
        return (self.values or {})[name]

    def _key(self, name: str) -> str:
        found = re.fullmatch(r"cs_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", self.idempotency_key or "")
        if name == "idempotency_uuid" and found:
            return found[1]
        if name == "idempotency_uuid" or not self.idempotency_key:
            raise UnsendableError("The request needs an idempotency key.")
        return self.idempotency_key

    def _major(self, name: str, amount: Any) -> str:
        """An amount of minor units in major units, exactly: 1250 EUR is `12.50`, 500 JPY is `500`."""
        currency = self.args.get((self.currencies or {}).get(name, ""))
        if type(amount) is not int or not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
            raise UnsendableError(f"The argument {name} is no amount of a currency.")
        digits = digits_of(currency)
        whole, minor = divmod(abs(amount), 10**digits)
        return f"{'-' if amount < 0 else ''}{whole}{f'.{minor:0{digits}d}' if digits else ''}"


def _integer(name: str, value: Any) -> int:
    """An id that is kept as text, as the number that a provider takes it for."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", as_text(value)):
        raise UnsendableError(f"The value of {name} is no whole number.")
    return int(as_text(value))


def _number(text: str) -> int | float:
    """A decimal as the number of JSON that says exactly this."""
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact)
    if Decimal(repr(float(text))) != exact:
        raise UnsendableError("The amount is too large to be sent exactly.")
    return float(text)


def as_text(value: Any) -> str:
    """A scalar as it stands in a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UnsendableError("Only texts, numbers and truth values can be part of a text.")


def document(template: Any, filling: Filling) -> Any:
    """A JSON template with its values; ABSENT when nothing but absent arguments was in it."""
    if isinstance(template, str):
        whole = PLACEHOLDER.fullmatch(template)
        return filling.value(whole[1], whole[2] or "") if whole else text(template, filling)
    if isinstance(template, dict):
        members = {name: document(part, filling) for name, part in template.items()}
        given = {name: part for name, part in members.items() if part is not ABSENT}
        return given if given or not members else ABSENT
    if isinstance(template, list):
        items = [part for part in (document(item, filling) for item in template) if part is not ABSENT]
        return items if items or not template else ABSENT
    return template


def text(template: str, filling: Filling) -> str | Absent:
    """A template with its values as text; ABSENT when an argument in it was not given."""
    parts: list[str] = []
    at = 0
    for found in PLACEHOLDER.finditer(template):
        part = filling.text(found[1], found[2] or "")
        if isinstance(part, Absent):
            return ABSENT
        parts += [template[at : found.start()], part]
        at = found.end()
    return "".join([*parts, template[at:]])


def texts(template: Any, filling: Filling) -> list[str]:
    """The values of one header, parameter or field: none for an absent argument, several for a list."""
    formed = isinstance(template, str) and "|" in template
    value = text(template, filling) if formed else document(template, filling)
    if value is ABSENT:
        return []
    return [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)]


def path(template: str, filling: Filling) -> str:
    """A path with each value percent-encoded; UnsendableError for a value that would name another operation."""

    def piece(found: re.Match[str]) -> str:
        value = filling.text(found[1], found[2] or "")
        if isinstance(value, Absent) or value == "":
            raise UnsendableError(f"The argument {found[1]} cannot be part of an address.")
        return quote(value, safe="")

    filled = PLACEHOLDER.sub(piece, template)
    if any(segment in (".", "..") for segment in filled.split("/")):
        # Quoting leaves dots alone, and a client that tidies the path would call another operation.
        raise UnsendableError("An argument cannot be part of an address.")
    return filled


def strings(template: Any) -> Iterator[str]:
    """Every text in a template that values are put into."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict | list):
        for part in template.values() if isinstance(template, dict) else template:
            yield from strings(part)


def placeholders(template: Any) -> list[tuple[str, str]]:
    """Every placeholder of a template, as (name, form)."""
    return [(name, form) for part in strings(template) for name, form in PLACEHOLDER.findall(part)]
