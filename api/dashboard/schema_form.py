"""A form made from a tool's JSON Schema, and the arguments that come back from it.

Both sides ask `kind_of` what a field is, so that what is shown is what is read. A field is named `args` and the JSON
pointer to its value, such as `args/to_iban`; an empty field leaves its value out. Whether the arguments are right is
for the gate to say, which checks the whole of them against the contract again.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from api.dashboard import format as formats
from api.dashboard import words
from api.gate.models import Argument, Contract
from api.gate.money import digits_of
from api.gate.pointer import covers
from api.gate.pointer import escape as step

PREFIX = "args"
Kind = Literal[
    "object", "rows", "lines", "choice", "yes_no", "money", "whole", "number", "date", "text", "prose", "json"
]
MOST_ROWS, DEPTH = 100, 8
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
#: What a field of a form would lose or change on its way: it is asked for as JSON.
_LOST = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
#: Before the name of an amount's field: whether the number in it counts `major` units, or `minor` ones.
UNIT = "-unit"
_MISSING: Any = object()


@dataclass(frozen=True)
class Field:
    """One field as the template shows it. was: what it said before it was changed, else None. unit: of an amount."""

    name: str
    pointer: str
    label: str
    kind: Kind
    value: str = ""
    required: bool = False
    hint: str = ""
    error: str = ""
    was: str | None = None
    options: list[tuple[str, str]] = field(default_factory=list)
    children: list["Field"] = field(default_factory=list)
    max_length: int | None = None
    unit: str = ""


@dataclass(frozen=True)
class _Form:
    root: Mapping[str, Any]
    contract: Contract | None
    errors: Mapping[str, str]
    args: Any

    def argument(self, pointer: str) -> Argument | None:
        found = self.contract.arguments.items() if self.contract else ()
        return next((argument for pattern, argument in found if covers(pattern, pointer)), None)

    def currency(self, pointer: str) -> str | None:
        """The currency of an amount, where it is named."""
        argument = self.argument(pointer)
        if argument is None or argument.role != "amount":
            return None
        found = argument.fixed_currency or (_at(self.args, argument.currency) if argument.currency else None)
        return found if isinstance(found, str) and re.fullmatch("[A-Z]{3}", found) else None


def fields(
    schema: Mapping[str, Any],
    value: Any,
    errors: Iterable[Mapping[str, Any]] = (),
    before: Any = None,
    contract: Contract | None = None,
) -> list[Field]:
    """The fields of the arguments `value`, in the schema's order.

    errors: of a Problem, each with `pointer` and `message`. before: the arguments as they were, to mark what differs.
    """  # fmt: skip
    told = {str(each.get("pointer", "")).removeprefix("/args"): str(each.get("message", "")) for each in errors}
    form = _Form(schema, contract, told, value)
    whole = _field(form, schema, value, _MISSING if before is None else before, "", True, 0)
    return whole.children if whole.kind == "object" else [whole]


def kind_of(
    form_schema: Mapping[str, Any], schema: Mapping[str, Any], before: Any, argument: Argument | None, depth: int
) -> Kind:
    """What a value is asked for with: by its schema, and by the value that it has."""
    kind = schema.get("type")
    if depth >= DEPTH or not isinstance(kind, str | None):
        return "json"
    if isinstance(schema.get("enum"), list):
        return "choice"
    if kind == "object" and isinstance(schema.get("properties"), Mapping) and isinstance(before, Mapping | None):
        return "object"
    if kind == "array" and isinstance(before, list | None):
        item = _resolved(form_schema, schema.get("items"))
        if item.get("type") == "object" and isinstance(item.get("properties"), Mapping):
            return "rows"
        plain = item.get("type") == "string" and not any("\n" in str(each) or not each for each in before or [])
        return "lines" if plain else "json"
    if kind == "boolean":
        return "yes_no"
    if kind in ("integer", "number"):
        return (
            "money"
            if argument is not None and argument.role == "amount"
            else "whole"
            if kind == "integer"
            else "number"
        )
    if kind == "string" and isinstance(before, str | None):
        return _text_kind(schema, before)
    return "json"


def _text_kind(schema: Mapping[str, Any], before: str | None) -> Kind:
    if _LOST.search(before or ""):
        return "json"
    dated = schema.get("format") == "date" or str(schema.get("pattern", "")).startswith(
        ("^20[0-9]{2}-", "^[0-9]{4}-[0-9]{2}-")
    )
    if dated and (not before or _DATE.fullmatch(before)):
        return "date"
    longest = schema.get("maxLength")
    long = isinstance(longest, int) and longest > 300
    return "prose" if "\n" in (before or "") or len(before or "") > 120 or long else "text"


def _resolved(root: Mapping[str, Any], schema: Any, depth: int = 0) -> Mapping[str, Any]:
    """The schema that a local `$ref` points to."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or depth >= DEPTH:
        return schema
    return _resolved(root, _at(root, reference.removeprefix("#")), depth + 1)


def _at(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            document = document[int(name)] if name.isdecimal() and int(name) < len(document) else None
        else:
            document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _field(form: _Form, schema: Any, value: Any, before: Any, pointer: str, required: bool, depth: int) -> Field:
    schema = _resolved(form.root, schema)
    known = value if before is _MISSING else before
    argument = form.argument(pointer)
    kind = kind_of(form.root, schema, None if known is _MISSING else known, argument, depth)
    currency = form.currency(pointer) if kind == "money" else None
    label = str(schema.get("title") or words.field(pointer.rpartition("/")[2] or "arguments"))
    changed = before is not _MISSING and value != before
    shown: dict[str, Any] = {}
    if kind == "object":
        shown["children"] = _children(form, schema, value, before, pointer, depth)
    elif kind == "rows":
        shown["children"] = _rows(form, schema, value, before, pointer, depth)
    elif kind == "choice":
        shown["options"] = [(_said(each, "choice", argument, None), _option(each)) for each in schema["enum"]]
    elif kind == "yes_no":
        shown["options"] = [("true", "Yes"), ("false", "No")]
    return Field(
        name=f"{PREFIX}{pointer}",
        pointer=pointer,
        label=f"{label} ({currency})" if currency else label,
        kind=kind,
        value=_said(value, kind, argument, currency),
        required=required,
        hint=_hint(schema, kind, currency),
        error=form.errors.get(pointer, ""),
        was=(_said(before, kind, argument, currency) or "nothing")
        if changed and kind not in ("object", "rows")
        else None,
        max_length=schema.get("maxLength") if isinstance(schema.get("maxLength"), int) else None,
        unit=("major" if currency or (argument and argument.unit == "major") else "minor") if kind == "money" else "",
        **shown,
    )


def _children(form: _Form, schema: Mapping[str, Any], value: Any, before: Any, pointer: str, depth: int) -> list[Field]:
    needed = schema.get("required", [])
    return [
        _field(
            form,
            each,
            _member(value, name),
            _member(before, name),
            f"{pointer}/{step(name)}",
            name in needed,
            depth + 1,
        )
        for name, each in schema["properties"].items()
    ]


def _rows(form: _Form, schema: Mapping[str, Any], value: Any, before: Any, pointer: str, depth: int) -> list[Field]:
    """The items of a list of objects, and an empty one to add another, whose fields may be left empty."""
    items = value if isinstance(value, list) else []
    most = schema.get("maxItems", MOST_ROWS)
    count = min(len(items) + 1, most if isinstance(most, int) else MOST_ROWS, MOST_ROWS)
    rows = []
    for n in range(max(count, len(items))):
        old = _MISSING if before is _MISSING else before[n] if isinstance(before, list) and n < len(before) else None
        one = _field(
            form,
            schema["items"],
            items[n] if n < len(items) else None,
            old,
            f"{pointer}/{n}",
            n < len(items),
            depth + 1,
        )
        rows.append(replace(one, label=str(n + 1) if n < len(items) else "Another one"))
    return rows


def _member(document: Any, name: str) -> Any:
    if document is _MISSING:
        return _MISSING
    return document.get(name) if isinstance(document, Mapping) else None


def _option(value: Any) -> str:
    return words.field(value) if isinstance(value, str) and value.islower() else _said(value, "choice", None, None)


def _said(value: Any, kind: Kind, argument: Argument | None, currency: str | None) -> str:
    """A value as its field holds it."""
    if value is None or value is _MISSING or kind in ("object", "rows"):
        return ""
    if kind == "lines" and isinstance(value, list):
        return "\n".join(str(each) for each in value)
    if kind == "money" and isinstance(value, int) and argument and argument.unit == "minor" and currency:
        return f"{Decimal(value).scaleb(-digits_of(currency)):f}"
    if isinstance(value, str) and kind != "json":
        return value
    told = json.dumps(value, ensure_ascii=False)
    return told if told.isprintable() else json.dumps(value)


def _hint(schema: Mapping[str, Any], kind: Kind, currency: str | None) -> str:
    told = [str(schema["description"])] if schema.get("description") else []
    if kind == "lines":
        told.append("One in each line.")
    elif kind == "json":
        told.append("As JSON.")
    elif kind == "money" and currency:
        told.append(f"In {currency}, such as {formats.money(129900, currency).rpartition(' ')[0].replace(',', '')}.")
    elif kind == "money":
        told.append("In the smallest unit of its currency, such as cents.")
    return " ".join(told)


def taken(
    schema: Mapping[str, Any], sent: Mapping[str, list[str]], before: Any, contract: Contract | None = None
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The arguments of a form, and what cannot be read of it (`pointer`, `message`), which is then left out.

    sent: the fields whose names begin with `args`, without that beginning (Form.starting). before: the arguments that
    the form was made of; what the schema has no field for stays as it was.
    """
    errors: list[dict[str, str]] = []
    currencies = {pointer: values[-1].strip() for pointer, values in sent.items()}
    whole = _read(_Reader(schema, contract, sent, currencies, errors), schema, before, "", 0)
    return (whole if isinstance(whole, dict) else {}), errors


@dataclass(frozen=True)
class _Reader:
    root: Mapping[str, Any]
    contract: Contract | None
    sent: Mapping[str, list[str]]
    said: Mapping[str, str]
    errors: list[dict[str, str]]

    def argument(self, pointer: str) -> Argument | None:
        return _Form(self.root, self.contract, {}, None).argument(pointer)


def _read(reader: _Reader, schema: Any, before: Any, pointer: str, depth: int) -> Any:
    schema = _resolved(reader.root, schema)
    argument = reader.argument(pointer)
    kind = kind_of(reader.root, schema, before, argument, depth)
    if kind == "object":
        return _read_object(reader, schema, before, pointer, depth)
    if kind == "rows":
        rows = {name[len(pointer) + 1 :].split("/")[0] for name in reader.sent if name.startswith(f"{pointer}/")}
        numbers = sorted(int(row) for row in rows if row.isdecimal() and int(row) <= MOST_ROWS)
        known = before if isinstance(before, list) else []
        read = [
            _read(reader, schema["items"], known[n] if n < len(known) else None, f"{pointer}/{n}", depth + 1)
            for n in numbers
        ]
        items = [each for each in read if each not in (None, _MISSING, {})]
        return items if items or isinstance(before, list) else _MISSING
    raw = reader.sent.get(pointer, [""])[-1]
    if not raw.strip():
        return before if before in ("", []) and before is not None else _MISSING
    try:
        return _value(reader, schema, kind, raw, argument, pointer)
    except (ValueError, InvalidOperation, RecursionError) as error:
        told = str(error) if type(error) is ValueError else "This cannot be read."
        reader.errors.append({"pointer": f"/args{pointer}", "message": told})
        return _MISSING


def _read_object(reader: _Reader, schema: Mapping[str, Any], before: Any, pointer: str, depth: int) -> Any:
    known = before if isinstance(before, Mapping) else {}
    found = {}
    for name, each in schema["properties"].items():
        value = _read(reader, each, known.get(name), f"{pointer}/{step(name)}", depth + 1)
        if value is not _MISSING:
            found[name] = value
    # What the schema has no field for was there before and is not this form's to drop.
    found |= {name: value for name, value in known.items() if name not in schema["properties"]}
    return found if found or isinstance(before, Mapping) else _MISSING


def _value(
    reader: _Reader, schema: Mapping[str, Any], kind: Kind, raw: str, argument: Argument | None, pointer: str
) -> Any:
    if kind in ("text", "prose", "date"):
        return raw
    if kind == "choice":
        return next((each for each in schema["enum"] if _said(each, "choice", None, None) == raw), raw)
    if kind == "yes_no":
        return {"true": True, "false": False}.get(raw, raw)
    if kind == "lines":
        return [line for line in raw.split("\n") if line.strip()]
    if kind == "json":
        return _json(raw)
    if kind == "money" and argument is not None:
        return _money(reader, raw, argument, reader.said.get(f"{UNIT}{pointer}", "major"))
    return _number(raw, whole=kind == "whole")


def _json(raw: str) -> Any:
    try:
        return json.loads(raw, parse_constant=lambda name: _refuse(f"{name} is no JSON."))
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {error.msg}, line {error.lineno}.") from None


def _refuse(message: str) -> Any:
    raise ValueError(message)


def _decimal(raw: str) -> Decimal:
    text = raw.strip().replace(" ", "")
    if not re.fullmatch(r"-?\d{1,18}(?:\.\d{1,12})?", text, re.ASCII):
        raise ValueError("Write a number with a point before its decimals and no other signs, such as 1299.00.")
    return Decimal(text)


def _number(raw: str, *, whole: bool) -> int | float:
    number = _decimal(raw)
    if number == number.to_integral_value():
        return int(number)
    if whole:
        raise ValueError("Write a whole number.")
    return float(number)


def _money(reader: _Reader, raw: str, argument: Argument, unit: str) -> int | float:
    """The unit is that of the field as it was shown: a currency that is corrected does not change what it counts."""
    if argument.unit == "major":
        return _number(raw, whole=False)
    if unit == "minor":
        return _number(raw, whole=True)
    currency = argument.fixed_currency or reader.said.get(argument.currency or "", "")
    if not re.fullmatch("[A-Z]{3}", currency):
        raise ValueError("Name the currency with three capital letters, such as EUR.")
    minor = _decimal(raw).scaleb(digits_of(currency))
    if minor != minor.to_integral_value():
        raise ValueError(f"{currency} has {digits_of(currency)} decimals.")
    return int(minor)
