"""Cuts credentials out of everything that goes to a model, and bounds it."""

import re
from dataclasses import dataclass, field
from typing import Any

from api.gate.sensitive import credentials, names_a_secret

#: Characters of one text that go to a model.
MAX_TEXT = 30_000
#: Levels of nesting; deeper parts are left out.
_MAX_DEPTH = 24
_WHOLE = frozenset({"a private key"})


@dataclass(slots=True)
class Scrubbed:
    """What was cut, by kind and in order of being found; the values themselves are not kept."""

    cut: dict[str, int] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """The text without the lines that hold credentials; without all of it where no line can be told apart."""
        text = _bounded(text)
        kinds = credentials(text)
        if not kinds:
            return text
        self._note(kinds)
        if not _WHOLE & set(kinds):
            lines = [line for line in re.split(r"(?<=\n)", text) if not credentials(line)]
            rest = "".join(lines)
            if rest.strip() and not credentials(rest):
                return f"{rest}\n[removed: {', '.join(kinds)}]"
        return f"[removed: {', '.join(kinds)}]"

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same of a value of JSON; what a member's name calls a secret goes, whatever it looks like."""
        if isinstance(value, str):
            return self.text(value)
        if depth > _MAX_DEPTH:
            return "[left out: nested too deep]"
        if isinstance(value, dict):
            return {self.text(name): self._member(name, item, depth) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        return value

    def texts(self, value: Any) -> Any:
        """The same of a value whose members are named by us or by a schema, so that their names say nothing."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.texts(item) for name, item in value.items()}
        return [self.texts(item) for item in value] if isinstance(value, list) else value

    def _member(self, name: str, item: Any, depth: int) -> Any:
        if names_a_secret(name) and item not in (None, "", [], {}) and not isinstance(item, bool):
            self._note(["a value that its name calls secret"])
            return "[removed: a value that its name calls secret]"
        return self.value(item, depth + 1)

    def _note(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.cut[kind] = self.cut.get(kind, 0) + 1

    def __str__(self) -> str:
        return ", ".join(f"{kind} ({count})" for kind, count in self.cut.items())


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n[left out: {len(text) - MAX_TEXT} more characters]"
