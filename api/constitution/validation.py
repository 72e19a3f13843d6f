"""What is wrong with rules, and what is odd about them, rule by rule.

Pure. A fault of `broken` keeps rules from being saved whatever the tenant's tools are; `unknown_names` says which
arguments no tool takes; `warnings` are for whoever reads the draft.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, ValidationError

from api.constitution.diff import meaning
from api.gate import normalise
from api.gate.cel import ExpressionError, arguments_named, compile_expression
from api.gate.checks.constitution import MAX_RULES
from api.gate.complaint import said
from api.gate.models import Rule, Strict, unseen
from api.gate.pointer import escape

#: Characters of JSON that a whole constitution may have.
MAX_SIZE = 300_000
#: Names that a message lists at most.
_LISTED = 12

#: What a tool takes, by its name: the JSON Schema of its arguments.
Schemas = Mapping[str, Mapping[str, Any]]


class Fault(Strict):
    """What is wrong with a rule, or odd: `pointer` leads to it from the request's body, `kind` is stable."""

    rule_id: str
    pointer: str
    kind: str
    message: str = Field(max_length=2000)


def parsed(documents: Sequence[Mapping[str, Any]]) -> tuple[list[Rule | None], list[Fault]]:
    """The rules that documents are, and what keeps the others from being one."""
    rules: list[Rule | None] = []
    faults: list[Fault] = []
    for index, document in enumerate(documents):
        try:
            rules.append(Rule.model_validate(document))
        except ValidationError as error:
            rules.append(None)
            identity = str(document.get("id", ""))[:63]
            for each in error.errors()[:10]:
                at = "".join(f"/{escape(str(part))}" for part in each["loc"])[:300]
                faults.append(_fault(identity, f"/rules/{index}{at}", "invalid", said(each["msg"])[:1000]))
    return rules, faults


def broken(rules: Sequence[Rule | None]) -> Iterator[Fault]:
    """What keeps rules from being saved, whatever the tools are."""
    if len(rules) > MAX_RULES:
        yield _fault("", "/rules", "too_large", f"there are {len(rules)} rules; {MAX_RULES} is the most")
    if sum(len(rule.model_dump_json()) for rule in rules if rule) > MAX_SIZE:
        yield _fault("", "/rules", "too_large", f"all rules together have more than {MAX_SIZE:,} characters")
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule is not None:
            yield from _broken(rule, f"/rules/{index}")
            if rule.id in seen:
                yield _fault(rule.id, f"/rules/{index}/id", "duplicate_id", "two rules have the same id")
            seen.add(rule.id)


def _broken(rule: Rule, at: str) -> Iterator[Fault]:
    for name, lines in (("title", False), ("principle", True)):
        if why := unseen(getattr(rule, name), lines=lines):
            yield _fault(rule.id, f"{at}/{name}", "unseen_characters", why)
    try:
        compile_expression(rule.when)
    except ExpressionError as error:
        yield _fault(rule.id, f"{at}/when", "expression", str(error)[:1000])
    for currency, (least, most) in rule.bounds.amounts.items():
        if not 0 <= least <= most:
            where = f"{at}/bounds/amounts/{currency}"
            yield _fault(rule.id, where, "empty_bounds", "bounds are [least, most], neither below 0")


def unknown_names(rules: Sequence[Rule | None], schemas: Schemas) -> Iterator[Fault]:
    """Arguments that a rule names and none of the tools that it applies to takes.

    Of a tool that takes whatever it is given nothing is known, and of tools that are not there either.
    """
    for index, rule in enumerate(rules):
        takes = _taken(rule, schemas) if rule is not None else None
        if rule is None or takes is None:
            continue
        for name in _named(rule):
            if name not in takes:
                message = f"args has no {json.dumps(name, ensure_ascii=False)[:100]}; {_told(name, takes)}"
                yield _fault(rule.id, f"/rules/{index}/when", "unknown_argument", message)


def _told(name: str, takes: set[str]) -> str:
    """Which names there are, or the one that a name only looks like."""
    twins = (
        [] if name.isascii() else [known for known in sorted(takes) if normalise.looks(known) == normalise.looks(name)]
    )
    if twins:
        return f"it looks like {twins[0]}, and is written with other characters"
    known = ", ".join(sorted(takes)[:_LISTED]) or "nothing"
    return f"the tools take {known}" + (f" and {len(takes) - _LISTED} more" if len(takes) > _LISTED else "")


def _named(rule: Rule) -> list[str]:
    try:
        return arguments_named(rule.when)
    except ExpressionError:
        return []


def _taken(rule: Rule, schemas: Schemas) -> set[str] | None:
    """Every argument of the tools that a rule applies to; None when that is not known."""
    found = [schema for name, schema in schemas.items() if applies(rule, name)]
    if not found or any(schema.get("additionalProperties") is not False for schema in found):
        return None
    return {name for schema in found for name in schema.get("properties", {})}


def applies(rule: Rule, tool: str) -> bool:
    """Whether a rule applies to a tool."""
    return any(fnmatchcase(tool, pattern) for pattern in rule.applies_to)


def warnings(rules: Sequence[Rule | None], schemas: Schemas, now: datetime) -> Iterator[Fault]:
    """What is odd about rules that could be saved."""
    before: dict[str, str] = {}
    for index, rule in enumerate(rules):
        if rule is None:
            continue
        at = f"/rules/{index}"
        if schemas and not any(applies(rule, tool) for tool in schemas):
            yield _fault(rule.id, f"{at}/applies_to", "no_such_tool", "no tool that is known has such a name")
        if rule.expires_at is not None and rule.expires_at <= now:
            yield _fault(rule.id, f"{at}/expires_at", "expired", "this rule has expired and does nothing any more")
        if rule.effect == "allow" and not rule.lifts:
            yield _fault(rule.id, f"{at}/lifts", "lifts_nothing", "an allow that names no check lifts nothing")
        if rule.effect == "allow" and rule.lifts and not rule.bounds.model_dump(exclude_defaults=True):
            message = "this lifts checks for everybody and every amount that the expression does not leave out"
            yield _fault(rule.id, f"{at}/bounds", "unbounded", message)
        if rule.effect != "allow" and rule.lifts:
            yield _fault(rule.id, f"{at}/lifts", "lifts_nothing", "only an allow lifts checks")
        said = json.dumps([meaning(rule.model_dump(mode="json")), _asks(rule)], sort_keys=True)
        if said in before:
            message = f"rule {before[said]} says the same already"
            yield _fault(rule.id, at, "duplicate", message)
        before.setdefault(said, rule.id)
        yield from _shadowed(rule, at, rules)


def _asks(rule: Rule) -> Any:
    return rule.approvals.model_dump(mode="json") if rule.approvals and rule.effect == "require_approval" else None


def _shadowed(rule: Rule, at: str, rules: Sequence[Rule | None]) -> Iterator[Fault]:
    """A rule beside one that refuses whatever it could match changes nothing."""
    for other in rules:
        if (
            other is not None and other is not rule and other.effect == "deny" and rule.effect != "deny"
            and other.expires_at is None and other.when in ("true", rule.when)
            and ("*" in other.applies_to or set(rule.applies_to) <= set(other.applies_to))
            and not other.bounds.model_dump(exclude_defaults=True)
        ):  # fmt: skip
            message = f"rule {other.id} refuses whatever this one matches"
            yield _fault(rule.id, at, "shadowed", message)
            return


def _fault(rule_id: str, pointer: str, kind: str, message: str) -> Fault:
    return Fault(rule_id=rule_id, pointer=pointer, kind=kind, message=message)
