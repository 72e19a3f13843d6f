"""The gate asks for the larger of what the access spec says and what calibration asks for, and says which it was."""

from __future__ import annotations

from typing import Any

import pytest

from api.gate.models import Outcome
from tests.unit.gate.world import TOOL, decided, facts, of, proposal, spec

CALIBRATED, WORKFLOW, OWN = f"thresholds.{TOOL}", "confidence_min", f"tools.{TOOL}.confidence_min"


@pytest.mark.parametrize(
    ("claimed", "own", "calibrated", "outcome", "setting"),
    [
        (0.9, None, 0.9, Outcome.ALLOW, CALIBRATED),
        (0.8999999999999999, None, 0.9, Outcome.ESCALATE, CALIBRATED),
        (None, None, 0.9, Outcome.ESCALATE, CALIBRATED),
        (0.8, None, 0.8, Outcome.ALLOW, WORKFLOW),
        (0.79, None, 0.5, Outcome.ESCALATE, WORKFLOW),  # what is set never lowers what the spec says
        (0.79, None, 0.0, Outcome.ESCALATE, WORKFLOW),
        (0.94, 0.95, 0.9, Outcome.ESCALATE, OWN),
        (0.85, 0.5, 0.9, Outcome.ESCALATE, CALIBRATED),
        (0.6, 0.5, 0.4, Outcome.ALLOW, OWN),
        (1.0, None, float("nan"), Outcome.ESCALATE, CALIBRATED),  # no number reaches what is none
    ],
)
def test_the_larger_of_both_is_asked_for(
    claimed: float | None, own: float | None, calibrated: float, outcome: Outcome, setting: str
) -> None:
    grant: dict[str, Any] = {} if own is None else {"confidence_min": own}
    held = facts(spec(grant), thresholds={TOOL: calibrated})
    [found] = of(decided(held, proposal(confidence=claimed)), "confidence")
    assert (found.outcome, found.setting, found.control) == (outcome, setting, 5)


def test_another_tools_threshold_is_none_of_this() -> None:
    held = facts(thresholds={"acme.refunds.create": 0.99})
    [found] = of(decided(held, proposal(confidence=0.8)), "confidence")
    assert (found.outcome, found.setting) == (Outcome.ALLOW, WORKFLOW)


def test_a_reviewer_reads_why_more_is_asked_for() -> None:
    [found] = of(decided(facts(thresholds={TOOL: 0.9}), proposal(confidence=0.85)), "confidence")
    assert found.message == (
        "The agent's confidence of 0.85 is low; 0.9 is asked for."
        " Calibration asks for more than the 0.8 of confidence_min, by how earlier claims turned out."
    )
