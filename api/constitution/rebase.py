"""A draft that another version overtook: what it changed, on top of what is in force. Three versions, rule by rule.

Pure. A rule that only one side changed is as that side has it; what both changed to the same is that; what both changed
differently is a conflict, which its author decides. Nothing is merged within a rule: its parts mean something together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from api.constitution import diff
from api.errors import Problem
from api.gate.models import Rule

Stored = Mapping[str, Any]
Side = Literal["mine", "theirs"]


class Conflict(BaseModel):
    """A rule that the draft and a version since have both changed. null: it is not there.

    base: as the draft was written against. mine: as the draft has it. theirs: as it is in force.
    """

    rule_id: str
    base: Rule | None
    mine: Rule | None
    theirs: Rule | None


def merged(
    base: Sequence[Stored], mine: Sequence[Stored], theirs: Sequence[Stored], keep: Mapping[str, Side]
) -> tuple[list[Stored], list[dict[str, Any]]]:
    """The rules in force with what the draft changed, and every conflict, in the order of the rules.

    keep: whose a rule is that is in conflict; without a word of it, theirs. Rules are in the order in force, and what
    the draft adds comes last.
    """
    was, own, now = _by_id(base), _by_id(mine), _by_id(theirs)
    rules: list[Stored] = []
    conflicts: list[dict[str, Any]] = []
    for name in [*now, *(name for name in own if name not in now), *(n for n in was if n not in now and n not in own)]:
        before, ours, others = was.get(name), own.get(name), now.get(name)
        chosen = ours if others == before else others
        if before != ours != others != before:
            conflicts.append({"rule_id": name, "base": before, "mine": ours, "theirs": others})
            chosen = ours if keep.get(name) == "mine" else others
        if chosen is not None:
            rules.append(chosen)
    return rules, conflicts


def preview(base: Stored, mine: Sequence[Stored], now: Stored, keep: Mapping[str, Side]) -> dict[str, Any]:
    """A draft on top of the version in force, as the API shows it (`Rebase`). base, now: versions with their rules."""
    rules, conflicts = merged(base["rules"], mine, now["rules"], keep)
    return {
        "overtaken": base["version"] != now["version"],
        "from_version": base["version"],
        "to_version": now["version"],
        "since": diff.changes(base["rules"], now["rules"]),
        "widens": diff.widens(now["rules"], rules),
        "changes": diff.changes(now["rules"], rules),
        "conflicts": conflicts,
        "rules": rules,
    }


def require_decided(
    draft: Mapping[str, Any], told: Mapping[str, Any], version: int, keep: Mapping[str, Side], person: str
) -> None:
    """Raises a Problem unless the person may write the draft anew on what was looked at, with every conflict decided.

    403 `not_the_author`; 409 `already_decided`, `not_overtaken`, `conflicts`; 412 when another version is in force than
    the one that was looked at.
    """
    if str(draft["author"]) != person:
        raise Problem(403, "not_the_author", "Only its author brings a draft up to what is in force.")
    if draft["status"] not in ("draft", "in_review"):
        raise Problem(409, "already_decided", f"This draft is {draft['status']} already.")
    if not told["overtaken"]:
        raise Problem(409, "not_overtaken", "No version was published since this draft was written: it is up to date.")
    if version != told["to_version"]:
        raise Problem(412, "version_moved", f"Version {told['to_version']} is in force by now; look at it again.")
    left = [each["rule_id"] for each in told["conflicts"] if each["rule_id"] not in keep]
    if left:
        errors = [{"pointer": f"/keep/{name}", "message": "Both changed it: keep mine, or theirs."} for name in left]
        raise Problem(409, "conflicts", "The draft and the version in force have changed the same rules.", errors)


def _by_id(rules: Sequence[Stored]) -> dict[str, Stored]:
    return {str(rule["id"]): rule for rule in rules}
