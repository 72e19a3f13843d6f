"""Texts without the personal values and credentials in them: for logs, errors, reports of crashes and the audit."""

from typing import Any

from api.gate.detectors import KINDS, MASKS, Found, Kind, detect, masked

#: All but the addresses of pages, which are no personal data; what follows a `?` or `#` in them is taken out.
_KINDS = tuple(kind for kind in KINDS if kind != "url")
_URLS: tuple[Kind, ...] = ("url",)
_CARDS: tuple[Kind, ...] = ("card",)
_QUERY = "[QUERY]"


def redact(text: str, name: str = "") -> str:
    """The text with `[IBAN]`, `[E-MAIL]`, `[CREDENTIAL]` and the like in the place of what detectors find.

    name: the field that it is the value of, if any: it may say what a number is. Ids, amounts and times stay. What the
    queries and fragments of addresses say is left out. Linear in the length of the text, and the same for a text that
    was redacted already.
    """
    found = detect(text, name, _KINDS)
    urls = [_query(url) for url in detect(text, "", _URLS) if "?" in url.value or "#" in url.value]
    if not urls:
        return masked(text, found)
    queries = [query for query in urls if not any(f.start < query.start < f.end for f in found)]
    inside = [f for f in found if not any(query.start <= f.start < query.end for query in queries)]
    parts, at = [], 0
    for one in sorted([*inside, *queries], key=lambda f: f.start):
        parts += [text[at : one.start], _QUERY if one.kind == "url" else MASKS[one.kind]]
        at = max(at, one.end)
    return "".join([*parts, text[at:]])


def _query(url: Found) -> Found:
    """What follows the first `?` or `#` of an address."""
    at = min(place for place in (url.value.find("?"), url.value.find("#")) if place >= 0)
    return Found("url", min(url.start + at + 1, url.end), url.end, url.confidence, "")


def redacted(document: Any, name: str = "") -> Any:
    """A JSON document with every text in it, names of members too, redacted; its shape stays."""
    if isinstance(document, str):
        return redact(document, name)
    if isinstance(document, dict):
        return {redact(k) if isinstance(k, str) else k: redacted(v, f"{name}/{k}") for k, v in document.items()}
    if isinstance(document, list | tuple):
        return [redacted(item, name) for item in document]
    if isinstance(document, int) and document >= 10**12:  # of 13 digits, as the shortest number of a card
        return document if not detect(str(document), name, _CARDS) else MASKS["card"]
    return document
