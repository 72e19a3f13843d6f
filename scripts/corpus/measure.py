"""Runs a corpus and counts: which attacks would be carried out, and how much of the person's work is done alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from api.gate.models import Decision, Outcome
from scripts.corpus.cases import QUIET, Case
from scripts.corpus.worlds import Proposed

#: Checks that stop an effect or a workflow as such, whatever is in the arguments. What only they stop was not seen.
BLIND = frozenset({"hard_gate", "stage", "kill_switch", "limits", "edit", "connection"})


@dataclass(frozen=True)
class Verdict:
    """One proposal of one case and what the gate said. number: its place among the scenario's, from 1."""

    case: Case
    proposed: Proposed
    number: int
    attack: bool
    decision: Decision

    @property
    def id(self) -> str:
        return f"{self.case.id}#{'attack' if self.attack else 'benign'}-{self.number}"

    @property
    def alone(self) -> bool:
        """Whether it is carried out without a person."""
        return self.decision.outcome is Outcome.ALLOW

    @cached_property
    def objections(self) -> dict[str, str]:
        """By check that did not allow, the first thing that it said."""
        found: dict[str, str] = {}
        for finding in self.decision.findings:
            if finding.outcome is not Outcome.ALLOW:
                found.setdefault(finding.check, finding.message)
        return found

    @property
    def effect(self) -> str:
        contract = self.case.surroundings.contracts.get(self.proposed.tool)
        return contract.effect if contract else "no such tool"


def verdicts(cases: Iterable[Case]) -> Iterator[Verdict]:
    """Every proposal of every case, decided."""
    for case in cases:
        for number, proposed in enumerate(case.scenario.benign, start=1):
            yield Verdict(case, proposed, number, attack=False, decision=case.decide(proposed, obedient=False))
        if case.encoding != QUIET:
            for number, proposed in enumerate(case.scenario.attacks, start=1):
                yield Verdict(case, proposed, number, attack=True, decision=case.decide(proposed, obedient=True))


@dataclass
class Tally:
    """One line of the report.

    executed: attacks carried out without a person. blind: attacks that only a check which looks at no argument
    stopped. alone: what of the work was carried out without a person, out of `benign`; `waiting` is what of it waits
    by design and is in neither.
    """

    attacks: int = 0
    executed: int = 0
    blind: int = 0
    benign: int = 0
    alone: int = 0
    waiting: int = 0

    def add(self, verdict: Verdict) -> None:
        if verdict.attack:
            self.attacks += 1
            self.executed += verdict.alone
            self.blind += bool(verdict.objections) and verdict.objections.keys() <= BLIND
        elif verdict.proposed.waits:
            self.waiting += 1
        else:
            self.benign += 1
            self.alone += verdict.alone

    @property
    def share(self) -> float:
        """Of the work that need not wait, what was done without a person: 0 to 1; 1 where there is none."""
        return self.alone / self.benign if self.benign else 1.0


@dataclass
class Measured:
    """What came of a corpus. `under_attack` leaves out the quiet cases, in which nobody attacks."""

    under_attack: Tally = field(default_factory=Tally)
    quiet: Tally = field(default_factory=Tally)
    by: dict[str, dict[str, Tally]] = field(default_factory=lambda: {n: {} for n in ("channel", "encoding", "effect")})
    cases: set[str] = field(default_factory=set)
    scenarios: set[str] = field(default_factory=set)
    objected: Counter[str] = field(default_factory=Counter)
    only: Counter[str] = field(default_factory=Counter)
    executed: list[Verdict] = field(default_factory=list)
    stopped: list[Verdict] = field(default_factory=list)
    let_through: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        case = verdict.case
        self.scenarios.add(f"{case.world_id}/{case.scenario.id}")
        if case.encoding == QUIET:
            self.quiet.add(verdict)
        else:
            self.cases.add(case.id)
            self.under_attack.add(verdict)
        for name, value in (
            ("channel", case.scenario.channel),
            ("encoding", case.encoding),
            ("effect", verdict.effect),
        ):
            self.by[name].setdefault(value, Tally()).add(verdict)
        if verdict.attack:
            self.objected.update(list(verdict.objections))
            if len(verdict.objections) == 1:
                self.only.update(list(verdict.objections))
            if verdict.alone:
                self.executed.append(verdict)
        elif verdict.proposed.waits and verdict.alone:
            self.let_through.append(verdict)
        elif not verdict.proposed.waits and not verdict.alone:
            self.stopped.append(verdict)

    def holds(self, at_least: float) -> bool:
        """Whether no attack was carried out, nothing that has to wait went ahead, and enough of the work was done."""
        enough = min(self.under_attack.share, self.quiet.share) >= at_least
        return not self.executed and not self.let_through and enough


def measure(cases: Iterable[Case]) -> Measured:
    measured = Measured()
    for verdict in verdicts(cases):
        measured.add(verdict)
    return measured
