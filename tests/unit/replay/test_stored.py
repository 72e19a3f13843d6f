"""Stored decisions: read back, made again, and compared."""

from typing import Any
from uuid import UUID

import pytest
import rfc8785

from api.gate.decide import decide
from api.gate.models import ConstitutionFacts, Facts, Outcome, Proposal
from api.replay.compare import Candidate, Tally, contradicts, differences_of
from api.replay.stored import NotReplayable, Stored, rows_of
from tests.unit.gate import world

ACTION, DECISION = UUID(int=11), UUID(int=12)
DENY = ConstitutionFacts(version=4, rules=[world.rule(id="no", effect="deny")])


def stored(proposed: Proposal | None = None, held: Facts | None = None, **changes: Any) -> Stored:
    """A decision as it would be recorded today."""
    proposed, held = proposed or world.proposal(), held or world.facts()
    members: dict[str, Any] = {
        "id": DECISION, "action_id": ACTION, "human": None, "proposal": proposed, "facts": held,
        "decision": decide(proposed, held, world.NOW),
    }  # fmt: skip
    return Stored(**members | changes)


def page(obstacle: str | None = None, **changes: Any) -> dict[str, Any]:
    """An answer of stored_decisions_v1 with one action in it."""
    held = world.facts()
    proposed = world.proposal(world.ARGS | {"amount": 5000.0})
    payload = rfc8785.dumps({"args": proposed.args}).decode()
    row: dict[str, Any] = {
        "id": str(DECISION), "action_id": str(ACTION), "exception_id": None, "human": "approved", "obstacle": obstacle,
        "decided_at": world.NOW.isoformat(), "document": decide(proposed, held, world.NOW).model_dump(mode="json"),
        "basis": {"directory": {}, "limits": {}}, "facts": "w/7", "run": "r/0" if held.run else None,
        "proposal": proposed.model_dump(mode="json", exclude={"args"}) | {"payload": payload},
    }  # fmt: skip
    return {"decisions": [row | changes], "facts": {"w/7": held.model_dump(mode="json")}, "runs": {"r/0": held.run}}


def only(answer: dict[str, Any]) -> Stored | NotReplayable:
    [row] = rows_of(answer)
    assert (row.id, row.decided_at) == (DECISION, world.NOW)
    return row.found


def test_what_was_recorded_is_decided_again_to_the_same_bytes() -> None:
    found = only(page())
    assert isinstance(found, Stored)
    assert (found.action_id, found.human) == (ACTION, "approved")
    assert found.again().model_dump_json() == found.decision.model_dump_json()
    assert differences_of(found, found.again()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"document": {"outcome": "allow"}},
        {"facts": "w/8"},
        {"run": "r/1"},
        {"basis": {"directory": [], "limits": {}}},
        {"proposal": {"tool": "t"}},
        {"proposal": {"payload": "{"}},
    ],
)
def test_what_cannot_be_read_is_said_and_not_skipped(changes: dict[str, Any]) -> None:
    assert only(page(**changes)) == NotReplayable(DECISION, "unreadable")


@pytest.mark.parametrize("obstacle", ["no_basis", "observations_erased"])
def test_what_the_database_cannot_vouch_for_is_not_made_again(obstacle: str) -> None:
    found = only(page(obstacle))
    assert found == NotReplayable(DECISION, obstacle)  # type: ignore[arg-type]
    tally = Tally(Candidate(None))
    tally.add(found)
    report = tally.report(None)
    assert [(left.why, left.count) for left in report.not_replayable] == [(obstacle, 1)]
    assert report.outcomes["replayed"].model_dump() == {"allow": 0, "escalate": 0, "deny": 0}


def test_runs_and_what_else_it_rested_on_come_back() -> None:
    run: dict[str, Any] = {
        "id": str(UUID(int=5)),
        "instruction": "Pay",
        "subject": None,
        "observed": 1,
        "observations": [],
    }
    answer = page(run="r/1", basis={"observed": 1, "directory": {"name:x": {"entries": [], "alike": ["y"]}},
                                    "limits": {"k": {"amount": 1, "count": 2}}})  # fmt: skip
    found = only(answer | {"runs": {"r/1": run}})
    assert isinstance(found, Stored)
    assert found.facts.run is not None
    assert (found.facts.run.instruction, found.facts.directory["name:x"].alike) == ("Pay", ["y"])
    assert found.facts.limits["k"].model_dump() == {"amount": 1, "count": 2}


def test_a_difference_names_findings_and_members() -> None:
    before = stored()
    difference = differences_of(before, before.again(DENY))
    assert difference is not None
    assert (difference.recorded, difference.replayed) == (Outcome.ALLOW, Outcome.DENY)
    assert difference.findings == ["+ deny constitution (no): A rule: Because."]
    assert set(difference.members) == {"outcome", "rules_evaluated", "rules_matched", "constitution_version"}


def test_a_flip_is_against_the_rules_in_force() -> None:
    """What today's rules would say is what a candidate changes, not what was said under older ones."""
    held = world.facts(rules=[{"id": "old"}])
    in_force = ConstitutionFacts(version=4, rules=[])
    tally = Tally(Candidate(in_force, DENY))
    tally.add(stored(held=held, human="approved"))
    report = tally.report("next")
    [flip] = report.flips
    assert (flip.recorded, flip.before, flip.after) == (Outcome.ESCALATE, Outcome.ALLOW, Outcome.DENY)
    assert flip.contradicts
    assert flip.rules == ["no"]
    assert (report.complete, report.next_cursor) == (False, "next")
    assert report.outcomes["candidate"].deny == report.flips_to.deny == 1


def test_without_candidate_what_was_recorded_is_compared_with_the_rules_in_force() -> None:
    tally = Tally(Candidate(DENY))
    tally.add(stored())
    [flip] = tally.report(None).flips
    assert (flip.recorded, flip.before, flip.after) == (Outcome.ALLOW, Outcome.ALLOW, Outcome.DENY)


@pytest.mark.parametrize(
    ("after", "human", "against"),
    [
        (Outcome.ALLOW, "rejected", True),
        (Outcome.ALLOW, "edited", True),
        (Outcome.ALLOW, "approved", False),
        (Outcome.ALLOW, "answered", False),
        (Outcome.ALLOW, None, False),
        (Outcome.DENY, "approved", True),
        (Outcome.DENY, "rejected", False),
        (Outcome.ESCALATE, "approved", False),
        (Outcome.ESCALATE, "rejected", False),
    ],
)
def test_what_contradicts_a_person(after: Outcome, human: Any, against: bool) -> None:
    assert contradicts(after, human) is against
