"""Any JSON value as a person reads it: names in plain words, amounts as money, ids short, nothing left out unsaid."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from api.dashboard import format as formats
from api.dashboard import untrusted, words
from api.gate.models import Contract
from api.gate.pointer import escape as step
from api.gate.worth import amounts

#: Members of an object or a list that are shown at once, and at all; and leaves of one value.
FIRST, SHOWN, LEAVES = 25, 200, 1500
#: Characters of something that is copied, such as an id or an address.
COPIED = 2000
#: Characters of what a form lets people change; what is longer is not sent back whole by every browser.
EDITED = 20_000
#: Of records in a table: columns, rows, and characters of a cell.
COLUMNS, ROWS, _CELL = 8, 50, 60
_LINE = 200
_ID = re.compile(r"(?:sha256:[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_MISSING = object()


@dataclass
class _Reading:
    """What one value is shown with. trust: labels by pattern of pointer; None where nothing is said of trust."""

    trust: Mapping[str, Any] | None = None
    signals: dict[str, list[Any]] = field(default_factory=dict)
    money: dict[str, str] = field(default_factory=dict)
    left: int = LEAVES


def show(
    value: Any, labels: Mapping[str, Any] | None = None, signals: Iterable[Any] = (), contract: Contract | None = None
) -> Markup:
    """The value as nested facts.

    labels: of an observation, by pattern of pointer: each leaf says how far it is trusted, and untrusted text is shown
    as such. signals: of that observation, highlighted where they are. contract: of the tool whose arguments the value
    is: its amounts are shown as money.
    """
    reading = _Reading(trust=labels)
    for signal in signals:
        pointer = signal["pointer"] if isinstance(signal, dict) else signal.pointer
        reading.signals.setdefault(pointer, []).append(signal)
    if contract is not None and isinstance(value, dict):
        found = amounts(contract, value)
        reading.money = {a.pointer: formats.money(a.minor, a.currency) for a in found if a.minor is not None}
    return _node(value, "", reading)


def cut(shown: Markup) -> bool:
    """Whether something of the value that `show` wrote is left out of it; what is only folded is there.

    Quotation marks of texts are escaped, so no text can say this of itself.
    """
    return 'class="rest"' in shown or 'class="more"' in shown


def _node(value: Any, pointer: str, reading: _Reading) -> Markup:
    if isinstance(value, Mapping) and value:
        items = [(words.field(str(name)), str(name), item) for name, item in value.items()]
        return _members(items, pointer, reading, Markup('<dl class="facts">{}</dl>'))
    if isinstance(value, list | tuple) and value:
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            items = [("", str(n), item) for n, item in enumerate(value)]
            return _members(items, pointer, reading, Markup('<ul class="plain">{}</ul>'))
        if columns := _columns(value):
            return _table(value, columns, pointer, reading)
        items = [(str(n + 1), str(n), item) for n, item in enumerate(value)]
        return _members(items, pointer, reading, Markup('<dl class="facts numbered">{}</dl>'))
    reading.left -= 1
    return _leaf(value, pointer, reading)


def _columns(rows: Sequence[Any]) -> list[str]:
    """The columns of records that are all of one short, flat form; none when they are better told one by one."""
    first = rows[0]
    if len(rows) < 2 or not isinstance(first, Mapping) or not 1 <= len(first) <= COLUMNS:
        return []
    names = list(first)
    for row in rows:
        if not isinstance(row, Mapping) or list(row) != names:
            return []
        if any(isinstance(cell, Mapping | list | tuple) or len(str(cell)) > _CELL for cell in row.values()):
            return []
    return names


def _table(rows: Sequence[Any], columns: list[str], pointer: str, reading: _Reading) -> Markup:
    """Records side by side. Where all of them are trusted alike, that is said once."""
    shown = rows[:ROWS] if not untrusted.over() else rows[:1]
    labels = {_label(f"{pointer}/{n}/{step(c)}", reading.trust) for n in range(len(shown)) for c in columns}
    caption, told = Markup(""), reading
    if labels == {"trusted"}:
        caption = Markup("<caption>{}</caption>").format(_badge("trust", "trusted"))
        told = replace(reading, trust=None)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(untrusted.marked(words.field(c))) for c in columns)
    body = Markup("").join(_row(row, columns, f"{pointer}/{n}", told) for n, row in enumerate(shown))
    reading.left -= len(shown) * len(columns)
    rest = len(rows) - len(shown)
    more = Markup('<p class="rest">… {:,} more of {:,}. The API has them all.</p>').format(rest, len(rows))
    table = Markup('<table class="list">{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        caption, head, body
    )
    return Markup('<div class="scroll" tabindex="0">{}</div>').format(table) + (more if rest else "")


def _row(row: Mapping[str, Any], columns: list[str], pointer: str, reading: _Reading) -> Markup:
    cells = (
        Markup('<td data-label="{}">{}</td>').format(
            untrusted.plain(words.field(c)), _leaf(row[c], f"{pointer}/{step(c)}", reading)
        )
        for c in columns
    )
    shown = Markup("<tr>{}</tr>").format(Markup("").join(cells))
    untrusted.charge(len(shown))
    return shown


def _members(items: list[tuple[str, str, Any]], pointer: str, reading: _Reading, frame: Markup) -> Markup:
    at_once = [_member(*item, pointer, reading) for item in items[:FIRST] if not untrusted.over()]
    shown = frame.format(Markup("").join(at_once)) if at_once else Markup("")
    later = []
    if reading.left > 0:
        later = [_member(*item, pointer, reading) for item in items[FIRST:SHOWN] if not untrusted.over()]
    if later:
        rest = frame.format(Markup("").join(later))
        shown += Markup("<details><summary>Show {:,} more</summary>{}</details>").format(len(later), rest)
    hidden = len(items) - len(at_once) - len(later)
    if hidden > 0:
        shown += Markup('<p class="rest">… {:,} more of {:,}. The API has them all.</p>').format(hidden, len(items))
    return shown


def _member(label: str, name: str, item: Any, pointer: str, reading: _Reading) -> Markup:
    if reading.left <= 0:
        inner = Markup('<span class="rest">… not shown here: this value is too large. The API has it all.</span>')
    else:
        inner = _node(item, f"{pointer}/{step(name)}", reading)
    if not label:
        shown = Markup("<li>{}</li>").format(inner)
    else:
        # A table needs the whole width, below its name.
        place = Markup(' class="wide"') if inner.startswith('<div class="scroll"') else ""
        more = Markup(' <span class="more">…</span>') if len(name) > words.FIELD else ""
        shown = Markup('<div{}><dt title="{}">{}{}</dt><dd>{}</dd></div>').format(
            place, untrusted.plain(name), untrusted.marked(label), more, inner
        )
    untrusted.charge(len(shown) - len(inner))
    return shown


def _leaf(value: Any, pointer: str, reading: _Reading) -> Markup:
    signals = reading.signals.get(pointer, [])
    label = _label(pointer, reading.trust)
    if pointer in reading.money:
        raw = Markup(' <span class="raw">({})</span>').format(json.dumps(value))
        return Markup('<span class="money">{}</span>{}').format(reading.money[pointer], raw)
    if isinstance(value, str) and (label == "untrusted" or signals):
        if len(value) > _LINE or "\n" in value or signals:
            return untrusted.block(value, signals)
        return untrusted.inline(value, _LINE) + _badge("trust", "untrusted")
    shown = _scalar(value)
    return shown + untrusted.spent(_badge("trust", label)) if label else shown


def _scalar(value: Any) -> Markup:
    if value is None:
        return Markup('<span class="none">none</span>')
    if isinstance(value, bool):
        return Markup("yes") if value else Markup("no")
    if isinstance(value, int | float):
        return Markup('<span class="number">{}</span>').format(json.dumps(value))
    if isinstance(value, Mapping):
        return Markup('<span class="none">nothing in it</span>')
    if isinstance(value, list | tuple):
        return Markup('<span class="none">empty list</span>')
    return text(str(value))


def text(value: str) -> Markup:
    """A text that is shown as it is, unseen characters named: ids short, accounts in groups, times with their age."""
    if not value:
        return Markup('<span class="none">empty text</span>')
    if _ID.fullmatch(value):
        return copyable(value)
    if _IBAN.fullmatch(value):
        groups = (Markup("<span>{}</span>").format(value[n : n + 4]) for n in range(0, len(value), 4))
        return Markup('<code class="account-number">{}</code>').format(Markup("").join(groups))
    if _TIME.fullmatch(value) and formats.moment(value):
        return Markup('<time datetime="{}" title="{}" data-time>{}</time>').format(
            formats.iso(value), formats.absolute(value), formats.absolute(value)
        )
    if len(value) <= _LINE and "\n" not in value:
        return Markup("<bdi>{}</bdi>").format(untrusted.marked(value))
    end = untrusted.fitting(value)
    body = untrusted.highlighted(value, (), 0, min(untrusted.FIRST, end))
    shown = Markup('<div class="prose" dir="auto">{}</div>').format(body)
    if end > untrusted.FIRST:
        rest = untrusted.highlighted(value, (), untrusted.FIRST, end)
        shown += Markup(
            '<details><summary>Show {:,} more characters</summary><div class="prose" dir="auto">{}</div></details>'
        ).format(end - untrusted.FIRST, rest)
    if len(value) > end:
        shown += Markup('<p class="rest">… {:,} more characters. The API has them all.</p>').format(len(value) - end)
    return untrusted.spent(shown)


def copyable(value: Any, shown: str = "") -> Markup:
    """A long id: short to read, whole to select and to copy."""
    whole = str(value)
    brief = shown or (formats.short_digest(whole) if whole.startswith("sha256:") else formats.short(whole))
    if brief == whole:
        return Markup('<span class="copy" data-copy="{}"><code>{}</code></span>').format(
            untrusted.plain(whole, COPIED), untrusted.marked(whole, COPIED)
        )
    return Markup(
        '<span class="copy" data-copy="{}" tabindex="0"><code>{}</code><code class="copy-all">{}</code></span>'
    ).format(untrusted.plain(whole, COPIED), untrusted.marked(brief), untrusted.marked(whole, COPIED))


def _label(pointer: str, labels: Mapping[str, Any] | None) -> str:
    """The trust of a leaf. Nothing is trusted that is not labelled so."""
    if labels is None:
        return ""
    pattern = "/".join("*" if part.isdecimal() else part for part in pointer.split("/"))
    found = labels.get(pattern, {})
    return str(found.get("trust", "untrusted")) if isinstance(found, Mapping) else str(found)


def _badge(kind: str, value: str) -> Markup:
    told = words.word(kind, value)
    return Markup(' <span class="badge badge-{}" title="{}">{}</span>').format(told.tone, told.meaning, told.text)


def diff(before: Any, after: Any, heads: tuple[str, str] = ("Before", "After")) -> Markup:
    """What differs, field by field, in words and marks and not by colour alone; the count of what is the same."""
    rows: list[Markup] = []
    same = _compare(before, after, "", rows, heads)
    if not rows:
        return Markup('<p class="same">Nothing differs.</p>')
    head = Markup(
        '<thead><tr><th scope="col">Field</th><th scope="col">{}</th><th scope="col">{}</th></tr></thead>'
    ).format(*heads)
    hidden = len(rows) - SHOWN
    more = Markup('<p class="rest">… {:,} more differences.</p>').format(hidden) if hidden > 0 else ""
    alike = Markup('<p class="hint">{}</p>').format(f"{words.count(same, 'field')} the same.") if same else ""
    return Markup('<table class="diff list">{}<tbody>{}</tbody></table>{}{}').format(
        head, Markup("").join(rows[:SHOWN]), more, alike
    )


def _compare(before: Any, after: Any, pointer: str, rows: list[Markup], heads: tuple[str, str]) -> int:
    """Adds a row for each difference; how many leaves are the same."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [*before, *(name for name in after if name not in before)]
        pairs = [(str(n), before.get(n, _MISSING), after.get(n, _MISSING)) for n in names]
    elif isinstance(before, list) and isinstance(after, list):
        longest = range(max(len(before), len(after)))
        pairs = [
            (str(n), before[n] if n < len(before) else _MISSING, after[n] if n < len(after) else _MISSING)
            for n in longest
        ]
    elif type(before) is type(after) and before == after:
        return 1
    else:
        rows.append(_difference(before, after, pointer, heads))
        return 0
    return sum(_compare(old, new, f"{pointer}/{step(name)}", rows, heads) for name, old, new in pairs)


def _difference(before: Any, after: Any, pointer: str, heads: tuple[str, str]) -> Markup:
    sides = [
        Markup('<td data-label="{}"><span class="none">not there</span></td>').format(side)
        if value is _MISSING
        else Markup('<td data-label="{}"><{}>{}</{}></td>').format(side, tag, _node(value, "", _Reading()), tag)
        for side, tag, value in ((heads[0], "del", before), (heads[1], "ins", after))
    ]
    name = Markup('<th scope="row" title="{}">{}</th>').format(
        untrusted.plain(pointer), untrusted.marked(words.field(pointer or "/"))
    )
    return Markup("<tr>{}{}{}</tr>").format(name, *sides)
