"""Text that anybody may have written, shown as text: nothing in it is markup, a link, hidden, or without an end.

What nobody sees is named (`[U+202E]`), what pushes the rest out of sight is counted (`[40 empty lines]`), passages that
read like orders are highlighted, and what is long ends in a count of what is left. Every piece is escaped by itself.
One page shows only so much of all such text together (`bounded`): however many long texts a tenant has, its pages load.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from api.dashboard import words

#: Characters that are shown at once, that are shown at all, and passages whose words are told of what is not shown.
FIRST, SHOWN, TOLD = 2000, 20_000, 5
#: Characters that a template writes out of a text that comes by no macro; of any text when a page has had its share.
PLAIN, LEAST, LEAST_LINE = 2000, 300, 24
#: Bytes of text from outside in one page, as written; and of one text of it.
PAGE, WEIGHT = 48_000, 40_000
#: How many marks of one text say what they mean; those after them only say which character it is.
EXPLAINED = 12
_EXCERPT = 160
#: What a frame says of what is in it.
MARK = "Untrusted text"
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
_MARKED = re.compile(
    f"(?P<unseen>(?P<one>[{_UNSEEN}])(?P=one)*+)"
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

_HIDDEN = re.compile(f"[{_UNSEEN}]")
_left: ContextVar[int | None] = ContextVar("untrusted_left", default=None)


class Span(NamedTuple):
    """A passage to highlight: characters start to end (not included), and what kind it is (words: `signal`)."""

    start: int
    end: int
    kind: str


@contextmanager
def bounded(size: int = PAGE) -> Iterator[None]:
    """Within, all texts together take about so many bytes; each keeps its beginning and says what is left out."""
    before = _left.set(size)
    try:
        yield
    finally:
        _left.reset(before)


def spent(shown: Markup) -> Markup:
    """What is written, counted in the page's share."""
    charge(len(shown.encode()))
    return shown


def charge(size: int) -> None:
    """Counts so many bytes in the page's share."""
    left = _left.get()
    if left is not None:
        _left.set(left - size)


def over() -> bool:
    """Whether the page's share is used up."""
    left = _left.get()
    return left is not None and left <= 0


def safe(value: Any) -> Any:
    """What a template writes out that comes by no macro: nothing unseen is in it, and it has an end."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    if len(value) > PLAIN:
        value = f"{value[:PLAIN]}…"
    return _HIDDEN.sub(_named, value)


def kept(value: Any) -> Markup:
    """The value of a field, which is sent back as it was: what nobody sees is in it, by its number (`&#x202E;`)."""
    return Markup(_HIDDEN.sub(_numbered, str(escape(str(value)))))  # noqa: S704 - escaped, and numbers


def _numbered(found: re.Match[str]) -> str:
    # HTML takes the numbers of control characters for others, or for none (its standard, section 13.2.5.80).
    return f"&#x{ord(found[0]):X};" if ord(found[0]) > 0x9F else found[0]


def marked(text: str, limit: int = SHOWN) -> Markup:
    """The text, escaped, with everything unseen in it named, and the count of what is left out. Linear time."""
    end = _fitting(len(text), limit, LEAST_LINE, lambda end: _marked(text[:end]))
    shown = spent(_marked(text[:end]))
    return shown + _more(len(text) - end) if end < len(text) else shown


def isolated(text: Any, limit: int = SHOWN) -> Markup:
    """The text as `marked`, apart from what is around it: letters that run to the left leave that where it is."""
    return Markup("<bdi>{}</bdi>").format(marked(str(text), limit))


def hides(text: str) -> bool:
    """Whether something in the text is not seen where it is shown as it is, such as in a field of a form."""
    return _MARKED.search(text) is not None


def plain(text: Any, limit: int = 300) -> str:
    """The text for an attribute of an element: what nobody sees is named, and what is too long is cut."""
    held = str(text)
    named = _MARKED.sub(_named, held[:limit])[: 2 * limit]
    return f"{named}…" if len(held) > limit else named


def _named(found: re.Match[str]) -> str:
    return f"[U+{ord(found[0][0]):04X}]"


def _more(count: int) -> Markup:
    return Markup(' <span class="more">… {:,} more</span>').format(count)


def fitting(text: str) -> int:
    """How many of the text's characters are shown, where it is written as a block."""
    return _fitting(len(text), SHOWN, LEAST, lambda end: _marked(text[:end]))


def _fitting(length: int, limit: int, least: int, write: Callable[[int], Markup]) -> int:
    """How many of a text's characters are shown: at most `limit`, and as few as the page has room for.

    What is written may be many times as long as the text. No text takes more than half of what a page has left.
    """
    left = _left.get()
    room = WEIGHT if left is None else min(WEIGHT, left // 2)
    end = min(length, limit)
    while end > least:
        size = len(write(end).encode())
        if size <= room:
            break
        end = max(least, min(end - 1, int(0.95 * end * max(room, 0) / size)))
    return end


def _marked(text: str) -> Markup:
    return Markup("").join(_pieces(text))


def _pieces(text: str) -> Iterator[Markup]:
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    at = 0
    for number, found in enumerate(_MARKED.finditer(text)):
        yield escape(text[at : found.start()])
        yield _mark(found, explained=number < EXPLAINED and not over())
        at = found.end()
    yield escape(text[at:])


def _mark(found: re.Match[str], *, explained: bool) -> Markup:
    held = found[0]
    if found["unseen"]:
        many = f", {len(held):,} times" if len(held) > 1 else ""
        told, meaning = f"[U+{ord(held[0]):04X}{many}]", _NAMES.get(ord(held[0]), "a character that nobody sees")
    elif found["lines"]:
        told, meaning = f"[{held.count(chr(10)) - 1} empty lines]", "left out, so that what follows is not out of sight"
    elif found["blanks"]:
        told, meaning = f"[{len(held)} spaces]", "left out, so that what follows is not out of sight"
    else:
        told, meaning = f"[{len(held)} stacked marks]", "left out, because they cover what is around them"
    mark = Markup('<span class="unseen" title="{}">{}</span>').format(meaning, told) if explained else escape(told)
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
        parts.append(_marked(text[at:first]))
        parts.append(
            Markup('<mark class="passage" title="{}"><span class="visually-hidden">[Suspicious: {}] </span>{}</mark>')
            .format(told, told, _marked(text[first:last]))
        )  # fmt: skip
        at = last
    parts.append(_marked(text[at:end]))
    return Markup("").join(parts)


def inline(text: Any, limit: int = 120) -> Markup:
    """The beginning of a text on one line, for a list; the count of what is left says that it goes on."""
    whole = str(text)
    line = whole[:limit].replace("\n", " ⏎ ")
    end = _fitting(len(line), len(line), LEAST_LINE, lambda end: _marked(line[:end]))
    left = len(whole) - min(limit, len(whole)) + len(line) - end
    more = _more(left) if left > 0 else ""
    return spent(Markup('<bdi class="untrusted-line">{}{}</bdi>').format(_marked(line[:end]), more))


def block(text: Any, passages: Iterable[Any] = (), source: str = "", more: str = "", mark: str = MARK) -> Markup:
    """The text in a frame that says that it is untrusted and where it is from.

    source: such as `the body of an e-mail`. more: where the rest of what is not shown is found. mark: what the frame
    says instead of somebody's words who answers for them here, such as a colleague's.
    """
    whole = str(text)
    found = [span for span in spans(passages) if span.start < len(whole)]
    end = _fitting(len(whole), SHOWN, LEAST, lambda end: highlighted(whole, found, 0, end))
    parts = [_caption(source, found, mark), _body(highlighted(whole, found, 0, min(FIRST, end)))]
    if end > FIRST:
        later = [span for span in found if span.end > FIRST and span.start < end]
        parts.append(
            Markup("<details{}><summary>Show {:,} more characters{}</summary>{}</details>").format(
                Markup(" open") if later else "",
                end - FIRST,
                f" ({words.count(len(later), 'suspicious passage')})" if later else "",
                _body(highlighted(whole, found, FIRST, end)),
            )
        )
    if len(whole) > end:
        parts.append(_rest(whole, end, [span for span in found if span.end > end], more))
    kind = "untrusted" if mark == MARK else "untrusted said"
    return spent(Markup('<figure class="{}">{}</figure>').format(kind, Markup("").join(parts)))


def _caption(source: str, found: list[Span], mark: str) -> Markup:
    tone = "warn" if mark == MARK else "neutral"
    told = [Markup('<span class="badge badge-{}">{}</span>').format(tone, mark)]
    if source:
        told.append(Markup("<span>from {}</span>").format(_marked(source[:1].lower() + source[1:200])))
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


def _rest(text: str, end: int, beyond: list[Span], more: str) -> Markup:
    where = more or "The API and an export of the run have the whole text."
    excerpts = [
        Markup("<li><q>{}</q> ({}, at character {:,})</li>").format(
            _marked(text[span.start : min(span.end, span.start + _EXCERPT)]),
            words.text("signal", span.kind),
            span.start + 1,
        )
        for span in beyond[:TOLD]
    ]
    told = Markup("<p>Suspicious further on:</p><ul>{}</ul>").format(Markup("").join(excerpts)) if excerpts else ""
    left = len(beyond) - len(excerpts)
    also = Markup("<p>And {}.</p>").format(words.count(left, "more suspicious passage")) if left > 0 else ""
    return Markup('<div class="rest"><p>… {:,} more characters. {}</p>{}{}</div>').format(
        len(text) - end, where, told, also
    )
