"""Credentials and keys, by their forms (api/gate/sensitive.py) and by the name of their field."""

from collections.abc import Iterator

from api.gate.detectors.found import Found
from api.gate.sensitive import names_a_secret, spans


def credentials(text: str, name: str) -> Iterator[Found]:
    """Every credential; the whole of a field that is called one."""
    if len(text) < 4:
        return
    last = name.rpartition("/")[2]
    if last and len(text) >= 6 and text != last and names_a_secret(last):
        yield Found("credential", 0, len(text), 1.0, text, f"a value that is called {last[:40]}")
        return
    for what, start, end in spans(text):
        yield Found("credential", start, end, 1.0, text[start:end], what)
