"""The reasoner without a model: conditions and templates over what a run has seen. It asks no clock and no network."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from api.gate.arguments import canonical
from api.gate.cel import ExpressionError
from api.gate.pointer import resolve
from api.gate.reasoner_spec import Proposed, RulesReasoner, Suggesting
from api.runs.models import Subject
from api.runs.reasoners.conditions import condition
from api.runs.reasoners.filling import FillingError, fill, text
from api.runs.reasoners.reasoner import Ask, Suggestion, Thought

#: Items of one list; a longer one is left alone, since nobody meant a rule for it.
MAX_ITEMS = 2000
_MAX_RATIONALE = 2000
_MAX_NOTES = 20


@dataclass(slots=True)
class _Thinking:
    """What has been suggested so far, each once, and what stood in the way of more."""

    ask: Ask
    values: dict[str, Any]
    suggestions: dict[str, Suggestion] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, number: int, what: str) -> None:
        self.notes.append(f"Rule {number + 1}: {what[:300]}")

    def suggest(self, suggestion: Suggestion) -> None:
        same = json.dumps([suggestion.tool, suggestion.args], sort_keys=True, ensure_ascii=False)
        self.suggestions.setdefault(same, suggestion)


def think(spec: RulesReasoner, ask: Ask) -> Thought:
    """What the rules suggest, in their order and that of the items. Raises nothing.

    An item that a condition or template errs on is left out, and the notes say why.
    """
    thinking = _Thinking(ask, _values(ask))
    for number, rule in enumerate(spec.rules):
        _follow(thinking, number, rule)
    notes = thinking.notes[:_MAX_NOTES]
    if len(thinking.notes) > _MAX_NOTES:
        notes.append(f"And {len(thinking.notes) - _MAX_NOTES} more.")
    if not thinking.suggestions and not notes:
        notes = ["No rule's condition holds for what was observed."]
    return Thought(list(thinking.suggestions.values()), "\n".join(notes))


def _values(ask: Ask) -> dict[str, Any]:
    results = {}
    for seen in ask.observations:
        try:
            results[seen.name] = canonical(seen.result)
        except ValueError:
            continue  # a rule that reads it says that it is missing
    return {
        "observations": results,
        "subject": ask.subject or {},
        "now": ask.now,
        "today": ask.now.date().isoformat(),
    }


def _follow(thinking: _Thinking, number: int, rule: Suggesting) -> None:
    seen_before: set[str] = set()
    for place, values in _cases(thinking, number, rule):
        try:
            if not condition(rule.when).holds(values):
                continue
            if rule.once_per is not None and _again(rule.once_per, values["item"], seen_before):
                continue
            thinking.suggest(_suggestion(rule.propose, thinking.ask, values))
        except (ExpressionError, FillingError, ValueError) as error:
            thinking.note(number, f"{place}: {error}")


def _cases(thinking: _Thinking, number: int, rule: Suggesting) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the rule is tried on, each with what a person calls it."""
    if rule.for_each is None:
        yield "what was observed", thinking.values
        return
    name, pointer = rule.for_each.observation, rule.for_each.pointer
    if name not in thinking.values["observations"]:
        thinking.note(number, f"{name} was not observed.")
        return
    lists = [value for _, value in resolve(thinking.values["observations"][name], pointer)]
    if len(lists) != 1 or not isinstance(lists[0], list):
        thinking.note(number, f"{name}{pointer} is no list.")
    elif len(lists[0]) > MAX_ITEMS:
        thinking.note(number, f"{name}{pointer} has {len(lists[0])} items; a rule goes through {MAX_ITEMS} at most.")
    else:
        for index, item in enumerate(lists[0]):
            yield f"{name}{pointer}/{index}", thinking.values | {"item": item}


def _again(pointer: str, item: Any, seen_before: set[str]) -> bool:
    """Whether an item with the same value there was proposed before; without a value it is an item by itself."""
    found = [value for _, value in resolve(item, pointer)]
    if not found:
        raise FillingError(f"The item has nothing at {pointer}.")
    value = json.dumps(found[0], sort_keys=True, ensure_ascii=False)
    if value in seen_before:
        return True
    seen_before.add(value)
    return False


def _suggestion(proposed: Proposed, ask: Ask, values: dict[str, Any]) -> Suggestion:
    """Raises FillingError or ValueError when it cannot be made."""
    if proposed.tool not in ask.tools:
        raise FillingError(f"{proposed.tool} is not granted.")
    known = {rule.id for rule in ask.rules}
    citations = [rule for rule in dict.fromkeys(proposed.citations) if rule in known]
    if not citations:
        raise FillingError(f"The constitution has none of the rules that it cites: {', '.join(proposed.citations)}.")
    about = proposed.subject
    made = values | {"now": ask.now.isoformat()}
    return Suggestion(
        tool=proposed.tool,
        args=canonical(fill(proposed.args, made)),
        confidence=proposed.confidence,
        rationale=text(proposed.rationale, made)[:_MAX_RATIONALE],
        citations=citations,
        evidence=[name for name in dict.fromkeys(proposed.evidence) if name in values["observations"]],
        subject=None
        if about is None
        else Subject(
            type=text(about.type, made), id=text(about.id, made), tier=text(about.tier, made) if about.tier else None
        ),
    )
