"""Reads suggestions out of a model's answer. It is untrusted: what does not fit is told to the model in words."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from api.gate.arguments import canonical
from api.gate.checks.contract import violations
from api.gate.complaint import said
from api.gate.models import Contract
from api.gate.pointer import resolve
from api.gate.pseudonyms import is_token
from api.runs.reasoners.conversation import NOTHING, Tool
from api.runs.reasoners.reasoner import Ask, Suggestion
from api.runs.reasoners.reply import Reply, ToolUse

#: Suggestions of one answer; nobody looks through more.
MAX_SUGGESTIONS = 100
_MAX_NOTES = 2000
_MAX_COMPLAINTS = 10
_MEMBERS = frozenset({"args", "confidence", "rationale", "citations", "evidence", "subject"})
USE_A_TOOL = f"Answer by calling a tool only: one for each action to propose, or {NOTHING}."


@dataclass(slots=True)
class Judged:
    """What an answer comes to: it is taken as a whole or not at all.

    complaints: what is wrong, by the id of the use. general: what is wrong with the answer itself.
    """

    suggestions: dict[str, Suggestion] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complaints: dict[str, str] = field(default_factory=dict)
    general: str = ""

    @property
    def valid(self) -> bool:
        return not self.complaints and not self.general

    def __str__(self) -> str:
        """Where it is wrong, without anything that the model wrote there: this is kept in the clear."""
        if self.general:
            return self.general
        lines = [line for complaint in self.complaints.values() for line in complaint.splitlines()]
        found = {line.partition(": ")[0][:100] for line in lines if line.startswith("/")}
        # Names of members are the model's: no column keeps each of their characters.
        places = sorted("".join(one if one.isprintable() else "?" for one in place) for place in found)
        return f"It does not fit at {', '.join(places[:10])}." if places else "It calls a tool in a way that is none."


def judge(reply: Reply, tools: dict[str, Tool], ask: Ask) -> Judged:
    """The suggestions of an answer, each once, or what is wrong with it."""
    judged = Judged()
    if not reply.uses:
        judged.general = USE_A_TOOL
    elif len(reply.uses) > MAX_SUGGESTIONS:
        judged.general = f"Propose {MAX_SUGGESTIONS} actions at most."
    elif len({use.id for use in reply.uses}) != len(reply.uses):
        judged.general = "Each call of a tool has an id of its own."
    else:
        for use in reply.uses:
            _one(judged, use, tools, ask)
    return judged


def _one(judged: Judged, use: ToolUse, tools: dict[str, Tool], ask: Ask) -> None:
    tool = tools.get(use.name)
    if tool is None:
        judged.complaints[use.id] = f"There is no tool of this name. {USE_A_TOOL}"
    elif use.input is None:
        judged.complaints[use.id] = "What the tool was given is not a JSON object."
    elif tool.contract is None:
        judged.notes.append(str(use.input.get("notes", ""))[:_MAX_NOTES])
    else:
        wrong = list(_wrong(use.input, tool.contract, ask))[:_MAX_COMPLAINTS]
        if wrong:
            judged.complaints[use.id] = "\n".join(wrong)
            return
        try:
            suggestion = Suggestion.model_validate({"tool": tool.contract.name} | use.input)
            suggestion = suggestion.model_copy(update={"args": canonical(suggestion.args)})
        except ValidationError as error:
            judged.complaints[use.id] = "\n".join(_placed(one) for one in error.errors()[:_MAX_COMPLAINTS])
        except ValueError as error:
            judged.complaints[use.id] = f"/args: {error}"
        else:
            same = json.dumps([suggestion.tool, suggestion.args], sort_keys=True, ensure_ascii=False)
            judged.suggestions.setdefault(same, suggestion)


def _placed(error: Any) -> str:
    return f"{''.join(f'/{part}' for part in error['loc'])[:200]}: {said(error['msg'])[:200]}"


def _wrong(given: dict[str, Any], contract: Contract, ask: Ask) -> Iterator[str]:
    if unknown := sorted(set(given) - _MEMBERS):
        yield f"There is no {', '.join(name[:50] for name in unknown[:5])}."
    args = given.get("args")
    if not isinstance(args, dict):
        yield "/args: give the tool's arguments as a JSON object."
    else:
        yield from (
            f"{found.pointer}: {found.message[:300]}"
            for found in violations(contract, args)
            if not _stands_for_a_value(given, found.pointer)
        )
    yield from _unknown("citations", given.get("citations"), {rule.id for rule in ask.rules}, "rule", least=1)
    yield from _unknown("evidence", given.get("evidence", []), {seen.name for seen in ask.observations}, "observation")


def _stands_for_a_value(given: dict[str, Any], pointer: str | None) -> bool:
    """Whether a token stands there: the gate, which alone knows its value, holds that against the schema."""
    return pointer is not None and any(is_token(value) for _, value in resolve(given, pointer))


def _unknown(member: str, named: Any, known: set[str], what: str, *, least: int = 0) -> Iterator[str]:
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        yield f"/{member}: give a list of texts."
        return
    if len(named) < least:
        yield f"/{member}: name at least one {what} that you were given."
    for name in named:
        if name not in known:
            yield f"/{member}: there is no {what} {name[:60]!r}."
