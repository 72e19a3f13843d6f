"""What the gate decided stays what it decides, byte for byte; a change that is meant is accepted, and so seen."""

from collections import defaultdict
from pathlib import Path

import pytest

from api.gate.decide import CHECKS
from api.gate.models import Outcome
from scripts.record_corpus import CORPUS, Recorded, made, read, write
from tests.corpus.built import built
from tests.unit.gate.world import NOW

RECORDED = list(read())


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_a_recorded_decision_is_made_again_to_the_same_bytes(recorded: Recorded) -> None:
    difference = recorded.difference()
    assert difference is None, f"if this is meant: python -m scripts.record_corpus --accept\n{difference}"


def test_the_files_are_what_they_say() -> None:
    """Nobody has edited one by hand, and what is built is built like this."""
    for recorded in RECORDED:
        assert (CORPUS / f"{recorded.name}.json").read_text(encoding="utf-8") == recorded.text(), recorded.name
    kept = {recorded.name: recorded for recorded in RECORDED if recorded.name.startswith("built-")}
    assert set(kept) == {f"built-{one.name}" for one in built()}
    for one in built():
        expected = made(f"built-{one.name}", one.proposal, one.facts, NOW)
        assert kept[expected.name].facts == expected.facts, one.name
        assert kept[expected.name].proposal == expected.proposal, one.name


def test_the_corpus_covers_every_check_and_every_outcome() -> None:
    seen = defaultdict(set)
    for recorded in RECORDED:
        for finding in recorded.decision.findings:
            seen[finding.check].add(finding.outcome)
    checks = {check.__name__.rsplit(".", 1)[-1] for check in CHECKS} | {"constitution"}
    assert set(seen) == checks
    quiet = {check for check, outcomes in seen.items() if outcomes == {Outcome.ALLOW}}
    assert quiet <= {"injection"}, "each of them objects to something, but for signals, which never decide"
    assert {recorded.decision.outcome for recorded in RECORDED} == set(Outcome)
    assert len(RECORDED) >= 60
    assert any(recorded.name.startswith("recorded-") for recorded in RECORDED)
    assert any(recorded.decision.signals for recorded in RECORDED)
    assert any(recorded.decision.limits for recorded in RECORDED)


def test_a_changed_verdict_would_be_seen() -> None:
    allowed = next(one for one in RECORDED if one.name == "built-allowed")
    other = allowed.decision.model_copy(update={"outcome": Outcome.DENY, "rules_evaluated": ["gone"]})
    told = Recorded(allowed.name, allowed.proposal, allowed.facts, allowed.now, other).difference()
    assert told is not None
    assert '-outcome: "deny"' in told
    assert '+outcome: "allow"' in told


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for recorded in RECORDED[:5]:
        assert write(recorded, tmp_path)
        assert not write(recorded, tmp_path)
    assert list(read(tmp_path)) == RECORDED[:5]
