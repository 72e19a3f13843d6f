"""What became of decisions: when today's code makes them again, and under another constitution. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from api.gate.models import ConstitutionFacts, Decision, Finding, Outcome
from api.replay.models import Difference, Flip, NotReplayed, Report, Totals
from api.replay.stored import Human, NotReplayable, Stored

#: Decisions of each kind that are named one by one; the others are counted.
NAMED = 2000


@dataclass(frozen=True, slots=True)
class Candidate:
    """The constitutions to compare. rules None: what was recorded is compared with the one in force.

    in_force None: with each decision's own.
    """

    in_force: ConstitutionFacts | None
    rules: ConstitutionFacts | None = None


@dataclass
class Tally:
    """Counts decisions one by one; `report` says what they come to."""

    candidate: Candidate
    examined: int = 0
    outcomes: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("recorded", "replayed", "in_force", "candidate")}
    )
    differences: list[Difference] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    obstacles: Counter[str] = field(default_factory=Counter)

    def add(self, found: Stored | NotReplayable) -> None:
        """Makes one decision again, two or three times."""
        self.examined += 1
        if isinstance(found, NotReplayable):
            self.obstacles[found.obstacle] += 1
            return
        replayed = found.again()
        if difference := differences_of(found, replayed):
            self.differences.append(difference)
        in_force = _under(found, replayed, self.candidate.in_force)
        after = in_force if self.candidate.rules is None else _under(found, replayed, self.candidate.rules)
        before = found.decision if self.candidate.rules is None else in_force
        for name, decision in (("recorded", found.decision), ("replayed", replayed), ("in_force", in_force),
                               ("candidate", after)):  # fmt: skip
            self.outcomes[name][decision.outcome.value] += 1
        if before.outcome is not after.outcome:
            self.flips.append(_flip(found, before, after))

    def report(self, next_cursor: str | None) -> Report:
        contradictions = [flip for flip in self.flips if flip.contradicts]
        return Report(
            examined=self.examined,
            not_replayable=[NotReplayed(why=why, count=count) for why, count in sorted(self.obstacles.items())],
            outcomes={name: Totals(**counted) for name, counted in self.outcomes.items()},
            flips_to=Totals(**Counter(flip.after.value for flip in self.flips)),
            flips=self.flips[:NAMED],
            contradictions=contradictions[:NAMED],
            differences=self.differences[:NAMED],
            complete=next_cursor is None,
            next_cursor=next_cursor,
        )


def _under(found: Stored, replayed: Decision, constitution: ConstitutionFacts | None) -> Decision:
    same = constitution is None or constitution == found.facts.constitution
    return replayed if same else found.again(constitution)


def _flip(found: Stored, before: Decision, after: Decision) -> Flip:
    return Flip(
        decision_id=found.id,
        action_id=found.action_id,
        tool=found.proposal.tool,
        recorded=found.decision.outcome,
        before=before.outcome,
        after=after.outcome,
        human=found.human,
        contradicts=contradicts(after.outcome, found.human),
        rules=[rule for rule in after.rules_matched if rule not in before.rules_matched],
    )


def contradicts(after: Outcome, human: Human | None) -> bool:
    """Whether what would happen now is what a person decided against; to correct a payload is not to let it pass."""
    return (after is Outcome.ALLOW and human in ("rejected", "edited")) or (
        after is Outcome.DENY and human == "approved"
    )


def differences_of(found: Stored, replayed: Decision) -> Difference | None:
    """In what the decision that today's code makes differs from the one recorded; None when no byte does."""
    if replayed.model_dump_json() == found.decision.model_dump_json():
        return None
    return Difference(
        decision_id=found.id,
        action_id=found.action_id,
        tool=found.proposal.tool,
        recorded=found.decision.outcome,
        replayed=replayed.outcome,
        findings=list(_changed(found.decision.findings, replayed.findings)),
        members=[
            name
            for name in Decision.model_fields
            if name != "findings" and getattr(found.decision, name) != getattr(replayed, name)
        ],
    )


def _changed(was: list[Finding], now: list[Finding]) -> Iterator[str]:
    """Findings that are gone and those that are new, a line each."""
    old, new = Counter(map(_said, was)), Counter(map(_said, now))
    yield from (f"- {line}" for line in (old - new).elements())
    yield from (f"+ {line}" for line in (new - old).elements())


def _said(finding: Finding) -> str:
    about = finding.rule_id or finding.setting or finding.pointer
    return f"{finding.outcome.value} {finding.check}{f' ({about})' if about else ''}: {finding.message[:300]}"
