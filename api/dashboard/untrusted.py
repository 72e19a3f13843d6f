"""Text that anybody may have written, shown as text: nothing in it is markup, a link, hidden, or without an end.

What nobody sees is named (`[U+202E]`), what pushes the rest out of sight is counted (`[40 empty lines]`), passages that
read like orders are highlighted, and what is long ends in a count of what is left. Every piece is escaped by itself.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from api.dashboard import words

#: Characters that are shown at once, that are shown at all, and passages whose words are told of what is not shown.
FIRST, SHOWN, TOLD = 2000, 20_000, 5
_EXCERPT = 160
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
_MARKED = re.compile(
    f"(?P<unseen>[{_UNSEEN}])"
    "|(?P<selectors>[\ufe00-\ufe0f]{2,}+)"
    "|(?P<lines>(?:\n[ \t]*+){5,}+)"
    "|(?P<blanks>[ \t\u00a0\u2000-\u200a\u3000]{25,}+)"
    "|(?P<stacked>[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{5,}+)"
)
_NAMES = {
    0x200B: "zero-width space", 0x200C: "zero-width non-joiner", 0x200D: "zero-width joiner", 0xFEFF: "byte order mark",
    0x202A: "turns text left to right", 0x202B: "turns text right to left", 0x202C: "ends a turn of text",
    0x202D: "forces text left to right", 0x202E: "forces text right to left", 0x00AD: "soft hyphen",
    0x2060: "word joiner",    0x200E: "left-to-right mark", 0x200F: "right-to-left mark",
    0x2066: "turns text left to right",
    0x2067: "turns text right to left", 0x2068: "turns text", 0x2069: "ends a turn of text",
}  # fmt: skip


class Span(NamedTuple):
    """A passage to highlight: characters start to end (not included), and what kind it is (words: `signal`)."""

    start: int
    end: int
    kind: str


def marked(text: str) -> Markup:
    """The text, escaped, with everything unseen in it named. Takes linear time."""
    return Markup("").join(_pieces(text))


def hides(text: str) -> bool:
    """Whether something in the text is not seen where it is shown as it is, such as in a field of a form."""
    return _MARKED.search(text) is not None


def plain(text: Any, limit: int = 300) -> str:
    """The text for an attribute of an element: what nobody sees is named, and what is too long is cut."""
    held = str(text)
    named = _MARKED.sub(lambda m: f"[U+{ord(m[0][0]):04X}]", held[:limit])
    return f"{named}…" if len(held) > limit else named


def _pieces(text: str) -> Iterator[Markup]:
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    at = 0
    for found in _MARKED.finditer(text):
        yield escape(text[at : found.start()])
        yield _mark(found)
        at = found.end()
    yield escape(text[at:])


def _mark(found: re.Match[str]) -> Markup:
    held = found[0]
    if found["unseen"]:
        told, meaning = f"[U+{ord(held):04X}]", _NAMES.get(ord(held), "a character that nobody sees")
    elif found["lines"]:
        told, meaning = f"[{held.count(chr(10)) - 1} empty lines]", "left out, so that what follows is not out of sight"
    elif found["blanks"]:
        told, meaning = f"[{len(held)} spaces]", "left out, so that what follows is not out of sight"
    else:
        told, meaning = f"[{len(held)} stacked marks]", "left out, because they cover what is around them"
    mark = Markup('<span class="unseen" title="{}">{}</span>').format(meaning, told)
    return Markup("\n{}\n").format(mark) if found["lines"] else mark


def spans(passages: Iterable[Any]) -> list[Span]:
    """The passages in order and without overlaps; what lies within another one is left out.

    passages: `api.gate.models.Signal`s, mappings or tuples with start, end and kind.
    """
    kept: list[Span] = []
    for span in sorted({_span(each) for each in passages}, key=lambda s: (s.start, -s.end)):
        start = max(span.start, kept[-1].end if kept else 0)
        if start < span.end:
            kept.append(Span(start, span.end, span.kind))
    return kept


def _span(passage: Any) -> Span:
    if isinstance(passage, tuple):
        return Span(int(passage[0]), int(passage[1]), str(passage[2]) if len(passage) > 2 else "override")
    if isinstance(passage, dict):
        return Span(int(passage["start"]), int(passage["end"]), str(passage["kind"]))
    return Span(passage.start, passage.end, passage.kind)


def highlighted(text: str, passages: Iterable[Any] = (), start: int = 0, end: int | None = None) -> Markup:
    """The characters start to end of the text, marked, with the passages within them highlighted and named."""
    end = len(text) if end is None else min(end, len(text))
    parts, at = [], start
    for span in spans(passages):
        first, last = max(span.start, at), min(span.end, end)
        if first >= last:
            continue
        told = words.text("signal", span.kind)
        parts.append(marked(text[at:first]))
        parts.append(
            Markup('<mark class="passage" title="{}"><span class="visually-hidden">[Suspicious: {}] </span>{}</mark>')
            .format(told, told, marked(text[first:last]))
        )  # fmt: skip
        at = last
    parts.append(marked(text[at:end]))
    return Markup("").join(parts)


def inline(text: Any, limit: int = 120) -> Markup:
    """The beginning of a text on one line, for a list; the count of what is left says that it goes on."""
    whole = str(text)
    line = whole[:limit].replace("\n", " ⏎ ")
    left = len(whole) - limit
    more = Markup(' <span class="more">… {:,} more</span>').format(left) if left > 0 else ""
    return Markup('<bdi class="untrusted-line">{}{}</bdi>').format(marked(line), more)


def block(text: Any, passages: Iterable[Any] = (), source: str = "", more: str = "") -> Markup:
    """The text in a frame that says that it is untrusted and where it is from.

    source: such as `the body of an e-mail`. more: where the rest of what is not shown is found.
    """
    whole = str(text)
    found = [span for span in spans(passages) if span.start < len(whole)]
    parts = [_caption(source, found), _body(highlighted(whole, found, 0, FIRST))]
    if len(whole) > FIRST:
        later = [span for span in found if span.end > FIRST and span.start < SHOWN]
        parts.append(
            Markup("<details{}><summary>Show {:,} more characters{}</summary>{}</details>").format(
                Markup(" open") if later else "",
                min(len(whole), SHOWN) - FIRST,
                f" ({words.count(len(later), 'suspicious passage')})" if later else "",
                _body(highlighted(whole, found, FIRST, SHOWN)),
            )
        )
    if len(whole) > SHOWN:
        parts.append(_rest(whole, [span for span in found if span.end > SHOWN], more))
    return Markup('<figure class="untrusted">{}</figure>').format(Markup("").join(parts))


def _caption(source: str, found: list[Span]) -> Markup:
    told = [Markup('<span class="badge badge-warn">Untrusted text</span>')]
    if source:
        told.append(Markup("<span>from {}</span>").format(marked(source[:200])))
    if found:
        kinds = words.sentence(sorted({words.text("signal", span.kind).lower() for span in found}))
        told.append(
            Markup('<span class="badge badge-bad">{}</span><span>{}</span>').format(
                words.count(len(found), "suspicious passage"), kinds
            )
        )
    return Markup("<figcaption>{}</figcaption>").format(Markup(" ").join(told))


def _body(text: Markup) -> Markup:
    """What is long scrolls in its frame, which the keyboard reaches."""
    long = len(text) > 600 or text.count("\n") > 8
    reached = Markup(' tabindex="0" role="group" aria-label="Untrusted text"') if long else ""
    return Markup('<div class="untrusted-text" dir="auto" translate="no"{}>{}</div>').format(reached, text)


def _rest(text: str, beyond: list[Span], more: str) -> Markup:
    where = more or "The API and an export of the run have the whole text."
    excerpts = [
        Markup("<li><q>{}</q> ({}, at character {:,})</li>").format(
            marked(text[span.start : min(span.end, span.start + _EXCERPT)]),
            words.text("signal", span.kind),
            span.start + 1,
        )
        for span in beyond[:TOLD]
    ]
    told = Markup("<p>Suspicious further on:</p><ul>{}</ul>").format(Markup("").join(excerpts)) if excerpts else ""
    left = len(beyond) - len(excerpts)
    also = Markup("<p>And {}.</p>").format(words.count(left, "more suspicious passage")) if left > 0 else ""
    return Markup('<div class="rest"><p>… {:,} more characters. {}</p>{}{}</div>').format(
        len(text) - SHOWN, where, told, also
    )
