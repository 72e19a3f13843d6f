"""Recall and precision by kind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from api.gate.detectors import KINDS, Kind, detect
from scripts.detectors.sample import Sample

RECALL, PRECISION = 0.95, 0.95


@dataclass(slots=True)
class Score:
    """found of `there`, the values that are there; wrong: what was said to be one and is none. missed, false: which."""

    there: int = 0
    found: int = 0
    wrong: int = 0
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.there if self.there else 1.0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 1.0


def measure(samples: Iterable[Sample]) -> dict[Kind, Score]:
    """A value is found where a finding of its kind covers all of it; any other finding of that kind is wrong.

    Other kinds than the one that a text is labelled with are wrong, too, but for what an address of a page contains.
    """
    scores = {kind: Score() for kind in KINDS}
    for sample in samples:
        start = sample.text.find(sample.value) if sample.kind else -1
        end = start + len(sample.value)
        if sample.kind:
            scores[sample.kind].there += 1
        covered = False
        for one in detect(sample.text, sample.name):
            if one.kind == sample.kind and one.start <= start and end <= one.end and not covered:
                covered = True
            elif not (one.start >= start >= 0 and one.end <= end and sample.kind == "url"):
                scores[one.kind].wrong += 1
                scores[one.kind].false.append(sample.text)
        if sample.kind and covered:
            scores[sample.kind].found += 1
        elif sample.kind:
            scores[sample.kind].missed.append(sample.text)
    return scores


def at_least(scores: Mapping[Kind, Score]) -> bool:
    """Whether every kind is found as often and as rightly as it has to be; credentials always."""
    good = all(one.recall >= RECALL and one.precision >= PRECISION for one in scores.values())
    return good and scores["credential"].recall == 1.0


def table(scores: Mapping[Kind, Score]) -> str:
    lines = [f"{'kind':12} {'there':>6} {'found':>6} {'wrong':>6} {'recall':>7} {'precision':>10}"]
    for kind, one in scores.items():
        lines.append(f"{kind:12} {one.there:6} {one.found:6} {one.wrong:6} {one.recall:7.3f} {one.precision:10.3f}")
    return "\n".join(lines)
