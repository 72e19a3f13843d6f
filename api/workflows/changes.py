"""One difference between two access specs, and the shapes that most of them have."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from api.gate.models import Strict

Kind = Literal["widened", "narrowed", "changed"]


class Change(Strict):
    """One difference: `pointer` leads to the setting in the spec; `before` and `after` are None where there is none."""

    kind: Kind
    pointer: str
    before: Any
    after: Any
    text: str


def by(more: bool, pointer: str, before: Any, after: Any, text: str) -> Change:
    return Change(kind="widened" if more else "narrowed", pointer=pointer, before=before, after=after, text=text)


def same(pointer: str, before: Any, after: Any, text: str) -> Change:
    return Change(kind="changed", pointer=pointer, before=before, after=after, text=text)


def number(at: str, what: str, old: float, new: float, *, up: bool = True, always: bool = False) -> Iterator[Change]:
    """A setting that permits more when it rises (`up`) or when it falls; `what` has a place for its value."""
    text = what.format(new)
    if old != new:
        yield by((new > old) is up, at, old, new, f"{text} instead of {old}")
    elif always:
        yield same(at, old, new, f"{text}, as before")


def members(at: str, old: Iterable[str], new: Iterable[str], what: str) -> Iterator[Change]:
    """A list of which each member permits more; `what` has a place for one."""
    was, now = dict.fromkeys(old), dict.fromkeys(new)
    for member in {**now, **was}:
        if member not in was:
            yield by(True, at, None, member, f"may now also {what.replace('{}', member)}")
        elif member not in now:
            yield by(False, at, member, None, f"may no longer {what.replace('{}', member)}")
