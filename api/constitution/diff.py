"""What one constitution lets happen beyond another, rule by rule, in words that a publisher reads.

Pure, and of the same mind as private.constitution_widens in the database, which is what holds: a change widens unless
it provably does not. A rule that denies or asks for a person may be added, and may ask for more; a rule that allows may
go. Whatever else changes what a rule means widens. Names and words do not.

One thing is not counted. A rule that allows and cannot be evaluated makes a person look; when it goes, so does that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from api.gate.models import Strict

Stored = Mapping[str, Any]
_ROLES = ["owner", "approver"]
#: What a rule may leave out, as it is stored.
_DEFAULTS: dict[str, Any] = {
    "applies_to": ["*"], "approvals": None, "lifts": [], "expires_at": None,
    "bounds": {"counterparties": [], "amounts": {}, "tiers": [], "workflows": []},
    "origin": {"kind": "written", "ref": ""},
}  # fmt: skip
_WORDS = ("title", "principle", "origin")
_SETS = ("applies_to", "lifts")
_BOUND_SETS = ("counterparties", "tiers", "workflows")


class FieldChange(Strict):
    """One member of a rule that is another now. widens: it may let more happen without a person."""

    field: str
    before: Any
    after: Any
    widens: bool


class RuleChange(Strict):
    """One rule that was added, removed, changed or moved.

    pointer: to the rule in the newer rules; in the older ones, of a rule that is removed. fields: of a changed rule.
    """

    kind: Literal["added", "removed", "changed", "moved"]
    rule_id: str
    title: str
    pointer: str
    widens: bool
    text: str
    fields: list[FieldChange] = Field(default=[])


def meaning(rule: Stored) -> Any:
    """What a rule means, for rules to be compared: as private.rule_meaning does, approvals left out."""
    full = _full(rule)
    bounds = full["bounds"]
    compared = {name: value for name, value in full.items() if name not in ("id", "approvals", *_WORDS)}
    compared |= {name: _set(full[name]) for name in _SETS}
    compared["bounds"] = bounds | {name: _set(bounds[name]) for name in _BOUND_SETS}
    return compared


def approvals_cover(new: Stored | None, old: Stored | None) -> bool:
    """Whether approvals ask for at least as much as others; None is what the workflow asks for anyway."""
    if old is None or new is None:
        return old is None
    roles = set(new.get("roles", _ROLES))
    return bool(
        new.get("count", 1) >= old.get("count", 1)
        and roles
        and roles <= set(old.get("roles", _ROLES))
        and (old.get("aal", "aal1") == "aal1" or new.get("aal", "aal1") == "aal2")
    )


def widens(old: Sequence[Stored], new: Sequence[Stored]) -> bool:
    """Whether the new rules may let more happen without a person: the answer of private.constitution_widens."""
    was, now = _meanings(old), _meanings(new)
    return any(_is_missing(rule, now) for rule in old) or any(_is_new_freedom(rule, was) for rule in new)


def changes(old: Sequence[Stored], new: Sequence[Stored]) -> list[RuleChange]:
    """Every difference, rule by rule, in the newer order; what was removed comes last.

    Whether a change widens is asked of all rules: one whose meaning lives on under another id widens nothing. Some
    change widens exactly when `widens` says so.
    """
    return [*_added_and_changed(old, new), *_removed(old, new)]


def _meanings(rules: Sequence[Stored]) -> list[tuple[Any, Stored | None]]:
    """The meaning and the approvals of each rule."""
    return [(meaning(rule), rule.get("approvals")) for rule in rules]


def _is_missing(rule: Stored, new: list[tuple[Any, Stored | None]]) -> bool:
    """Whether a rule that stops something is not there any more, or asks for less."""
    if rule.get("effect") == "allow":
        return False
    wanted, asks = meaning(rule), rule.get("approvals")
    any_will_do = rule.get("effect") != "require_approval"
    return not any(other == wanted and (any_will_do or approvals_cover(given, asks)) for other, given in new)


def _is_new_freedom(rule: Stored, old: list[tuple[Any, Stored | None]]) -> bool:
    """Whether a rule that may lift something was not there before."""
    if rule.get("effect") in ("deny", "require_approval"):
        return False
    wanted = meaning(rule)
    return not any(other == wanted for other, _ in old)


def _added_and_changed(old: Sequence[Stored], new: Sequence[Stored]) -> Iterator[RuleChange]:
    before = {rule["id"]: (index, rule) for index, rule in enumerate(old)}
    kept = [rule["id"] for rule in new if rule["id"] in before]
    order = [rule["id"] for rule in old if rule["id"] in set(kept)]
    known, held = _meanings(old), _meanings(new)
    for index, rule in enumerate(new):
        identity, at = rule["id"], f"/rules/{index}"
        freedom = _is_new_freedom(rule, known)
        if identity not in before:
            yield RuleChange(
                kind="added", rule_id=identity, title=rule["title"], pointer=at, widens=freedom, text=_added(rule)
            )
            continue
        was = before[identity][1]
        fields = _fields(was, rule)
        if fields:
            wider = freedom or _is_missing(was, held)
            shown = [field.model_copy(update={"widens": field.widens and wider}) for field in fields]
            yield RuleChange(
                kind="changed", rule_id=identity, title=rule["title"], pointer=at, widens=wider,
                text=f"Changes {', '.join(field.field for field in fields)}.", fields=shown,
            )  # fmt: skip
        elif kept.index(identity) != order.index(identity):
            yield RuleChange(
                kind="moved", rule_id=identity, title=rule["title"], pointer=at, widens=False,
                text="Stands at another place; the order of rules changes no verdict.",
            )  # fmt: skip


def _removed(old: Sequence[Stored], new: Sequence[Stored]) -> Iterator[RuleChange]:
    held, left = {rule["id"] for rule in new}, _meanings(new)
    for index, rule in enumerate(old):
        if rule["id"] not in held:
            yield RuleChange(
                kind="removed", rule_id=rule["id"], title=rule["title"], pointer=f"/rules/{index}",
                widens=_is_missing(rule, left), text=_gone(rule),
            )  # fmt: skip


def _fields(old: Stored, new: Stored) -> list[FieldChange]:
    was, now = _full(old), _full(new)
    names = [*now, *(name for name in was if name not in now)]
    return [
        FieldChange(
            field=name, before=was.get(name), after=now.get(name), widens=_changes_what_it_means(name, was, now)
        )
        for name in names
        if was.get(name) != now.get(name)
    ]


def _changes_what_it_means(name: str, was: Stored, now: Stored) -> bool:
    if name in _WORDS:
        return False
    if name == "approvals":
        return was["effect"] == "require_approval" and not approvals_cover(now[name], was[name])
    return bool(meaning(was).get(name) != meaning(now).get(name))


def _added(rule: Stored) -> str:
    tools = _full(rule)["applies_to"]
    where = "every tool" if tools == ["*"] else ", ".join(tools)
    if rule["effect"] == "deny":
        return f"Now refuses, of {where}, whenever it is so: {rule['when']}"
    if rule["effect"] == "require_approval":
        return f"Now asks for a person, of {where}, whenever it is so: {rule['when']}"
    lifts = ", ".join(_full(rule)["lifts"]) or "nothing"
    return f"Now lifts {lifts}, of {where}, whenever it is so: {rule['when']}"


def _gone(rule: Stored) -> str:
    verb = {"deny": "refuses", "require_approval": "asks for a person"}.get(rule["effect"], "lifts anything")
    return f"No longer {verb} whenever it is so: {rule['when']}"


def _full(rule: Stored) -> dict[str, Any]:
    """The rule with what it leaves out."""
    full = _DEFAULTS | {name: value for name, value in rule.items() if value is not None or name not in _DEFAULTS}
    return full | {"bounds": _DEFAULTS["bounds"] | full["bounds"]}


def _set(items: Sequence[Any]) -> list[str]:
    return sorted({str(item) for item in items})
