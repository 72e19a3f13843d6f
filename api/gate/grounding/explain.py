"""What a reviewer reads of a value that is not grounded: which, where it was found, and what would ground it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.gate import normalise
from api.gate.contracts import ArgumentRole
from api.gate.grounding.match import ALLOWED, CHOSEN, NAMES, Sought, in_directory

if TYPE_CHECKING:
    from api.gate.case import Case
    from api.gate.grounding.sources import Sources

_WHAT: dict[ArgumentRole, str] = {
    "recipient": "recipient", "account": "account", "amount": "amount", "quantity": "number", "url": "link",
    "object_id": "object", "setting": "setting", "free_text": "text",
}  # fmt: skip
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Miss:
    """What is not grounded: the pointer, with `/args`, and the whole message."""

    pointer: str | None
    message: str


def miss(
    case: Case, sources: Sources, pointer: str, role: ArgumentRole, want: Sought, value: Any, disguised: bool
) -> Miss:
    what = f"The {_WHAT[role]} {shown(value)}"
    if disguised:
        told = f"{what} is hidden in the text: it shows only when an encoding is undone. What hides is never grounded."
        return Miss(pointer, told)
    _, later, alike = in_directory(case.facts.directory, want, case.now)
    passed_over = sources.trusted(want.keys) if role in CHOSEN else None
    if passed_over:
        told = f"{what} stands in {passed_over}, but the instruction names another record of that kind, and not this."
        return Miss(pointer, f"{told} It would count if the instruction named it.")
    seen = sources.untrusted(str(value))
    told = f"{what} is in no source that counts"
    told += f"; it stands in {seen}, which anybody may have written." if seen else "; it was read nowhere in this run."
    if later is not None and "directory" in ALLOWED[role]:
        told += f" The directory counts it from {later:%Y-%m-%d %H:%M} UTC on; until then it cools off."
    looks_like = alike[0] if alike else _look_alike(sources, want)
    if looks_like:
        told += f" It looks like {shown(looks_like)}, and is not the same."
    names = [NAMES[source] for source in ALLOWED[role]]
    return Miss(pointer, f"{told} It would count in {_or(names)}.")


def _look_alike(sources: Sources, want: Sought) -> str | None:
    kind = want.keys[0].partition(":")[0]
    if kind in ("email", "domain", "url"):
        domain = next((key.removeprefix("domain:") for key in want.directory if key.startswith("domain:")), "")
        found = sources.skeletons.get(normalise.looks_of_domain(domain)) if domain else None
        return found if found != domain else None
    text = normalise.words(want.text)
    if want.role != "recipient" or len(text) > 100:
        return None
    found = sources.skeletons.get(normalise.looks(text))
    return found if found != text else None


def shown(value: Any) -> str:
    """A value as a message quotes it: short, and with what nobody sees spelled out."""
    text = str(value)
    cut = f"{text[: _SHOWN - 1]}…" if len(text) > _SHOWN else text
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in cut)


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
